//! Looking at a room as it is stored: `safe-chat journal inspect` prints every row or message,
//! `safe-chat journal verify` checks them.

mod verify;

pub use verify::{Differs, Report, verify};
pub(super) use verify::{contradictions, starts};

use super::{
    Error, Journal, Limits,
    bus::OnBus,
    codec,
    readback::{ReadBack, Row, Store},
};
use crate::{
    bus::Position,
    room::{Body, Epoch, Event, Kind, Millis, RoomId, Seq, State},
};
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use std::{cmp::Reverse, ops::ControlFlow};

/// Places or messages that are read at a time: no more than two of the largest commits.
const SLICE: u64 = 2 * Limits::EVENTS as u64;

/// A stored row or message part. Of rows of one place, the highest epoch comes first.
#[derive(Debug, Clone)]
pub struct Raw {
    /// Where on the bus; `None`: not on the bus.
    pub position: Option<Position>,
    /// Under which epoch.
    pub epoch: Epoch,
    /// It is a copy, which counts because what was journaled has gone.
    pub is_copy: bool,
    /// How far the room has gone at least.
    pub reached: Seq,
    /// Its place, the first place of its commit, and the event, or why it cannot be read; `None`:
    /// an owner's claim.
    pub event: Option<(Seq, Seq, Result<Event, Error>)>,
}

/// A journal whose content can be looked at as it is stored.
#[async_trait]
pub trait Inspect: Send + Sync {
    /// What is stored of a room from a mark on (0 at first), in stored order; and the next mark,
    /// `None`: there is no more.
    async fn raw(&self, room: &RoomId, mark: u64) -> Result<(Vec<Raw>, Option<u64>), Error>;

    /// The state that the newest snapshot holds.
    async fn snapshot(&self, room: &RoomId) -> Result<Option<State>, Error>;

    /// How a room ends, as an opening would find it. Nothing is written.
    async fn end(&self, room: &RoomId) -> Result<End, Error>;

    /// Events of a room from a mark on (0 at first), ascending; and the next mark, `None`: there
    /// are no more up to `last`, a journaled place, behind which some may come along. A mark says
    /// where to read on, which a page of [`Journal::read`] has to look for.
    async fn events(
        &self,
        room: &RoomId,
        mark: u64,
        last: Seq,
    ) -> Result<(Vec<Event>, Option<u64>), Error>;
}

/// How a room ends, as far as that is stored.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct End {
    /// Its newest snapshot, or the empty state.
    pub state: State,
    /// The last place that is stored.
    pub head: Seq,
    /// Up to there its owner had confirmed what it wrote; behind it is its last commit.
    pub confirmed: Seq,
    /// The last place that it may have reached, whatever is left of it: no lower one is given to
    /// its next event.
    pub reached: Seq,
}

#[async_trait]
impl<S: Store> Inspect for ReadBack<S> {
    async fn raw(&self, room: &RoomId, mark: u64) -> Result<(Vec<Raw>, Option<u64>), Error> {
        let from = Seq(mark.max(1));
        let first = self.next_stored(room, from).await?;
        let copy = self.next_copy(room, from, first).await?;
        let Some(first) = copy.or(first) else {
            return Ok((Vec::new(), None));
        };
        let last = Seq(first.0 + SLICE - 1).min(self.store().partitions().end(first));
        let (mut rows, last) = match copy {
            Some(_) => self.copies(room, first, last).await?,
            None => (self.store().rows(room, first, last).await?, last),
        };
        rows.sort_by_key(|row| (row.seq(), Reverse(row.epoch)));
        let next = Some(last.0 + 1);
        let raw = |row: Row| {
            let (seq, first) = (row.seq(), row.first);
            Raw {
                position: None,
                epoch: row.epoch,
                is_copy: copy.is_some(),
                reached: seq,
                event: Some((seq, first, codec::decode_event(row.event))),
            }
        };
        Ok((rows.into_iter().map(raw).collect(), next))
    }

