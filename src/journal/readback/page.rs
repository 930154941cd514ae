//! Pages of published events.

use super::{
    Error, Row, Store,
    open::readable,
    owned_rows,
    rule::{counting, winners},
};
use crate::{
    journal::page::Page,
    room::{Event, RoomId, Seq},
};

/// Places that are read from the database at once: with the largest content 4 MiB.
pub(super) const SLICE: u64 = 64;

/// Events from the first place at or after `first` that is still there, to at most `last`, dense,
/// at most [`super::Limits::PAGE`] and [`super::Limits::PAGE_BYTES`]. `last` is published: up to
/// there the highest epoch at each place is the published one.
pub(super) async fn read(
    store: &impl Store,
    room: &RoomId,
    first: Seq,
    last: Seq,
) -> Result<Vec<Event>, Error> {
    let mut page = Page::default();
    let mut from = first.max(Seq(1));
    while from <= last {
        let end = last
            .min(store.partitions().end(from))
            .min(Seq(from.0.saturating_add(SLICE - 1)));
        if !add_readable(&mut page, room, slice(store, room, from, end).await?)? {
            break;
        }
        from = match page.last() {
            Some(event) if event.seq < end => break,
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
                None => break,
            },
        };
    }
    Ok(page.into_events())
}

/// Adds rows that follow, one after the other, and can be read. `false`: the page ends within them.
pub(super) fn add_readable(page: &mut Page, room: &RoomId, rows: Vec<Row>) -> Result<bool, Error> {
    for row in rows {
        // Before it is read: what is behind the end of the page is not told to be unreadable.
        if !page.takes(row.seq()) {
            return Ok(false);
        }
        if let Some(event) = readable(room, &row)?
            && !page.add(event)
        {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The rows that count, of one reading. It begins one place early, because only the row before a
/// hole tells that one within the hole is of an owner that was replaced: its epoch is lower.
async fn slice(
    store: &impl Store,
    room: &RoomId,
    first: Seq,
    last: Seq,
) -> Result<Vec<Row>, Error> {
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
