//! Writing the file.

use super::{
    Error, FORM, Header, Incoming, Replay,
    form::{Line, hex},
};
use crate::{
    bus::JournalKind,
    journal::codec,
    room::{Event, RoomId, State},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use prost::Message;
use sha2::{Digest, Sha256};
use std::io::{self, Write};

/// Writes rooms into a file. Memory does not grow with them.
pub struct Writer<W> {
    out: W,
    whole: Sha256,
    of_room: Sha256,
    written: Written,
}

/// What is in the file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Written {
    /// Rooms that are there as a whole.
    pub rooms: u64,
    /// Rooms that could not be read.
    pub failed: u64,
    /// Events of the former.
    pub events: u64,
    /// Bytes of all lines.
    pub bytes: u64,
}

impl<W: Write> Writer<W> {
    /// Begins a file. `at`: now, in UTC.
    pub fn begin(
        out: W,
        cluster: Option<String>,
        journal: JournalKind,
        shards: u16,
        at: String,
    ) -> io::Result<Self> {
        let mut writer = Self {
            out,
            whole: Sha256::new(),
            of_room: Sha256::new(),
            written: Written::default(),
        };
        writer.line(&Line::Header(Header {
            version: FORM,
            cluster,
            journal: journal.as_str().into(),
            shards,
            at,
        }))?;
        Ok(writer)
    }

    /// Writes a room. Of one that cannot be read to its end the file says why; so does the error,
    /// and others can follow. After [`Error::File`] there is no use in going on.
    pub async fn room(&mut self, incoming: &mut dyn Incoming) -> Result<(), Error> {
        let room = incoming.room().clone();
        match self.carry(incoming).await {
            Err(Error::File(error)) => Err(Error::File(error)),
            Err(error) => {
                self.failed(&room, &error)?;
                Err(error)
            }
            Ok(()) => Ok(()),
        }
    }

    /// Says of a room why it is not there.
    pub fn failed(&mut self, room: &RoomId, error: &Error) -> io::Result<()> {
        self.written.failed += 1;
        self.line(&Line::Failed {
            room: room.to_string(),
            why: error.to_string(),
        })
    }

    /// Ends the file.
    pub fn end(mut self) -> io::Result<(W, Written)> {
        let Written {
            rooms,
            failed,
            events,
            ..
        } = self.written;
        let sha256 = hex(&self.whole.clone().finalize());
        self.line(&Line::Total {
            rooms,
            failed,
            events,
            sha256,
        })?;
        self.out.flush()?;
        Ok((self.out, self.written))
    }

    async fn carry(&mut self, incoming: &mut dyn Incoming) -> Result<(), Error> {
        let (room, head) = (incoming.room().to_string(), incoming.head());
        self.of_room = Sha256::new();
        self.line(&Line::Room {
            room: room.clone(),
            head: head.0,
        })?;
        let mut replay = Replay::default();
        loop {
            let page = incoming.page().await?;
            if page.is_empty() {
                break;
            }
            for event in &page {
                replay.take(event);
                self.line(&event_line(event))?;
            }
        }
        replay.end(head);
        self.line(&state_line(&incoming.state().await?))?;
        let (first, last) = replay.ends.unwrap_or_default();
        self.written.rooms += 1;
        self.written.events += replay.events;
        let holes = replay.holes.iter();
        let sha256 = hex(&self.of_room.clone().finalize());
        self.line(&Line::End {
            room,
            events: replay.events,
            first: first.0,
            last: last.0,
            holes: holes.map(|hole| (hole.first.0, hole.last.0)).collect(),
            sha256,
        })?;
        Ok(())
    }

    fn line(&mut self, line: &Line) -> io::Result<()> {
        let bytes = line.encode();
        self.whole.update(&bytes);
        self.of_room.update(&bytes);
        self.written.bytes += bytes.len() as u64;
        self.out.write_all(&bytes)
    }
}

fn event_line(event: &Event) -> Line {
    let stored = codec::encode_event(event);
    Line::Event {
        seq: stored.seq,
        at: stored.at,
        name: stored.name.clone(),
        version: stored.version,
        stored: BASE64_STANDARD.encode(stored.encode_to_vec()),
    }
}

fn state_line(state: &State) -> Line {
    Line::State {
        head: state.head.0,
        version: codec::snapshot_version(state),
        stored: BASE64_STANDARD.encode(codec::encode_snapshot(state)),
    }
}
