//! Where a person's key pair is, and what opens it.

use super::chosen;
use crate::chat::key::{self, Held, Stored};
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
        let kept = key::keep(&path, &key::line(identity, passphrase)?);
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
        self.opened().map(|(identity, _)| identity)
    }

    /// With the passphrase that opened it, if it is protected by one.
    fn opened(&self) -> anyhow::Result<(Identity, Option<String>)> {
        let path = self.existing()?;
        let (own, passphrase) = key::open(&path, self.passphrase_file.as_deref())?;
        match own {
            key::Own::Pair(identity) => Ok((*identity, passphrase)),
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
        let held = key::hold(&path)?;
        let (identity, before) = self.opened()?;
        let chosen = chosen("new passphrase")?;
        let former = self.replace(&held, &identity, before.as_deref(), Some(&chosen))?;
        Ok(format!(
            "the key in {shown} is protected: its passphrase opens it{}",
            also(&former)
        ))
    }

    /// The key needs no passphrase any more. Says so.
    pub(super) fn unprotect(&self) -> anyhow::Result<String> {
        let path = self.existing()?;
        let shown = path.display();
        if !is_locked(&path)? {
            bail!("no passphrase protects the key in {shown}");
        }
        let held = key::hold(&path)?;
        let (identity, before) = self.opened()?;
        let former = self.replace(&held, &identity, before.as_deref(), None)?;
        Ok(format!(
            "the key in {shown} is not protected any more: who has that file is you{}",
            also(&former)
        ))
    }

    /// Makes a new key, which is kept as the one of before. Says so.
    pub(super) fn change(&self) -> anyhow::Result<String> {
        let path = self.existing()?;
        let held = key::hold(&path)?;
        let (_, passphrase) = self.opened()?;
        let identity = Identity::from_seed(&rand::random());
        let former = key::change(&path, &held, &key::line(&identity, passphrase.as_deref())?)?;
        Ok(format!(
            "{}\nyour former key is in {}, with what was kept of sealed rooms: there you come in as \
             a new member, whom others let in again after they removed your former devices. Bring \
             the new key to your other machines (keys export)",
            identity.public(),
            former.display()
        ))
    }

    /// The key, and those whose place it took, are kept with another passphrase, or without one.
    /// The files of the latter.
    fn replace(
        &self,
        held: &Held,
        identity: &Identity,
        before: Option<&str>,
        now: Option<&str>,
    ) -> anyhow::Result<Vec<PathBuf>> {
        let path = self.path()?;
        // One of before may have been changed already, by a run that came to no end.
        let known: Vec<&str> = before.into_iter().chain(now).collect();
        let former = key::former(&path, &known)?;
        if let Some(other) = former.others.first() {
            bail!(
                "the former key in {} cannot be opened: move it away, or give it the passphrase of \
                 the key first (--key-file)",
                other.display()
            );
        }
        // The key last: as long as it has the passphrase of before, that is asked for again.
        for (file, identity) in &former.opened {
            let replaced = key::replace(file, &key::line(identity, now)?);
            replaced.with_context(|| format!("{} cannot be written", file.display()))?;
        }
        let replaced = key::replace_held(&path, held, &key::line(identity, now)?);
        replaced
            .with_context(|| format!("{} cannot be written: it is as it was", path.display()))?;
        Ok(former.opened.into_iter().map(|(file, _)| file).collect())
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

/// Which former keys were changed in the same way.
fn also(former: &[PathBuf]) -> String {
    let files: Vec<_> = former
        .iter()
        .map(|file| file.display().to_string())
        .collect();
    match files.is_empty() {
        true => String::new(),
        false => format!(". The same of your former keys, in {}", files.join(", ")),
    }
}

fn is_locked(path: &Path) -> anyhow::Result<bool> {
    Ok(matches!(key::read(path)?, Stored::Locked(_)))
}
