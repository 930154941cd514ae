//! Reading the file: each line is checked against what was before it.

use super::{
    Error, FORM, Header, Incoming, Replay,
    form::{Line, hex},
};
use crate::{
    journal::{Limits, codec, inspect::contradictions},
    proto::journal::v1::StoredEvent,
    room::{Event, RoomId, Seq, State},
};
use async_trait::async_trait;
use base64::{Engine, prelude::BASE64_STANDARD};
use prost::Message;
use sha2::{Digest, Sha256};
use std::io::{BufRead, Read};

/// Bytes of a line that is no state: an event has the content and the changes that one message of
/// the bus carries, 8 MiB at most, and base64 makes a third more of it.
const LINE: u64 = 16 * 1024 * 1024;

/// Bytes of the line of a state: a room of ten million names, the most that it has unless somebody
/// configures more, with names and keys of 60 bytes.
const STATE_LINE: u64 = 1024 * 1024 * 1024;

/// How the line of a state begins.
const STATE: &[u8] = br#"{"type":"state","#;

/// How files begin that are no export any more, or not yet, and what to do.
const OTHER_FORMS: [(&[u8], &str); 5] = [
    (
        b"\xef\xbb\xbf",
        "the file begins with a byte order mark: something has changed it on its way; take it as \
         `journal export` wrote it",
    ),
    (
        b"\xff\xfe",
        "the file is UTF-16: something has changed it on its way; take it as `journal export` \
         wrote it",
    ),
    (b"\x1f\x8b", "the file is compressed: gunzip it first"),
    (
        b"\x28\xb5\x2f\xfd",
        "the file is compressed: unzstd it first",
    ),
    (b"\xfd7zXZ", "the file is compressed: unxz it first"),
];

/// Reads a file line by line.
pub struct Reader<R> {
    lines: R,
    line: u64,
    header: Header,
    whole: Sha256,
    of_room: Sha256,
    at: At,
    rooms: u64,
    failed: u64,
    events: u64,
    /// Of all lines but the total, once that was read.
    sha256: [u8; 32],
}

/// Where in the file it is.
enum At {
    /// Between two rooms.
    Between,
    /// Within a room, whose state comes after its events.
    Room(Box<Within>),
    /// Behind the total.
    End,
}

struct Within {
    room: RoomId,
    head: Seq,
    replay: Replay,
    /// It was there: now only the end may come.
    has_state: bool,
}

/// What a line gave.
#[derive(Debug)]
pub enum Item {
    /// A room begins.
    Room {
        /// Its name.
        room: RoomId,
        /// Its last place.
        head: Seq,
    },
    /// Its next event.
    Event(Event),
    /// Its state at the head.
    State(Box<State>),
    /// It ended, and all of it was there.
    End,
    /// It could not be read when the file was made: nothing of it counts.
    Failed {
        /// Its name.
        room: RoomId,
        /// Why.
        why: String,
    },
}

impl<R: BufRead> Reader<R> {
    /// Reads the header. Another version of the form is refused.
    pub fn open(lines: R) -> Result<Self, Error> {
        let empty = Header {
            version: FORM,
            cluster: None,
            journal: String::new(),
            shards: 0,
            at: String::new(),
        };
        let mut reader = Self {
            lines,
            line: 0,
            header: empty,
            whole: Sha256::new(),
            of_room: Sha256::new(),
            at: At::Between,
            rooms: 0,
            failed: 0,
            events: 0,
            sha256: [0; 32],
        };
        match reader.read()? {
            Some(Line::Header(header)) if header.version == FORM => reader.header = header,
            Some(Line::Header(header)) => {
                return Err(reader.bad(format!(
                    "the file has version {} of the form, this program reads {FORM}: use the \
                     version that made it",
                    header.version
                )));
            }
            _ => return Err(reader.bad("this is no export of `safe-chat journal export`")),
        }
        Ok(reader)
    }

    /// What the file is.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The SHA-256 of the file's lines but the last, which says the same; known at its end.
    pub fn sha256(&self) -> [u8; 32] {
        self.sha256
    }

