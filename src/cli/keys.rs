//! `safe-chat keys`: the key pair that proves a person's name, and what is to be done with it by
//! hand.

use super::{passphrase, stdout::print, table::Table};
use crate::{
    chat::{
        devices_of,
        key::{self, Stored},
    },
    secret,
};
use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use seal::{Identity, Public, export, member::OwnDevice, number::safety_number};
use std::path::{Path, PathBuf};

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
    /// List the devices that you have in sealed rooms, as those know them that use this key file:
    /// which one is kept here, which are in, and which you have revoked
    Devices(Own),
    /// Print your key pair, encrypted with a passphrase that is typed in, or read from stdin
    Export {
        /// File to write it to, which must not be there yet; only made when all went well
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        #[command(flatten)]
        own: Own,
    },
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

/// How it stands with a device in a room. Of others one only knows as long as this one is in.
fn state_of(one: &OwnDevice, knows: bool, has_left: bool) -> String {
    let state = match (one.counts, one.is_in) {
        (false, _) => "revoked",
        (true, true) => "in",
        (true, false) if one.is_this && has_left => "left",
        (true, false) if one.is_this || knows => "not in",
        (true, false) => "unknown: the one here is not in",
    };
    let this = if one.is_this { "this one, " } else { "" };
    format!("{this}{state}")
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
        Command::Devices(own) => own.devices()?,
        Command::Export { out, own } => {
            let exported = own.exported();
            let Some(out) = out else {
                let nothing = "nothing was exported: a file that `>` has made is empty, delete it \
                               (--out FILE makes one only when all went well)";
                return print(&format!("{}\n", exported.context(nothing)?)).map(drop);
            };
            return write(&out, &exported?);
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

/// A file that was not there, readable by its owner, whole or not at all.
fn write(path: &Path, line: &str) -> anyhow::Result<()> {
    let kept = key::keep(path, line);
    match kept.with_context(|| format!("{} cannot be written", path.display()))? {
        true => Ok(()),
        false => bail!(
            "{} is there already: name a file that is not",
            path.display()
        ),
    }
}

impl Own {
    fn exported(&self) -> anyhow::Result<String> {
        let identity = self.identity()?;
        let passphrase = passphrase::new("passphrase", |chosen| Ok(export::check(chosen)?))?;
        let with = export::Entropy {
            salt: rand::random(),
            nonce: rand::random(),
        };
        Ok(export::export(&identity, &passphrase, &with)?)
    }

    fn devices(&self) -> anyhow::Result<String> {
        let path = key::path(self.key_file.as_deref())?;
        let devices = devices_of(&path, &self.identity()?)?;
        let mut table = Table::new(&["NAME", "ROOM", "DEVICE", "STATE"]);
        let mut is_empty = true;
        for member in &devices {
            let user = member.certificate().user();
            for room in member.rooms() {
                let has_left = member.has_left(room);
                for one in member.own_devices(room) {
                    is_empty = false;
                    let state = state_of(&one, member.is_in(room), has_left);
                    let names = [user, room, &one.name].map(ToString::to_string);
                    table.row(names.into_iter().chain([state]));
                }
            }
        }
        if is_empty {
            return Ok(format!(
                "no sealed room was joined with the key in {}",
                path.display()
            ));
        }
        Ok(table.render().trim_end().to_owned())
    }

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
