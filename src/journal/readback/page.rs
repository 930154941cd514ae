//! Pages of published events.

use super::{
    Error, Limits, Store,
    open::readable,
    owned_rows,
    rule::{counting, winners},
};
use crate::room::{Event, RoomId, Seq};

/// Places that are read from the database at once: with the largest content 4 MiB.
const SLICE: u64 = 64;

/// Events from the first place at or after `first` that is still there, to at most `last`, dense,
/// at most [`Limits::PAGE`] and [`Limits::PAGE_BYTES`]. `last` is published: up to there the
/// highest epoch at each place is the published one.
pub(super) async fn read(
    store: &impl Store,
    room: &RoomId,
    first: Seq,
    last: Seq,
) -> Result<Vec<Event>, Error> {
    let (mut events, mut bytes): (Vec<Event>, _) = (Vec::new(), 0);
    let mut from = first.max(Seq(1));
    while from <= last {
        let end = last
            .min(store.partitions().end(from))
            .min(Seq(from.0.saturating_add(SLICE - 1)));
        for row in slice(store, room, from, end).await? {
            let follows = |before: &Event| before.seq.next() == row.seq();
            if !events.last().is_none_or(follows) || events.len() == Limits::PAGE {
                return Ok(events);
            }
            let Some(event) = readable(room, &row)? else {
                continue;
            };
            bytes += event.size();
            if bytes > Limits::PAGE_BYTES && !events.is_empty() {
                return Ok(events);
            }
            events.push(event);
        }
        from = match events.last() {
            Some(event) if event.seq < end => return Ok(events),
            Some(_) => end.next(),
            // What was trimmed may be long.
            None => match next_row(
                store,
                room,
                end.next().max(store.trimmed(room).await?),
                last,
            )
            .await?
            {
                Some(seq) => seq,
                None => return Ok(events),
            },
        };
    }
    Ok(events)
}

/// The rows that count, of one reading. It begins one place early, because only the row before a
/// hole tells that one within the hole is of an owner that was replaced: its epoch is lower.
async fn slice(
    store: &impl Store,
    room: &RoomId,
    first: Seq,
    last: Seq,
) -> Result<Vec<super::Row>, Error> {
    let partitions = store.partitions();
    let early = Seq(first.0 - 1);
    let is_near = early > Seq::ZERO && partitions.of(early) == partitions.of(first);
    let from = if is_near { early } else { first };
    let mut rows = counting(winners(owned_rows(store, room, from, last).await?));
    rows.retain(|row| row.seq() >= first);
    Ok(rows)
}

/// The first place from `from` to `last` that has a row.
pub(super) async fn next_row(
    store: &impl Store,
    room: &RoomId,
    mut from: Seq,
    last: Seq,
) -> Result<Option<Seq>, Error> {
    while from <= last {
        let end = store.partitions().end(from);
        if let Some(seq) = store.first_row(room, from, end.min(last)).await? {
            return Ok(Some(seq));
        }
        from = end.next();
    }
    Ok(None)
}

/// The last place below `below` that has a row.
pub(super) async fn last_below(
    store: &impl Store,
    room: &RoomId,
    below: Seq,
) -> Result<Option<Seq>, Error> {
    let mut last = Seq(below.0.saturating_sub(1));
    let trimmed = store.trimmed(room).await?.max(Seq(1));
    while last >= trimmed {
        let partitions = store.partitions();
        let start = Seq(partitions.of(last) * partitions.size() + 1).max(trimmed);
        if let Some(seq) = store.last_row(room, start, last).await? {
            return Ok(Some(seq));
        }
        last = Seq(start.0 - 1);
    }
    Ok(None)
}