    /// The next thing; `None`: the file ends as it must.
    pub fn item(&mut self) -> Result<Option<Item>, Error> {
        if matches!(self.at, At::Between) {
            self.of_room = Sha256::new();
        }
        let before = (self.whole.clone(), self.of_room.clone());
        let Some(line) = self.read()? else {
            return match self.at {
                At::End => Ok(None),
                _ => Err(self.bad("the file ends here, before its total: it was cut off")),
            };
        };
        match (std::mem::replace(&mut self.at, At::End), line) {
            (At::Between, Line::Room { room, head }) => self.begin(&room, head).map(Some),
            (At::Between, Line::Failed { room, why }) => self.gave_up(&room, why).map(Some),
            (At::Room(within), Line::Failed { room, why }) if within.room.as_str() == room => {
                self.gave_up(&room, why).map(Some)
            }
            (At::Room(within), line @ Line::Event { .. }) if !within.has_state => {
                self.event(within, line).map(Some)
            }
            (At::Room(within), line @ Line::State { .. }) if !within.has_state => {
                self.state(within, line).map(Some)
            }
            (At::Room(within), line @ Line::End { .. }) if within.has_state => {
                self.end(&within, line, before.1).map(Some)
            }
            (At::Between, line @ Line::Total { .. }) => {
                self.sha256 = before.0.finalize().into();
                let counted = Line::Total {
                    rooms: self.rooms,
                    failed: self.failed,
                    events: self.events,
                    sha256: hex(&self.sha256),
                };
                match line == counted {
                    true => self.item(),
                    false => Err(self.bad("the total is not that of the lines before it")),
                }
            }
            _ => Err(self.bad("this line does not belong here: some are missing or moved")),
        }
    }

    /// Goes on behind the room that it is in, if it is in one.
    pub fn skip_room(&mut self) -> Result<(), Error> {
        while matches!(self.at, At::Room(_)) {
            self.item()?;
        }
        Ok(())
    }

    fn begin(&mut self, room: &str, head: u64) -> Result<Item, Error> {
        let room = self.name(room)?;
        let head = Seq(codec::number("event", head).map_err(|bad| self.bad(bad.to_string()))?);
        self.at = At::Room(Box::new(Within {
            room: room.clone(),
            head,
            replay: Replay::default(),
            has_state: false,
        }));
        Ok(Item::Room { room, head })
    }

    fn gave_up(&mut self, room: &str, why: String) -> Result<Item, Error> {
        self.failed += 1;
        self.at = At::Between;
        let room = self.name(room)?;
        Ok(Item::Failed { room, why })
    }

    fn event(&mut self, mut within: Box<Within>, line: Line) -> Result<Item, Error> {
        let Line::Event {
            seq,
            at,
            name,
            version,
            stored,
        } = line
        else {
            unreachable!("the caller looked");
        };
        let stored = StoredEvent::decode(&*self.bytes(&stored)?)
            .map_err(|error| self.bad(format!("event {seq}: {error}")))?;
        let is_so = (stored.seq, stored.at, stored.version) == (seq, at, version);
        if !is_so || stored.name != name {
            return Err(self.bad(format!("event {seq} is not what stands beside it")));
        }
        let event = codec::decode_event(stored).map_err(|error| self.bad(error.to_string()))?;
        if event.seq <= within.replay.state.head || event.seq > within.head {
            return Err(self.bad(format!(
                "event {seq} of a room that ends at {} comes after event {}",
                within.head, within.replay.state.head
            )));
        }
        within.replay.take(&event);
        self.at = At::Room(within);
        Ok(Item::Event(event))
    }

    fn state(&mut self, mut within: Box<Within>, line: Line) -> Result<Item, Error> {
        let Line::State {
            head,
            version,
            stored,
        } = line
        else {
            unreachable!("the caller looked");
        };
        if !codec::reads_snapshot(version) {
            return Err(self.bad(format!(
                "the state has version {version}, which this program cannot read: take a newer one"
            )));
        }
        let state = codec::decode_snapshot(self.bytes(&stored)?.into())
            .map_err(|error| self.bad(error.to_string()))?;
        if Seq(head) != within.head || state.head != within.head {
            return Err(self.bad(format!(
                "the state is that at event {}, and the room ends at {}",
                state.head, within.head
            )));
        }
        within.replay.end(within.head);
        // What the lost events changed is not known.
        if within.replay.holes.is_empty() {
            let differs = contradictions(&within.replay.state, &state);
            if !differs.is_empty() {
                let differs = differs.join(", ");
                return Err(self.bad(format!(
                    "the state differs from what the events give in {differs}"
                )));
            }
        }
        within.has_state = true;
        self.at = At::Room(within);
        Ok(Item::State(Box::new(state)))
    }

