//! Reading the end of a room for its owner: the newest snapshot, and the rows that count from the commit on that holds its head.

use super::{
    Error, Opened, Row, Store,
    rule::winners,
    snapshot,
    tail::{Problem, Tail},
};
use crate::{
    journal::codec,
    room::{Epoch, RoomId, Seq},
};

/// What a room ends with.
#[derive(Debug, Clone)]
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
    let from = start(store, room, state.head).await?;
    let rows = tail(store, room, from, epoch).await?;
    let head = rows.last().map_or(Seq::ZERO, Row::seq);
    if head < state.head {
        return Err(damaged(
            room,
            format!(
                "a snapshot holds event {}, but the events end at {head}",
                state.head
            ),
        ));
    }
    let after = rows.iter().filter(|row| row.seq() > state.head);
    let events = after
        .map(|row| codec::decode_event(row.event.clone()))
        .collect::<Result<_, _>>()?;
    Ok(Found {
        opened: Opened { state, events },
        rows,
    })
}

/// The first place of the commit that holds a snapshot's head.
async fn start(store: &impl Store, room: &RoomId, head: Seq) -> Result<Seq, Error> {
    if head == Seq::ZERO {
        return Ok(Seq(1));
    }
    match winners(store.rows(room, head, head).await?).first() {
        Some(row) if (Seq(1)..=head).contains(&row.first) => Ok(row.first),
        Some(row) => Err(damaged(
            room,
            format!("event {head} says that its commit begins at {}", row.first),
        )),
        None => Err(damaged(
            room,
            format!("a snapshot holds event {head}, which is not stored"),
        )),
    }
}

async fn tail(
    store: &impl Store,
    room: &RoomId,
    from: Seq,
    epoch: Epoch,
) -> Result<Vec<Row>, Error> {
    let mut tail = Tail::new(store.partitions(), from, epoch);
    while let Some((first, last)) = tail.next() {
        tail.take(store.rows(room, first, last).await?)
            .map_err(|problem| match problem {
                Problem::Higher(seen) => Error::Fenced { seen },
                Problem::Commit(seq, first) => damaged(
                    room,
                    format!("event {seq} says that its commit begins at {first}"),
                ),
            })?;
    }
    Ok(tail.into_rows())
}

fn damaged(room: &RoomId, what: String) -> Error {
    Error::Damaged(format!(
        "room {room}: {what}: look at it with `safe-chat journal inspect {room}`"
    ))
}
