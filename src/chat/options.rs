//! What a terminal is told on its command line.

use super::sealed::Door;
use crate::tls::{self, Trust};
use anyhow::{Result, anyhow};
use rustls::ClientConfig;
use safe_chat_client::{Gateway, check_name};
use std::{path::PathBuf, sync::Arc};

/// Where to go, as whom.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// Address of a server; several, separated by commas, take turns when a connection is lost
    #[arg(
        default_value = "http://127.0.0.1:8080",
        value_delimiter = ',',
        value_name = "URL"
    )]
    pub url: Vec<Gateway>,
    /// Room to join: 1-64 of A-Z a-z 0-9 _ -
    #[arg(long, value_parser = name, allow_hyphen_values = true)]
    pub room: String,
    /// Your name in the room: 1-64 of A-Z a-z 0-9 _ -
    #[arg(long, value_parser = name, allow_hyphen_values = true)]
    pub user: String,
    /// File of the key pair that proves that your name in a room is yours; made if there is none
    /// [default: ~/.config/safe-chat/key]
    #[arg(long, value_name = "FILE", conflicts_with = "key")]
    pub key_file: Option<PathBuf>,
    /// File of the passphrase that opens the key file, if it is protected by one (`safe-chat keys
    /// protect`); else it is asked for
    #[arg(long, value_name = "FILE", conflicts_with = "key")]
    pub passphrase_file: Option<PathBuf>,
    /// A key that is only named, which keeps your name from those who do not know it
    #[arg(long, allow_hyphen_values = true)]
    pub key: Option<String>,
    /// File of the token, for rooms that ask for one; read again for each connection, and before
    /// the token expires
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Join a sealed room, which only the members of its group read. A new room is made one, into
    /// which members let others, by /add, or whoever comes (open). /help there lists what one can
    /// do, at a terminal: from a pipe every line is a message
    #[arg(long, value_enum, num_args = 0..=1, require_equals = true, default_missing_value = "invited",
          value_name = "DOOR", conflicts_with = "key")]
    pub seal: Option<Door>,
    /// Show whom you let into a sealed room the last N messages that were read here (0-100). All
    /// others see that they were shared. /share NAME N does it once
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=100),
          requires = "seal", value_name = "N")]
    pub share_history: u8,
    /// Events to show from before (0-500). Not in a sealed room: there /history shows what this
    /// device has read
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(0..=500), value_name = "N")]
    pub history: u16,
    /// File of the authorities (PEM) that vouch for servers at https and wss, instead of the
    /// system's
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// Plain text (NO_COLOR does the same)
    #[arg(long)]
    pub no_color: bool,
    /// Print the frames of the server as they are, one JSON object per line; messages come from
    /// stdin
    #[arg(long)]
    pub json: bool,
}

pub(super) fn name(text: &str) -> Result<String, String> {
    check_name(text).map(|()| text.to_owned())
}

/// The token in a file. Whoever keeps it there puts a new one in before it expires.
pub(super) async fn token_of(path: PathBuf) -> std::result::Result<String, String> {
    let text = tokio::fs::read_to_string(&path).await;
    let text = text.map_err(|why| format!("{} cannot be read: {why}", path.display()))?;
    match text.trim() {
        "" => Err(format!("{} is empty", path.display())),
        token => Ok(token.to_owned()),
    }
}

/// How servers are known that are reached with TLS.
pub(super) fn trusted(options: &Options) -> Result<Option<Arc<ClientConfig>>> {
    if !options.url.iter().any(Gateway::is_secure) {
        return match options.ca {
            Some(_) => Err(anyhow!("--ca is for servers at https:// or wss://")),
            None => Ok(None),
        };
    }
    let trust = Trust {
        ca: options.ca.clone(),
        ..Trust::default()
    };
    Ok(Some(tls::client(&trust)?.into()))
}