    async fn snapshot(&self, room: &RoomId) -> Result<Option<State>, Error> {
        self.newest_snapshot(room).await
    }

    async fn end(&self, room: &RoomId) -> Result<End, Error> {
        let (opened, confirmed) = self.found(room).await?;
        let head = opened.head();
        Ok(End {
            state: opened.state,
            head,
            confirmed,
            reached: head,
        })
    }

    async fn events(
        &self,
        room: &RoomId,
        mark: u64,
        last: Seq,
    ) -> Result<(Vec<Event>, Option<u64>), Error> {
        let events = self.read(room, Seq(mark.max(1)), last).await?;
        let end = events.last().map(|event| event.seq);
        let next = end.filter(|end| *end < last);
        Ok((events, next.map(|end| end.next().0)))
    }
}

/// Set in a mark of the bus that is a place of a copy, and not a position: copies come first.
const OF_COPY: u64 = 1 << 63;

fn message_mark(mark: u64) -> Position {
    Position(if mark & OF_COPY == 0 { mark } else { 0 })
}

impl OnBus {
    /// The next copies that count up to `last`, and the next mark; `None`: messages come next.
    async fn copies(
        &self,
        room: &RoomId,
        mark: u64,
        last: Seq,
    ) -> Result<Option<(Vec<Event>, u64)>, Error> {
        if mark > 0 && mark & OF_COPY == 0 {
            return Ok(None);
        }
        let copies = self.copies_from(room, Seq(mark & !OF_COPY), last).await?;
        let next = copies.last().map(|last| OF_COPY | last.seq.next().0);
        Ok(next.map(|next| (copies, next)))
    }
}

#[async_trait]
impl Inspect for OnBus {
    async fn raw(&self, room: &RoomId, mark: u64) -> Result<(Vec<Raw>, Option<u64>), Error> {
        if let Some((copies, next)) = self.copies(room, mark, Seq(u64::MAX)).await? {
            let raw = copies.into_iter().map(|event| Raw {
                position: None,
                epoch: Epoch::default(),
                is_copy: true,
                reached: event.seq,
                event: Some((event.seq, event.seq, Ok(event))),
            });
            return Ok((raw.collect(), Some(next)));
        }
        let messages = self.messages(room, message_mark(mark)).await?;
        let next = messages.last().map(|last| last.position.0 + 1);
        let raw = messages.into_iter().flat_map(|message| {
            let (position, epoch) = (Some(message.position), message.epoch);
            let first = message
                .events
                .first()
                .map(|event| event.seq)
                .unwrap_or_default();
            let claim = message.events.is_empty().then_some(Raw {
                position,
                epoch,
                is_copy: false,
                reached: message.seq,
                event: None,
            });
            let events = message.events.into_iter();
            claim.into_iter().chain(events.map(move |event| Raw {
                position,
                epoch,
                is_copy: false,
                reached: event.seq,
                event: Some((event.seq, first, Ok(event))),
            }))
        });
        Ok((raw.collect(), next))
    }

    async fn snapshot(&self, room: &RoomId) -> Result<Option<State>, Error> {
        self.newest_snapshot(room).await
    }

    /// A message that is stored is confirmed.
    async fn end(&self, room: &RoomId) -> Result<End, Error> {
        let state = self.newest_snapshot(room).await?.unwrap_or_default();
        let (last, reached) = self.ends(room).await?;
        let head = last.max(state.head);
        Ok(End {
            head,
            confirmed: head,
            reached: reached.max(head),
            state,
        })
    }

    async fn events(
        &self,
        room: &RoomId,
        mark: u64,
        last: Seq,
    ) -> Result<(Vec<Event>, Option<u64>), Error> {
        if let Some((copies, next)) = self.copies(room, mark, last).await? {
            return Ok((copies, Some(next)));
        }
        let messages = self.messages(room, message_mark(mark)).await?;
        let end = messages.last().filter(|message| message.seq < last);
        let next = end.map(|message| message.position.next().0);
        let events = messages.into_iter().flat_map(|message| message.events);
        Ok((events.collect(), next))
    }
}

