//! Reading the end of a room for its owner: the newest snapshot, and the rows that count from the commit on that holds its head.

use super::{
    Error, Limits, Opened, Row, Store,
    rule::{walk, winners},
    snapshot,
};
use crate::{
    journal::codec,
    room::{Epoch, RoomId, Seq},
};

/// Places that are read at a time: two of the largest commits, so that each slice has a whole one beyond the one that it started with.
const SLICE: u64 = 2 * Limits::EVENTS as u64;

/// What a room ends with.
#[derive(Debug)]
pub(super) struct Found {
    /// Snapshot and events.
    pub(super) opened: Opened,
    /// The rows that count, from the first place of the commit that holds the snapshot's head.
    pub(super) rows: Vec<Row>,
}

impl Found {
    /// The last place.
    pub(super) fn head(&self) -> Seq {
        self.rows.last().map_or(Seq::ZERO, Row::seq)
    }
}

/// Reads a room. [`Error::Fenced`] when it holds a row of an epoch above `epoch`.
pub(super) async fn read(store: &impl Store, room: &RoomId, epoch: Epoch) -> Result<Found, Error> {
    let state = snapshot::newest(store, room).await?.unwrap_or_default();
    let rows = tail(store, room, start(store, room, state.head).await?, epoch).await?;
    let head = rows.last().map_or(Seq::ZERO, Row::seq);
    if head < state.head {
        return Err(damaged(room, format!("a snapshot holds event {}, but the events end at {head}", state.head)));
    }
    let after = rows.iter().filter(|row| row.seq() > state.head);
    let events = after.map(|row| codec::decode_event(row.event.clone())).collect::<Result<_, _>>()?;
    Ok(Found { opened: Opened { state, events }, rows })
}

/// The first place of the commit that holds a snapshot's head.
async fn start(store: &impl Store, room: &RoomId, head: Seq) -> Result<Seq, Error> {
    if head == Seq::ZERO {
        return Ok(Seq(1));
    }
    match winners(store.rows(room, head, head).await?).first() {
        Some(row) if (Seq(1)..=head).contains(&row.first) => Ok(row.first),
        Some(row) => Err(damaged(room, format!("event {head} says that its commit begins at {}", row.first))),
        None => Err(damaged(room, format!("a snapshot holds event {head}, which is not stored"))),
    }
}

/// The rows that count from `from` on, the first place of a commit.
///
/// A slice may end within a commit. The next slice begins with the first place of that commit and replaces what was read of it, so that every
/// commit is taken from one reading: two readings may see different halves of one that is just being written.
pub(super) async fn tail(store: &impl Store, room: &RoomId, mut from: Seq, epoch: Epoch) -> Result<Vec<Row>, Error> {
    let mut kept: Vec<Row> = Vec::new();
    loop {
        let end_of_partition = store.partitions().end(from);
        let end = Seq(from.0.saturating_add(SLICE - 1)).min(end_of_partition);
        let slice = store.rows(room, from, end).await?;
        if let Some(seen) = slice.iter().map(|row| row.epoch).max().filter(|seen| *seen > epoch) {
            return Err(Error::Fenced { seen });
        }
        let before = kept.last().map(|row| row.epoch).unwrap_or_default();
        kept.extend(walk(slice, from, before));
        let Some(last) = kept.last().filter(|last| last.seq() == end).cloned() else { return Ok(kept) };
        if end == end_of_partition {
            from = end.next();
        } else if last.first > from && last.first <= end {
            kept.truncate(kept.partition_point(|row| row.seq() < last.first));
            from = last.first;
        } else {
            return Err(damaged(room, format!("event {end} says that its commit begins at {}", last.first)));
        }
    }
}

fn damaged(room: &RoomId, what: String) -> Error {
    Error::Damaged(format!("room {room}: {what}: look at it with `safe-chat journal inspect {room}`"))
}
