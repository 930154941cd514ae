//! `safe-chat keys`: the key pair that proves a person's name, and what is to be done with it by
//! hand.

use super::{passphrase, stdout::print};
use crate::{
    chat::key::{self, Stored},
    secret,
};
use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use seal::{Identity, Public, export, number::safety_number};
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Print your public key, which others may know
    Show(Own),
    /// Print the safety number of two keys: whoever sees the same one holds the keys that you see.
    /// Compare it face to face, or by telephone
    Verify {
        /// Somebody's public key, as the room shows it
        #[arg(value_name = "KEY", allow_hyphen_values = true, value_parser = public)]
        key: Public,
        /// The other public key, instead of your own
        #[arg(value_name = "OTHER", allow_hyphen_values = true, value_parser = public)]
        other: Option<Public>,
        #[command(flatten)]
        own: Own,
    },
    /// Print your key pair, encrypted with a passphrase that is typed in, or read from stdin
    Export(Own),
    /// Keep an exported key pair here; its passphrase is typed in, or read from stdin
    Import {
        /// File of the exported key pair
        #[arg(value_name = "FILE")]
        file: PathBuf,
        #[command(flatten)]
        own: Own,
    },
}

#[derive(Debug, Args)]
pub(super) struct Own {
    /// File of your key pair [default: ~/.config/safe-chat/key]
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
}

fn public(text: &str) -> Result<Public, String> {
    Public::parse(text).map_err(|why| why.to_string())
}

pub(super) fn run(command: Command) -> anyhow::Result<()> {
    let line = match command {
        Command::Show(own) => own.identity()?.public().to_string(),
        Command::Verify { key, other, own } => {
            let other = other.map_or_else(|| own.identity().map(|own| own.public()), Ok)?;
            if key == other {
                bail!("both are the same key: take that of somebody else");
            }
            safety_number(&key, &other)
        }
        Command::Export(own) => {
            let identity = own.identity()?;
            let passphrase = passphrase::new("passphrase")?;
            let with = export::Entropy {
                salt: rand::random(),
                nonce: rand::random(),
            };
            export::export(&identity, &passphrase, &with)?
        }
        Command::Import { file, own } => {
            let shown = file.display();
            let text = secret::read(&file).with_context(|| format!("{shown} cannot be read"))?;
            let text = String::from_utf8_lossy(&text);
            let passphrase = passphrase::known("passphrase")?;
            let identity = export::import(&text, &passphrase);
            let identity = identity.with_context(|| format!("{shown} cannot be imported"))?;
            own.keep(&identity)?;
            identity.public().to_string()
        }
    };
    print(&format!("{line}\n")).map(drop)
}

impl Own {
    fn identity(&self) -> anyhow::Result<Identity> {
        let path = key::path(self.key_file.as_deref())?;
        if !path.exists() {
            bail!(
                "there is no key in {}: `safe-chat chat` makes one, `keys import` brings one",
                path.display()
            );
        }
        match key::read(&path)? {
            Stored::Seed(seed) => Ok(Identity::from_seed(&seed)),
            Stored::Claimed(_) => bail!(
                "the key in {} has no secret: move the file away, and a new one is made",
                path.display()
            ),
        }
    }

    fn keep(&self, identity: &Identity) -> anyhow::Result<()> {
        let path = key::path(self.key_file.as_deref())?;
        let kept = key::create(&path, &identity.seed());
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