/// What is said of a room of which nothing is left but how far it went, as `admin room` says it.
pub fn removed(head: Seq) -> String {
    format!("removed: nothing of it is stored but how far it went, event {head}")
}

/// Hands every line about a room to `print`, until that breaks off. `content`: with what was said,
/// instead of its size only. Whether anything is stored of it.
pub async fn inspect(
    journal: &dyn Inspect,
    room: &RoomId,
    content: bool,
    print: &mut (dyn FnMut(String) -> ControlFlow<()> + Send),
) -> Result<bool, Error> {
    let (mut mark, mut is_there) = (Some(0), false);
    while let Some(from) = mark {
        let (raw, next) = journal.raw(room, from).await?;
        is_there |= !raw.is_empty();
        if raw
            .iter()
            .try_for_each(|raw| print(raw.line(content)))
            .is_break()
        {
            return Ok(is_there);
        }
        mark = next;
    }
    let snapshot = journal.snapshot(room).await?;
    let was_there = is_there || snapshot.is_some();
    let last = match snapshot {
        Some(state) if !is_there && state.head > Seq::ZERO && state.is_gone() => {
            removed(state.head)
        }
        Some(state) => format!(
            "snapshot at {}: {} members, {} sessions",
            state.head,
            state.members.len(),
            state.sessions.len()
        ),
        None => "no snapshot".into(),
    };
    // After the last line it makes no difference.
    let _ = print(last);
    Ok(was_there)
}

/// The names of the columns that [`inspect`] prints.
pub const HEAD: &str = "  POSITION       SEQ   EPOCH    COMMIT  TIME                      EVENT";

impl Raw {
    fn line(&self, content: bool) -> String {
        let position = self.position.map_or("-".into(), |at| at.0.to_string());
        let epoch = match self.is_copy {
            true => "copy".into(),
            false => self.epoch.to_string(),
        };
        let (seq, commit, event) = match &self.event {
            None => ("-".into(), "-".into(), format!("{:<24}  claim", "-")),
            Some((seq, first, event)) => {
                let event = event.as_ref().map_or_else(
                    |error| format!("{:<24}  unreadable: {error}", "-"),
                    |event| described(event, content),
                );
                (seq.to_string(), first.to_string(), event)
            }
        };
        format!("{position:>10}  {seq:>8}  {epoch:>6}  {commit:>8}  {event}")
    }
}

/// When something happened, in UTC, as nodes log it.
pub fn time(at: Millis) -> String {
    let known = i64::try_from(at.0).ok();
    let known = known.and_then(DateTime::<Utc>::from_timestamp_millis);
    known.map_or_else(
        || at.0.to_string(),
        |time| time.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string(),
    )
}

fn described(event: &Event, content: bool) -> String {
    let stored = codec::encode_event(event);
    let what = match &event.kind {
        Kind::Joined { user } | Kind::Left { user } | Kind::Unpinned { user, .. } => {
            user.to_string()
        }
        Kind::Purged => "all before it".into(),
        Kind::Erased { user, through } => format!("what {user} said up to {through}"),
        Kind::Message { from, to, body, .. } => {
            let to = to.as_ref().map_or("*", |to| to.as_str());
            let said = match body {
                Body::Text(text) if content => format!("{text:?}"),
                Body::Text(text) => format!("text of {} bytes", text.len()),
                Body::Sealed(bytes) => format!("sealed, {} bytes", bytes.len()),
                Body::Handshake(bytes) => format!("{} bytes", bytes.len()),
                Body::Erased => "erased".into(),
            };
            format!("{from} -> {to} {said}")
        }
    };
    format!(
        "{:<24}  {} {what}, {} changes",
        time(event.at),
        stored.name,
        event.changes.len()
    )
}
