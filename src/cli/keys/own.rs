//! Where a person's key pair is, and what opens it.

use super::chosen;
use crate::chat::key::{self, Stored};
use anyhow::{Context, bail};
use clap::Args;
use seal::Identity;
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
pub(in crate::cli) struct Place {
    /// File of your key pair [default: ~/.config/safe-chat/key]
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Own {
    #[command(flatten)]
    place: Place,
    /// File of the passphrase that opens it, if it is protected by one; else it is asked for
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

impl Place {
    fn path(&self) -> anyhow::Result<PathBuf> {
        key::path(self.key_file.as_deref())
    }

    /// Keeps a key where none is; with a passphrase, if there is one.
    pub(super) fn keep(&self, identity: &Identity, passphrase: Option<&str>) -> anyhow::Result<()> {
        let path = self.path()?;
        let line = match passphrase {
            Some(passphrase) => key::locked(identity, passphrase)?,
            None => key::plain(identity),
        };
        let kept = key::keep(&path, &line);
        let kept = kept.with_context(|| format!("cannot keep a key in {}", path.display()))?;
        match kept {
            true => Ok(()),
            false => bail!(
                "{} is there already: move it away first, or name another with --key-file",
                path.display()
            ),
        }
    }
}

impl Own {
    pub(super) fn path(&self) -> anyhow::Result<PathBuf> {
        self.place.path()
    }

    pub(super) fn identity(&self) -> anyhow::Result<Identity> {
        let path = self.existing()?;
        match key::open(&path, self.passphrase_file.as_deref())? {
            key::Own::Pair(identity) => Ok(identity),
            key::Own::Claimed(_) => bail!(
                "the key in {} has no secret: move the file away, and a new one is made",
                path.display()
            ),
        }
    }

    /// A passphrase opens the key from now on. Says so.
    pub(super) fn protect(&self) -> anyhow::Result<String> {
        let path = self.existing()?;
        let shown = path.display();
        if !is_locked(&path)? && self.passphrase_file.is_some() {
            bail!(
                "no passphrase opens the key in {shown} yet, which is what --passphrase-file is \
                 for: the new one is typed in, or read from stdin"
            );
        }
        let identity = self.identity()?;
        self.replace(&key::locked(&identity, &chosen("new passphrase")?)?)?;
        Ok(format!(
            "the key in {shown} is protected: its passphrase opens it"
        ))
    }

    /// The key needs no passphrase any more. Says so.
    pub(super) fn unprotect(&self) -> anyhow::Result<String> {
        let path = self.existing()?;
        let shown = path.display();
        if !is_locked(&path)? {
            bail!("no passphrase protects the key in {shown}");
        }
        self.replace(&key::plain(&self.identity()?))?;
        Ok(format!(
            "the key in {shown} is not protected any more: who has that file is you"
        ))
    }

    fn replace(&self, line: &str) -> anyhow::Result<()> {
        let path = self.path()?;
        let replaced = key::replace(&path, line);
        replaced.with_context(|| format!("{} cannot be written: it is as it was", path.display()))
    }

    fn existing(&self) -> anyhow::Result<PathBuf> {
        let path = self.path()?;
        if !path.exists() {
            bail!(
                "there is no key in {}: `safe-chat chat` makes one, `keys new` makes one with a \
                 passphrase, `keys import` brings one",
                path.display()
            );
        }
        Ok(path)
    }
}

fn is_locked(path: &Path) -> anyhow::Result<bool> {
    Ok(matches!(key::read(path)?, Stored::Locked(_)))
}
