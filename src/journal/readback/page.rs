//! Pages of published events.

use super::{Error, Limits, Store, rule::winners};
use crate::{
    journal::codec,
    room::{Event, RoomId, Seq},
};

/// Events from `first` to `last`, which is published: there the highest epoch at each place is the published one, and nothing can be missing but
/// the beginning of the room.
pub(super) async fn read(store: &impl Store, room: &RoomId, first: Seq, last: Seq) -> Result<Vec<Event>, Error> {
    let first = first.max(Seq(1));
    let last = last.min(Seq(first.0.saturating_add(Limits::PAGE as u64 - 1)));
    let mut events: Vec<Event> = Vec::new();
    let mut from = first;
    while from <= last {
        let end = last.min(store.partitions().end(from));
        for row in winners(store.rows(room, from, end).await?) {
            if events.last().is_some_and(|before| before.seq.next() != row.seq()) {
                return Err(Error::Damaged(format!("room {room}: event {} is missing", row.seq().0 - 1)));
            }
            events.push(codec::decode_event(row.event)?);
        }
        from = end.next();
    }
    match events.last() {
        Some(event) if event.seq < last => Err(Error::Damaged(format!("room {room}: event {} is missing", event.seq.next()))),
        _ => Ok(events),
    }
}
