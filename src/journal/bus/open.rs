//! Opening a room: a claim as its last message, then everything before it. A room that was never written gets none, so that asking for made-up rooms
//! stores nothing.
//!
//! Why an owner of an unwritten room is still fenced. Its first commit expects that the room has no message. A claim would have to be refused in the
//! same way, and would only come earlier; so with and without it exactly one of several owners that saw the room empty gets the first place:
//! - Another owner was first: the stream refuses the commit, and this owner gives the shard up (`Fenced`). What it has decided rests on an empty room, so
//!   it all waits for that commit, and what it answers without one is confirmed by the shard's record. Nothing of it was told to anybody.
//! - An owner that was replaced is first: its commit is in the stream, journaled and published, as it would be had the new owner not opened the room yet.
//!   The new owner's first commit is refused, it takes the shard again, and finds the event. No event is lost or has a second content.
//!
//! Opening asks the shard's record instead, so that an owner that knows of its end opens nothing.
//! It asks before it claims a room with messages,
//! too: a claim of who is no owner would fence the one who is. A snapshot of an empty room hangs on
//! a message like any
//! other: it is claimed then ([`anchor`]).

use super::{ATTEMPTS, BusError, Error, Opened, page::dense, reading, snapshot};
use crate::{
    bus::{Bus, Position, Published},
    room::{Epoch, Event, RoomId, Seq},
};

/// Messages in one reading; the bus bounds it by bytes as well.
pub(super) const MESSAGES: usize = 500;

/// Makes the room's last message one of this epoch, so that no earlier owner can publish any more. [`Error::Fenced`] when there is one of a higher epoch.
/// `None`: the room has no message, and gets none.
pub(super) async fn claim(
    bus: &dyn Bus,
    room: &RoomId,
    epoch: Epoch,
) -> Result<Option<Published>, Error> {
    let mut why = String::new();
    for _ in 0..ATTEMPTS {
        let (seq, after) = match bus.last(room).await.map_err(reading)? {
            Some(last) if last.epoch > epoch => return Err(Error::Fenced { seen: last.epoch }),
            Some(last) if last.epoch == epoch => return Ok(Some(last)),
            Some(last) => (last.seq, last.position),
            None => return Ok(None),
        };
        match bus.publish_claim(room, epoch, seq, after).await {
            Ok(position) => {
                return Ok(Some(Published {
                    position,
                    epoch,
                    seq,
                }));
            }
            // An earlier owner was faster, or the answer was lost: the last message tells.
            Err(BusError::Conflict(reason) | BusError::Unknown(reason)) => why = reason,
            Err(error) => return Err(reading(error)),
        }
    }
    Err(Error::Unavailable(format!(
        "room {room} could not be claimed in {ATTEMPTS} attempts: {why}"
    )))
}

/// A claim in a room that is empty, for its snapshot; where it is. [`Error::Fenced`] when somebody else has written.
pub(super) async fn anchor(bus: &dyn Bus, room: &RoomId, epoch: Epoch) -> Result<Position, Error> {
    let mut why = String::new();
    for _ in 0..ATTEMPTS {
        let after = match bus.last(room).await.map_err(reading)? {
            Some(last) if last.epoch > epoch => return Err(Error::Fenced { seen: last.epoch }),
            Some(last) if last.epoch == epoch && last.seq == Seq::ZERO => return Ok(last.position),
            // The first commit of this owner was faster: the next snapshot hangs on that.
            Some(last) if last.epoch == epoch => {
                return Err(Error::Unavailable(format!(
                    "room {room} was written meanwhile"
                )));
            }
            // What this owner knows of the room is outdated; a claim on top would make it look true.
            Some(last) if last.seq > Seq::ZERO => return Err(Error::Fenced { seen: epoch }),
            last => last.map_or(Position::ZERO, |last| last.position),
        };
        match bus.publish_claim(room, epoch, Seq::ZERO, after).await {
            Ok(position) => return Ok(position),
            Err(BusError::Conflict(reason) | BusError::Unknown(reason)) => why = reason,
            Err(error) => return Err(reading(error)),
        }
    }
    Err(Error::Unavailable(format!(
        "room {room} could not be claimed in {ATTEMPTS} attempts: {why}"
    )))
}

/// The snapshot and the events up to the room's end.
pub(super) async fn read(bus: &dyn Bus, room: &RoomId, end: &Published) -> Result<Opened, Error> {
    let (state, mut from) = snapshot::newest(bus, room, end).await?;
    let mut events: Vec<Event> = Vec::new();
    loop {
        let page = bus.stored(room, from, MESSAGES).await.map_err(reading)?;
        let Some(last) = page.last() else { break };
        from = last.position.next();
        for event in page
            .into_iter()
            .filter(|message| message.position <= end.position)
            .flat_map(|message| message.events)
        {
            if event.seq > state.head {
                events.push(dense(
                    room,
                    events.last().map_or(state.head, |last| last.seq),
                    event,
                )?);
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
