//! `safe-chat journal inspect|verify ROOM`: a room as it is stored, and whether that is sound.

use super::Settings;
use crate::{
    app::connect,
    journal::inspect::{inspect, verify},
    room::RoomId,
};
use anyhow::{bail, ensure};
use std::{
    fmt::Arguments,
    io::{self, Write},
};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Print every stored row or message of a room
    Inspect {
        /// The room
        #[arg(value_parser = RoomId::parse)]
        room: RoomId,
        /// Print what was said too, not only its size
        #[arg(long)]
        content: bool,
        #[command(flatten)]
        settings: Settings,
    },
    /// Check that a room is complete and in order; fails when it is not
    Verify {
        /// The room
        #[arg(value_parser = RoomId::parse)]
        room: RoomId,
        #[command(flatten)]
        settings: Settings,
    },
}

pub(super) async fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Inspect {
            room,
            content,
            settings,
        } => {
            let journal = connect::stored(&settings.read()?).await?;
            let mut lines = 0;
            let mut print = |line: String| {
                lines += 1;
                show(format_args!("{line}\n"));
            };
            inspect(&*journal, &room, content, &mut print).await?;
            // The last line only says whether there is a snapshot.
            ensure!(lines > 1, missing(&room));
            Ok(())
        }
        Command::Verify { room, settings } => {
            let journal = connect::stored(&settings.read()?).await?;
            let report = verify(&*journal, &room).await?;
            show(format_args!("{report}"));
            ensure!(!report.is_empty(), missing(&room));
            if !report.is_sound() {
                bail!("room {room} is damaged: do not write to it before you know why");
            }
            Ok(())
        }
    }
}

/// A reader that has seen enough (`| head`) closes the pipe; there is nobody left to tell.
fn show(what: Arguments<'_>) {
    drop(io::stdout().write_fmt(what));
}

fn missing(room: &RoomId) -> String {
    format!(
        "room {room} does not exist: look at its name, and at the journal and the prefix or keyspace of this command"
    )
}
