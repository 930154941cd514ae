//! Pages of published events.

use super::{Error, reading};
use crate::{
    bus::Bus,
    journal::Limits,
    room::{Event, RoomId, Seq},
};

/// Events from `first` to `last`, at most [`Limits::PAGE`] and [`Limits::PAGE_BYTES`].
pub(super) async fn read(
    bus: &dyn Bus,
    room: &RoomId,
    first: Seq,
    last: Seq,
) -> Result<Vec<Event>, Error> {
    let (mut events, mut bytes): (Vec<Event>, _) = (Vec::new(), 0);
    if first > last {
        return Ok(events);
    }
    let Some(mut from) = bus.find(room, first.max(Seq(1))).await.map_err(reading)? else {
        return Ok(events);
    };
    loop {
        // A message has an event, or is a claim.
        let wanted = last.0 - events.last().map_or(first.0, |event| event.seq.next().0) + 1;
        let messages = bus
            .stored(room, from, Limits::PAGE.min(wanted as usize))
            .await
            .map_err(reading)?;
        let Some(end) = messages.last().map(|message| message.position) else {
            return Ok(events);
        };
        from = end.next();
        for event in messages
            .into_iter()
            .flat_map(|message| message.events)
            .filter(|event| event.seq >= first)
        {
            bytes += event.size();
            if event.seq > last
                || events.len() == Limits::PAGE
                || (bytes > Limits::PAGE_BYTES && !events.is_empty())
            {
                return Ok(events);
            }
            let event = match events.last() {
                Some(before) => dense(room, before.seq, event)?,
                None => event,
            };
            events.push(event);
        }
        if events.last().is_some_and(|event| event.seq == last) {
            return Ok(events);
        }
    }
}

/// The event, if it follows `before`.
pub(super) fn dense(room: &RoomId, before: Seq, event: Event) -> Result<Event, Error> {
    match event.seq == before.next() {
        true => Ok(event),
        false => Err(Error::Damaged(format!(
            "room {room}: event {} follows event {before}: look at it with `safe-chat journal inspect {room}`",
            event.seq
        ))),
    }
}
