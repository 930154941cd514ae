//! Pages of published events.

use super::{Error, Limits, Store, rule::winners};
use crate::{
    journal::codec,
    room::{Event, RoomId, Seq},
};

/// Places that are read from the database at once: with the largest content 4 MiB.
const SLICE: u64 = 64;

/// Events from `first` to `last`, at most [`Limits::PAGE`] and [`Limits::PAGE_BYTES`]. `last` is published: up to there the highest epoch at each place is the published one, and nothing can be missing but
/// the beginning of the room.
pub(super) async fn read(
    store: &impl Store,
    room: &RoomId,
    first: Seq,
    last: Seq,
) -> Result<Vec<Event>, Error> {
    let first = first.max(Seq(1));
    let last = last.min(Seq(first.0.saturating_add(Limits::PAGE as u64 - 1)));
    let (mut events, mut bytes): (Vec<Event>, _) = (Vec::new(), 0);
    let mut from = first;
    while from <= last {
        let end = last
            .min(store.partitions().end(from))
            .min(Seq(from.0.saturating_add(SLICE - 1)));
        for row in winners(store.rows(room, from, end).await?) {
            if events
                .last()
                .is_some_and(|before| before.seq.next() != row.seq())
            {
                return Err(Error::Damaged(format!(
                    "room {room}: event {} is missing",
                    row.seq().0 - 1
                )));
            }
            let event = codec::decode_event(row.event)?;
            bytes += event.size();
            if bytes > Limits::PAGE_BYTES && !events.is_empty() {
                return Ok(events);
            }
            events.push(event);
        }
        from = end.next();
    }
    match events.last() {
        Some(event) if event.seq < last => Err(Error::Damaged(format!(
            "room {room}: event {} is missing",
            event.seq.next()
        ))),
        _ => Ok(events),
    }
}
