//! `safe-chat keys`: the key pair that proves a person's name, and what is to be done with it by
//! hand.

mod own;
mod qr;

use super::{stdout::print, table::Table};
use crate::{
    chat::{devices_of, key},
    passphrase, secret,
};
use anyhow::{Context, bail};
use clap::Subcommand;
use own::{Own, Place};
use safe_chat_client::Gateway;
use seal::{Identity, Public, export, member::OwnDevice, number::safety_number};
use std::path::{Path, PathBuf};

/// What stands before an exported key pair in a link to the page. What is behind the # of a link,
/// no browser sends to a server.
const IN_LINK: &str = "#key=";

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
    /// Make a key pair and print its public key; `safe-chat chat` does that by itself, without a
    /// passphrase
    New {
        /// Keep it with a passphrase that is typed in, or read from stdin
        #[arg(long)]
        protect: bool,
        #[command(flatten)]
        place: Place,
    },
    /// Have a passphrase open the file of your key pair from now on, or another one: it is typed
    /// in, or read from stdin. Who forgets it has lost the key
    Protect(Own),
    /// Keep your key pair without a passphrase again
    Unprotect(Own),
    /// Make a new key pair. The former one stays beside it, and signs for the new one in each room
    /// that knows you by it, when you come there next: all who are in it see that you changed your
    /// key. If somebody else has your former key, be faster
    Change(Own),
    /// Print your key pair, encrypted with a passphrase that is typed in, or read from stdin
    Export {
        /// File to write it to, which must not be there yet; only made when all went well
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// Print it as a QR code, for the camera of a telephone: a link to the page of the service
        /// at this address, which asks for the passphrase there. Whoever takes a picture of it has
        /// the encrypted key
        #[arg(long, value_name = "URL", conflicts_with = "out")]
        qr: Option<Gateway>,
        #[command(flatten)]
        own: Own,
    },
    /// Keep an exported key pair here; its passphrase is typed in, or read from stdin
    Import {
        /// File of the exported key pair, or of a link that has it; without one it is asked for
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
        /// Keep it with that passphrase
        #[arg(long)]
        protect: bool,
        #[command(flatten)]
        place: Place,
    },
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
        Command::Devices(own) => devices(&own)?,
        Command::New { protect, place } => {
            let identity = Identity::from_seed(&rand::random());
            let passphrase = protect.then(|| chosen("passphrase")).transpose()?;
            place.keep(&identity, passphrase.as_deref())?;
            identity.public().to_string()
        }
        Command::Protect(own) => own.protect()?,
        Command::Unprotect(own) => own.unprotect()?,
        Command::Change(own) => own.change()?,
        Command::Export { out, qr, own } => return export(out.as_deref(), qr, &own),
        Command::Import {
            file,
            protect,
            place,
        } => {
            let (identity, passphrase) = imported(file.as_deref())?;
            place.keep(&identity, protect.then_some(&*passphrase))?;
            identity.public().to_string()
        }
    };
    print(&format!("{line}\n")).map(drop)
}

/// A passphrase that is good enough for a key.
fn chosen(what: &str) -> anyhow::Result<String> {
    passphrase::new(what, |chosen| Ok(export::check(chosen)?))
}

fn export(out: Option<&Path>, qr: Option<Gateway>, own: &Own) -> anyhow::Result<()> {
    let exported = own
        .identity()
        .and_then(|identity| key::locked(&identity, &chosen("passphrase")?));
    match (out, qr) {
        (Some(out), _) => write(out, &exported?),
        (None, Some(gateway)) => {
            let link = link(&gateway, &exported?);
            print(&format!("{}{link}\n", qr::code(&link)?)).map(drop)
        }
        (None, None) => {
            let nothing = "nothing was exported: a file that `>` has made is empty, delete it \
                           (--out FILE makes one only when all went well)";
            print(&format!("{}\n", exported.context(nothing)?)).map(drop)
        }
    }
}

/// A link to the page of this service, with an exported key pair.
fn link(gateway: &Gateway, exported: &str) -> String {
    let page = gateway.to_string().replacen("ws", "http", 1);
    format!("{page}/{IN_LINK}{exported}")
}

/// The key pair in a file, or in what is typed in, and its passphrase.
fn imported(file: Option<&Path>) -> anyhow::Result<(Identity, String)> {
    let (shown, text) = match file {
        Some(file) if is_key(file) => bail!(
            "that is the key, or a link that has it, not a file: others see what stands on a \
             command line, and the shell keeps it. Leave it out, and it is asked for; or write it \
             into a file that only you read, and name that"
        ),
        Some(file) => {
            let shown = file.display().to_string();
            let text = secret::read(file).with_context(|| format!("{shown} cannot be read"))?;
            (shown, String::from_utf8_lossy(&text).into_owned())
        }
        None => {
            let typed = passphrase::typed_in("exported key pair, or the link that has it");
            let typed = typed.context("stdin is no terminal: name the file of the key pair")?;
            ("it".into(), typed?)
        }
    };
    let text = text.rsplit_once(IN_LINK).map_or(&*text, |(_, text)| text);
    let passphrase = passphrase::known("passphrase")?;
    let identity = export::import(text, &passphrase);
    let identity = identity.with_context(|| format!("{shown} cannot be imported"))?;
    Ok((identity, passphrase))
}

/// Whether what was to be the name of a file is an exported key pair.
fn is_key(file: &Path) -> bool {
    let file = file.to_string_lossy();
    file.contains(IN_LINK) || file.starts_with(export::PREFIX)
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

/// The table of a person's devices.
fn devices(own: &Own) -> anyhow::Result<String> {
    let path = own.path()?;
    let devices = devices_of(&path, &own.identity()?)?;
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
