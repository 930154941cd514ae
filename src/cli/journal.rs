//! `safe-chat journal inspect|verify ROOM`: a room as it is stored, and whether that is sound.

use super::Settings;
use crate::{
    app::connect,
    journal::inspect::{inspect, verify},
    room::RoomId,
};
use anyhow::bail;
use std::io::{self, Write};

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
        Command::Inspect { room, content, settings } => {
            let journal = connect::stored(&settings.read()?).await?;
            let mut stdout = io::stdout();
            // A reader that has seen enough (`| head`) closes the pipe; there is nobody left to tell.
            let mut print = |line: String| drop(writeln!(stdout, "{line}"));
            Ok(inspect(&*journal, &room, content, &mut print).await?)
        }
        Command::Verify { room, settings } => {
            let journal = connect::stored(&settings.read()?).await?;
            let report = verify(&*journal, &room).await?;
            print!("{report}");
            if report.is_empty() {
                bail!("room {room} does not exist: look at its name, and at the journal and the prefix or keyspace of this command");
            }
            if !report.is_sound() {
                bail!("room {room} is damaged: do not write to it before you know why");
            }
            Ok(())
        }
    }
}
