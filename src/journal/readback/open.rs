//! Reading the end of a room for its owner: the newest snapshot, and the rows that count from the
//! commit on that holds its head, also behind holes.

use super::{
    Error, Opened, Row, Store, copies, owned_rows,
    page::next_row,
    rule::winners,
    snapshot,
    tail::{Problem, SLICE, Tail},
};
use crate::{
    journal::codec,
    room::{Epoch, Event, RoomId, Seq},
};

/// How far behind the end rows are looked for: in the rest of its partition and in so many more.
/// Snapshots are much closer to each other than that.
const PARTITIONS_BEHIND: u64 = 2;

/// What a room ends with.
#[derive(Debug, Clone)]
pub(super) struct Found {
    /// Snapshot and events.
    pub(super) opened: Opened,
    /// The epoch of the snapshot.
    pub(super) taken_under: Epoch,
    /// The rows that count, from the first place of the commit that holds the snapshot's head.
    pub(super) rows: Vec<Row>,
}

/// Reads a room. [`Error::Fenced`] when it holds a row of an epoch above `epoch`.
pub(super) async fn read(
    store: &impl Store,
    room: &RoomId,
    epoch: Epoch,
    reached: Seq,
) -> Result<Found, Error> {
    let snapshot = snapshot::newest(store, room).await?;
    let (taken_under, state) =
        snapshot.map_or_else(Default::default, |(key, state)| (key.epoch, state));
    let start = start(store, room, state.head).await?;
    let mut tail = match start {
        Some(first) => Tail::new(store.partitions(), first, epoch),
        // What follows was written by the owner that took the snapshot, or by a later one.
        None => Tail::behind(store.partitions(), state.head, taken_under, epoch),
    };
    loop {
        while let Some((first, last)) = tail.next() {
            tail.take(owned_rows(store, room, first, last).await?)
                .map_err(|problem| refused(room, problem))?;
        }
        let Some(next) = behind(store, room, &tail, reached, epoch).await? else {
            break;
        };
        tail.go_on(next);
    }
    let rows = tail.into_rows();
    // The place of one that cannot be read was given all the same.
    let reached = reached.max(rows.last().map_or(Seq::ZERO, Row::seq));
    let mut events = rows
        .iter()
        .filter(|row| row.seq() > state.head)
        .filter_map(|row| readable(room, row).transpose())
        .collect::<Result<Vec<_>, _>>()?;
    if state.head == Seq::ZERO {
        // The snapshots are lost without which no copy would be all that there is.
        let below = events.first().map_or(reached.next(), |event| event.seq);
        let copies = copies::all_before(store, room, below).await?;
        events.splice(..0, copies);
    }
    Ok(Found {
        opened: Opened::new(state, events, reached),
        taken_under,
        rows,
    })
}

/// The first place of the commit that holds a snapshot's head; `None`: it is gone.
pub(super) async fn start(
    store: &impl Store,
    room: &RoomId,
    head: Seq,
) -> Result<Option<Seq>, Error> {
    if head == Seq::ZERO {
        return Ok(Some(Seq(1)));
    }
    match winners(owned_rows(store, room, head, head).await?).first() {
        Some(row) if (Seq(1)..=head).contains(&row.first) => Ok(Some(row.first)),
        Some(row) => Err(damaged(
            room,
            format!("event {head} says that its commit begins at {}", row.first),
        )),
        None => Ok(None),
    }
}

/// The first place behind the end of what was read that counts all the same: then what is between
/// is a hole. One reading shows both the end and what is behind it, so that a commit that arrives
/// just now, of an owner that was replaced, is not taken for what follows a hole.
async fn behind(
    store: &impl Store,
    room: &RoomId,
    tail: &Tail,
    reached: Seq,
    epoch: Epoch,
) -> Result<Option<Seq>, Error> {
    let partitions = store.partitions();
    let (end, least) = tail.end();
    let last = far(store, end.next().max(reached));
    let mut from = end.next();
    while let Some(first) = next_row(store, room, from, last).await? {
        let slice_end = Seq(first.0.saturating_add(SLICE - 1)).min(partitions.end(first));
        // From the end on, if that is near: what is at the place after it now was not there before.
        let from_end =
            if partitions.of(end.next()) == partitions.of(first) && first.0 - end.0 <= SLICE {
                end.next()
            } else {
                first
            };
        let rows = winners(owned_rows(store, room, from_end, slice_end).await?);
        if let Some(higher) = rows
            .iter()
            .map(|row| row.epoch)
            .filter(|seen| *seen > epoch)
            .max()
        {
            return Err(Error::Fenced { seen: higher });
        }
        match rows.iter().find(|row| row.epoch >= least).map(Row::seq) {
            Some(seq) => return Ok((seq > end.next()).then_some(seq)),
            None => from = slice_end.next(),
        }
    }
    Ok(None)
}

/// How far behind a place rows are looked for.
pub(super) fn far(store: &impl Store, from: Seq) -> Seq {
    let partitions = store.partitions();
    let last = partitions.of(from) + PARTITIONS_BEHIND;
    Seq((last + 1).saturating_mul(partitions.size()))
}

/// The event of a row; `None`: nobody of this service can have written it, so it is a hole. An
/// event of a newer version is an error, never a hole.
pub(super) fn readable(room: &RoomId, row: &Row) -> Result<Option<Event>, Error> {
    match codec::decode_event(row.event.clone()) {
        Err(Error::Damaged(why)) => {
            tracing::warn!(
                %room, seq = %row.seq(), epoch = %row.epoch, why,
                "a row of the journal cannot be read and is skipped: put it back from a backup, \
                 or delete it; look at it with `safe-chat journal inspect {room}`"
            );
            Ok(None)
        }
        read => read.map(Some),
    }
}

fn refused(room: &RoomId, problem: Problem) -> Error {
    match problem {
        Problem::Higher(seen) => Error::Fenced { seen },
        Problem::Commit(seq, first) => damaged(
            room,
            format!("event {seq} says that its commit begins at {first}"),
        ),
    }
}

fn damaged(room: &RoomId, what: String) -> Error {
    Error::Damaged(format!(
        "room {room}: {what}: look at it with `safe-chat journal inspect {room}`"
    ))
}