    fn end(&mut self, within: &Within, line: Line, digest: Sha256) -> Result<Item, Error> {
        let replay = &within.replay;
        let (first, last) = replay.ends.unwrap_or_default();
        let holes = replay.holes.iter();
        let counted = Line::End {
            room: within.room.to_string(),
            events: replay.events,
            first: first.0,
            last: last.0,
            holes: holes.map(|hole| (hole.first.0, hole.last.0)).collect(),
            sha256: hex(&digest.finalize()),
        };
        if line != counted {
            return Err(self.bad(format!(
                "the end of room {} is not that of the lines before it: some were changed, or are \
                 missing",
                within.room
            )));
        }
        self.rooms += 1;
        self.events += replay.events;
        self.at = At::Between;
        Ok(Item::End)
    }

    fn name(&self, room: &str) -> Result<RoomId, Error> {
        RoomId::parse(room).map_err(|_| self.bad("the name of the room is none"))
    }

    fn bytes(&self, text: &str) -> Result<Vec<u8>, Error> {
        let decoded = BASE64_STANDARD.decode(text);
        decoded.map_err(|error| self.bad(format!("no base64: {error}")))
    }

    /// The next line, which counts for the digests.
    fn read(&mut self) -> Result<Option<Line>, Error> {
        let mut bytes = Vec::new();
        self.line += 1;
        self.read_up_to(STATE.len() as u64, &mut bytes)?;
        if bytes.is_empty() {
            return Ok(None);
        }
        if self.line == 1 {
            let other = OTHER_FORMS
                .iter()
                .find(|(begin, _)| bytes.starts_with(begin));
            if let Some((_, why)) = other {
                return Err(self.bad(*why));
            }
        }
        let (most, what) = match bytes == STATE {
            true => (STATE_LINE, "state"),
            false => (LINE, "line but that of a state"),
        };
        self.read_up_to(most, &mut bytes)?;
        if bytes.last() != Some(&b'\n') {
            return Err(self.bad(match bytes.len() as u64 {
                length if length < most => "the line has no end: the file was cut off".into(),
                _ => format!(
                    "the line is longer than any {what} ({most} bytes): this is no export of \
                     `safe-chat journal export`, or it was changed"
                ),
            }));
        }
        if bytes.ends_with(b"\r\n") {
            return Err(self.bad(
                "the line ends with CR and LF: something has changed the ends of lines on the \
                 file's way; take it as `journal export` wrote it",
            ));
        }
        self.whole.update(&bytes);
        self.of_room.update(&bytes);
        let line = serde_json::from_slice(&bytes);
        line.map(Some).map_err(|error| self.bad(error.to_string()))
    }

    /// Reads on to the end of the line, or until there are so many bytes of it.
    fn read_up_to(&mut self, most: u64, bytes: &mut Vec<u8>) -> Result<(), Error> {
        if bytes.last() != Some(&b'\n') {
            let more = most.saturating_sub(bytes.len() as u64);
            (&mut self.lines).take(more).read_until(b'\n', bytes)?;
        }
        Ok(())
    }

    fn bad(&self, what: impl Into<String>) -> Error {
        Error::Form {
            line: self.line,
            what: what.into(),
        }
    }
}

/// A room of a file. Read it to its state, before the next one.
pub struct FileRoom<'a, R> {
    reader: &'a mut Reader<R>,
    room: RoomId,
    head: Seq,
    state: Option<State>,
}

impl<'a, R: BufRead> FileRoom<'a, R> {
    /// The room that [`Item::Room`] told.
    pub fn new(reader: &'a mut Reader<R>, room: RoomId, head: Seq) -> Self {
        Self {
            reader,
            room,
            head,
            state: None,
        }
    }

    fn cut(&self) -> Error {
        self.reader
            .bad(format!("room {} could not be read to its end", self.room))
    }
}

#[async_trait]
impl<R: BufRead + Send> Incoming for FileRoom<'_, R> {
    fn room(&self) -> &RoomId {
        &self.room
    }

    fn head(&self) -> Seq {
        self.head
    }

    async fn page(&mut self) -> Result<Vec<Event>, Error> {
        let (mut events, mut bytes) = (Vec::new(), 0);
        while self.state.is_none() && events.len() < Limits::PAGE && bytes < Limits::PAGE_BYTES {
            match self.reader.item()? {
                Some(Item::Event(event)) => {
                    bytes += event.size();
                    events.push(event);
                }
                Some(Item::State(state)) => self.state = Some(*state),
                _ => return Err(self.cut()),
            }
        }
        Ok(events)
    }

    async fn state(&mut self) -> Result<State, Error> {
        let state = self.state.take().ok_or_else(|| self.cut())?;
        match self.reader.item()? {
            Some(Item::End) => Ok(state),
            _ => Err(self.cut()),
        }
    }
}
