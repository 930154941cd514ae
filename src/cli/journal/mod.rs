//! `safe-chat journal inspect|verify ROOM`: a room as it is stored, and whether that is sound.
//! [`carry`]: rooms out of a journal, and into one.

mod carry;

use super::{Settings, stdout::print};
use crate::{
    app::{
        hold::{MOST, Removals, hold},
        look::{Looked, look},
    },
    bus::time,
    journal::inspect::{HEAD, inspect},
    room::RoomId,
};
use anyhow::bail;
use std::ops::ControlFlow;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Print every stored row or message of a room
    Inspect {
        /// The room
        #[arg(value_parser = RoomId::parse, allow_hyphen_values = true)]
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
        #[arg(value_parser = RoomId::parse, allow_hyphen_values = true)]
        room: RoomId,
        #[command(flatten)]
        settings: Settings,
    },
    /// Have nodes remove nothing of what is erased, purged or let go while servers are backed up
    Hold {
        /// For so many minutes, or longer where somebody else holds it; 0: no longer, whoever does
        #[arg(value_parser = clap::value_parser!(u64).range(..=MOST))]
        minutes: u64,
        #[command(flatten)]
        settings: Settings,
    },
    /// Write rooms into a file, or to stdout, while nodes run
    Export(Box<carry::Export>),
    /// Write rooms of a file into the configured journal; no node may run. What is there already
    /// stays, so the same again goes on where it stopped
    Import(Box<carry::Import>),
    /// Copy all rooms to the other kind of journal: while nodes run, then again when they are
    /// stopped, with --switch
    Copy(Box<carry::CopyOver>),
    /// Write into Cassandra what only the bus still has of its rooms, after Cassandra was restored
    /// to an earlier state; no node may run
    Recover(Box<carry::Recover>),
}

pub(super) async fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Export(export) => export.run().await,
        Command::Import(import) => import.run().await,
        Command::Copy(copy) => copy.run().await,
        Command::Recover(recover) => recover.run().await,
        Command::Hold { minutes, settings } => {
            let said = match hold(&settings.read()?, minutes).await? {
                Removals::HeldUntil(until) => format!(
                    "nothing of what is erased, purged or let go is removed until {}: back up, \
                     then `safe-chat journal hold 0`\n",
                    time(until)
                ),
                Removals::Resumed => "nodes remove what is erased, purged or let go\n".to_owned(),
                Removals::NotHeld => bail!(
                    "nodes remove what is erased, purged or let go, and did before: the hold was \
                     over, by its time, by another `journal hold 0`, or nobody asked for one. What \
                     was backed up since may lack something: hold it longer, and back up again"
                ),
            };
            print(&said).map(drop)
        }
        Command::Inspect {
            room,
            content,
            settings,
        } => {
            let looked = look(&settings.read()?).await?;
            let (mut lines, mut printed) = (0, Ok(ControlFlow::Continue(())));
            let mut show = |line: String| {
                lines += 1;
                let head = if lines == 1 {
                    format!("{HEAD}\n")
                } else {
                    String::new()
                };
                printed = print(&format!("{head}{line}\n"));
                match printed {
                    Ok(more) => more,
                    Err(_) => ControlFlow::Break(()),
                }
            };
            let found = inspect(&*looked.journal, &room, content, &mut show).await?;
            // After a break there may be more that nobody wants to see.
            if printed?.is_continue() {
                is_there(found, &looked, &room).await?;
            }
            Ok(())
        }
        Command::Verify { room, settings } => {
            let looked = look(&settings.read()?).await?;
            let report = looked.verify(&room).await?;
            // The verdict is the exit code, whether or not somebody reads on.
            let _ = print(&report.to_string())?;
            is_there(!report.is_empty(), &looked, &room).await?;
            match report.verdict() {
                Some((_, what)) => bail!("room {room} {what}"),
                None => Ok(()),
            }
        }
    }
}

async fn is_there(is_there: bool, looked: &Looked, room: &RoomId) -> anyhow::Result<()> {
    if !is_there {
        bail!(looked.missing(room).await);
    }
    Ok(())
}
