//! Checking a whole file before anything of it is written.

use super::{Error, Header, Item, Reader};
use crate::room::RoomId;
use std::io::BufRead;

/// What a file has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// What it is.
    pub header: Header,
    /// Rooms that are there as a whole.
    pub rooms: u64,
    /// Their events.
    pub events: u64,
    /// Rooms that could not be read when it was made, and why.
    pub failed: Vec<(RoomId, String)>,
    /// Of all its lines but the last.
    pub sha256: [u8; 32],
}

/// Reads a file to its end: its form, its digests, that the events of each room can be read and
/// give its state, and that what is missing was told.
pub fn check(lines: impl BufRead) -> Result<Checked, Error> {
    let mut reader = Reader::open(lines)?;
    let mut checked = Checked {
        header: reader.header().clone(),
        rooms: 0,
        events: 0,
        failed: Vec::new(),
        sha256: [0; 32],
    };
    let mut events = 0;
    while let Some(item) = reader.item()? {
        match item {
            Item::Room { .. } => events = 0,
            Item::Event(_) => events += 1,
            Item::State(_) => {}
            Item::End => {
                checked.rooms += 1;
                checked.events += events;
            }
            Item::Failed { room, why } => checked.failed.push((room, why)),
        }
    }
    checked.sha256 = reader.sha256();
    Ok(checked)
}
