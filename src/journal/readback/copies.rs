//! Copies of events that stay when what was journaled of them goes: without what was erased. They
//! lie beside the rows and count only where these do not begin yet. Of a place the copy of the
//! highest epoch counts, so that what a replaced owner writes late changes nothing.

use super::{
    Error, Limits, Row, Store, now,
    page::{SLICE, add_readable},
    rule::winners,
};
use crate::{
    journal::{
        codec,
        page::{Page, begins, joined},
    },
    room::{Epoch, Event, RoomId, Seq},
};

/// Content that is written at once.
const BYTES: usize = Limits::BYTES;

/// Writes copies, in as many calls as there are partitions and a call holds.
pub(super) async fn write(
    store: &impl Store,
    room: &RoomId,
    (epoch, number): (Epoch, u64),
    events: &[Event],
) -> Result<(), Error> {
    let partitions = store.partitions();
    let mut rest = events;
    while let Some(first) = rest.first() {
        let (end, mut bytes) = (partitions.end(first.seq), 0);
        let fits = |event: &&Event| {
            let is_first = bytes == 0;
            bytes += event.size().max(1);
            event.seq <= end && (is_first || bytes <= BYTES)
        };
        let count = rest.iter().take(Limits::EVENTS).take_while(fits).count();
        let (these, others) = rest.split_at(count);
        let rows: Vec<Row> = these.iter().map(|event| row(epoch, event)).collect();
        store.put_copies(room, number, &rows).await?;
        rest = others;
    }
    Ok(())
}

fn row(epoch: Epoch, event: &Event) -> Row {
    Row {
        epoch,
        first: event.seq,
        event: codec::encode_event(event),
    }
}

/// The copies that count in one partition, ascending.
pub(super) async fn counting(
    store: &impl Store,
    room: &RoomId,
    first: Seq,
    last: Seq,
) -> Result<Vec<Row>, Error> {
    let (mut rows, now) = (store.copies(room, first, last).await?, now());
    rows.retain(|row| row.epoch.is_possible(now));
    Ok(winners(rows))
}

/// What was read of the journal from `first` to `last`, and the copies that lie before it: a dense
/// page, as [`super::page::read`] gives them.
pub(super) async fn ahead_of(
    store: &impl Store,
    room: &RoomId,
    (first, last): (Seq, Seq),
    journaled: Vec<Event>,
) -> Result<Vec<Event>, Error> {
    let copied = store.copied(room).await?;
    let below = begins(&journaled, last).min(copied.below);
    let from = first.max(Seq(1)).max(copied.first);
    let copies = page(store, room, from, below).await?;
    Ok(joined(copies, journaled))
}

/// Copies from the first place at or after `from` that has one, to below `below`, dense.
pub(super) async fn page(
    store: &impl Store,
    room: &RoomId,
    mut from: Seq,
    below: Seq,
) -> Result<Vec<Event>, Error> {
    let mut page = Page::default();
    while from < below {
        let end = Seq(below.0 - 1)
            .min(store.partitions().end(from))
            .min(Seq(from.0.saturating_add(SLICE - 1)));
        if !add_readable(&mut page, room, counting(store, room, from, end).await?)? {
            break;
        }
        from = match page.last() {
            Some(event) if event.seq < end => break,
            Some(_) => end.next(),
            None => match next(store, room, end.next(), below).await? {
                Some(seq) => seq,
                None => break,
            },
        };
    }
    Ok(page.into_events())
}

/// The first place from `from` on, below `below`, that has a copy.
pub(super) async fn next(
    store: &impl Store,
    room: &RoomId,
    mut from: Seq,
    below: Seq,
) -> Result<Option<Seq>, Error> {
    while from < below {
        let end = store.partitions().end(from);
        let last = end.min(Seq(below.0 - 1));
        if let Some((first, _)) = store.ends_of_copies(room, from, last).await? {
            return Ok(Some(first));
        }
        from = end.next();
    }
    Ok(None)
}

/// Whether a place below `start` has a copy, or may have one: also of a pass that came to no end,
/// which begins with what is journaled.
pub(super) async fn are_below(
    store: &impl Store,
    room: &RoomId,
    start: Seq,
) -> Result<bool, Error> {
    let (copied, trimmed) = (store.copied(room).await?, store.trimmed(room).await?);
    if copied.below > copied.first {
        return Ok(start > copied.first);
    }
    let from = copied.first.max(trimmed).max(Seq(1));
    Ok(next(store, room, from, start).await?.is_some())
}

/// The last place below `below` that has a copy.
pub(super) async fn last_below(
    store: &impl Store,
    room: &RoomId,
    below: Seq,
) -> Result<Option<Seq>, Error> {
    let copied = store.copied(room).await?;
    let (first, partitions) = (copied.first.max(Seq(1)), store.partitions());
    let mut below = below.min(copied.below);
    while below > first {
        let last = Seq(below.0 - 1);
        let start = Seq(partitions.of(last) * partitions.size() + 1).max(first);
        if let Some((_, last)) = store.ends_of_copies(room, start, last).await? {
            return Ok(Some(last));
        }
        below = start;
    }
    Ok(None)
}

/// All copies before the place `below`, for an opening that finds no snapshot.
pub(super) async fn all_before(
    store: &impl Store,
    room: &RoomId,
    below: Seq,
) -> Result<Vec<Event>, Error> {
    let copied = store.copied(room).await?;
    let (mut from, below) = (copied.first.max(Seq(1)), below.min(copied.below));
    let mut all = Vec::new();
    loop {
        let page = page(store, room, from, below).await?;
        let Some(last) = page.last() else {
            return Ok(all);
        };
        from = last.seq.next();
        all.extend(page);
    }
}

/// Whether what is readable below a place has copies of an epoch: looks at both ends of each
/// partition. [`Error::Unavailable`]: it has not.
pub(super) async fn check(
    store: &impl Store,
    room: &RoomId,
    epoch: Epoch,
    below: Seq,
) -> Result<(), Error> {
    let (copied, trimmed) = (store.copied(room).await?, store.trimmed(room).await?);
    let mut from = match copied.below > copied.first {
        true => copied.first,
        // What is below it need not stay.
        false => copied.first.max(trimmed),
    }
    .max(Seq(1));
    while from < below {
        let end = store.partitions().end(from);
        let last = end.min(Seq(below.0 - 1));
        let near = Seq((last.0 + 1).saturating_sub(SLICE)).max(from);
        for (first, last) in [(from, last.min(Seq(from.0 + SLICE - 1))), (near, last)] {
            let readable = super::read(store, room, first, last).await?;
            let copies = counting(store, room, first, last).await?;
            let is_copied = |place: Seq| {
                let found = copies.binary_search_by_key(&place, Row::seq);
                found.is_ok_and(|at| copies[at].epoch >= epoch)
            };
            if let Some(event) = readable.iter().find(|event| !is_copied(event.seq)) {
                return Err(Error::Unavailable(format!(
                    "room {room}: event {} has no copy of epoch {epoch}, so what is before {below} \
                     stays: copies have to be written again",
                    event.seq
                )));
            }
        }
        from = end.next();
    }
    Ok(())
}
