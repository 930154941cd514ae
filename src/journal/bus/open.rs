//! Opening a room: a claim as its last message, then everything before it.

use super::{ATTEMPTS, BusError, Error, Opened, page::dense, reading, snapshot};
use crate::{
    bus::{Bus, Position, Published},
    room::{Epoch, Event, RoomId, Seq},
};

/// Messages in one reading; the bus bounds it by bytes as well.
pub(super) const MESSAGES: usize = 500;

/// Makes the room's last message one of this epoch, so that no earlier owner can publish any more. [`Error::Fenced`] when there is one of a higher epoch.
pub(super) async fn claim(bus: &dyn Bus, room: &RoomId, epoch: Epoch) -> Result<Published, Error> {
    let mut why = String::new();
    for _ in 0..ATTEMPTS {
        let (seq, after) = match bus.last(room).await.map_err(reading)? {
            Some(last) if last.epoch > epoch => return Err(Error::Fenced { seen: last.epoch }),
            Some(last) if last.epoch == epoch => return Ok(last),
            Some(last) => (last.seq, last.position),
            None => (Seq::ZERO, Position::ZERO),
        };
        match bus.publish_claim(room, epoch, seq, after).await {
            Ok(position) => return Ok(Published { position, epoch, seq }),
            // An earlier owner was faster, or the answer was lost: the last message tells.
            Err(BusError::Conflict(reason) | BusError::Unknown(reason)) => why = reason,
            Err(error) => return Err(reading(error)),
        }
    }
    Err(Error::Unavailable(format!("room {room} could not be claimed in {ATTEMPTS} attempts: {why}")))
}

/// The snapshot and the events up to the room's end.
pub(super) async fn read(bus: &dyn Bus, room: &RoomId, end: &Published) -> Result<Opened, Error> {
    let (state, mut from) = snapshot::newest(bus, room, end).await?;
    let mut events: Vec<Event> = Vec::new();
    loop {
        let page = bus.stored(room, from, MESSAGES).await.map_err(reading)?;
        let Some(last) = page.last() else { break };
        from = last.position.next();
        for event in page.into_iter().filter(|message| message.position <= end.position).flat_map(|message| message.events) {
            if event.seq > state.head {
                events.push(dense(room, events.last().map_or(state.head, |last| last.seq), event)?);
            }
        }
        if from > end.position {
            break;
        }
    }
    let head = events.last().map_or(state.head, |last| last.seq);
    if head != end.seq {
        return Err(Error::Damaged(format!(
            "room {room}: its last message says that it ends at {}, but its events end at {head}",
            end.seq
        )));
    }
    Ok(Opened { state, events })
}
