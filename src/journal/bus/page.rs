//! Pages of published events.

use super::{Error, reading};
use crate::{
    bus::{Bus, Position},
    journal::{Limits, page::Page},
    room::{Event, RoomId, Seq},
};

/// Events from the first place at or after `first` that is still there, to at most `last`, dense,
/// at most [`Limits::PAGE`] and [`Limits::PAGE_BYTES`].
pub(super) async fn read(
    bus: &dyn Bus,
    room: &RoomId,
    first: Seq,
    last: Seq,
) -> Result<Vec<Event>, Error> {
    let mut page = Page::default();
    if first > last {
        return Ok(Vec::new());
    }
    let Some(mut from) = bus.find(room, first.max(Seq(1))).await.map_err(reading)? else {
        return Ok(Vec::new());
    };
    loop {
        // A message has an event, or is a claim.
        let wanted = last.0 - page.last().map_or(first.0, |event| event.seq.next().0) + 1;
        let messages = bus
            .stored(room, from, Limits::PAGE.min(wanted as usize))
            .await
            .map_err(reading)?;
        let Some(end) = messages.last().map(|message| message.position) else {
            return Ok(page.into_events());
        };
        from = end.next();
        for event in messages
            .into_iter()
            .flat_map(|message| message.events)
            .filter(|event| event.seq >= first)
        {
            // What is before the next one may be gone.
            if event.seq > last || !page.add(event) {
                return Ok(page.into_events());
            }
        }
        if page.last().is_some_and(|event| event.seq == last) {
            return Ok(page.into_events());
        }
    }
}

/// The last place below `below` that is still there.
pub(super) async fn last_below(
    bus: &dyn Bus,
    room: &RoomId,
    below: Seq,
) -> Result<Option<Seq>, Error> {
    let wanted = Seq(below.0.saturating_sub(1));
    if wanted == Seq::ZERO {
        return Ok(None);
    }
    let mut end = Position(u64::MAX);
    if let Some(position) = bus.find(room, wanted).await.map_err(reading)? {
        let messages = bus.stored(room, position, 1).await.map_err(reading)?;
        if messages
            .first()
            .is_some_and(|message| message.holds(wanted))
        {
            return Ok(Some(wanted));
        }
        end = position;
    }
    let before = bus.before(room, end).await.map_err(reading)?;
    Ok(before.map(|message| message.seq))
}
