//! `safe-chat decode`: one message of the bus from stdin, one readable line to stdout. Made for
//! `nats sub --translate`.

use super::stdout::print;
use crate::bus;
use anyhow::{Context, ensure};
use std::io::{self, Read};

/// The most bytes that are read: above the largest message that a nats-server takes.
const MOST: u64 = 64 * 1024 * 1024;

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// Subject of the message; without it the kind of message is told by its shape
    #[arg(long, allow_hyphen_values = true)]
    subject: Option<String>,
    /// Print what was said too, not only its size
    #[arg(long)]
    content: bool,
}

pub(super) fn run(options: &Options) -> anyhow::Result<()> {
    let mut bytes = Vec::new();
    io::stdin()
        .lock()
        .take(MOST + 1)
        .read_to_end(&mut bytes)
        .context("stdin cannot be read")?;
    ensure!(
        bytes.len() as u64 <= MOST,
        "stdin has more than {MOST} bytes: give it one message at a time"
    );
    let line = bus::describe(&bytes, options.subject.as_deref(), options.content);
    print(&format!("{line}\n")).map(|_| ())
}
