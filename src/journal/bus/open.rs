//! Opening a room: a claim as its last message, then everything before it. A room that was never
//! written gets none, so that asking for made-up rooms stores nothing.
//!
//! Why an owner of an unwritten room is still fenced. Its first commit expects that the room has no
//! message. A claim would have to be refused in the same way, and would only come earlier; so with
//! and without it exactly one of several owners that saw the room empty gets the first place:
//! - Another owner was first: the stream refuses the commit, and this owner gives the shard up
//!   (`Fenced`). What it has decided rests on an empty room, so
//!   it all waits for that commit, and what it answers without one is confirmed by the shard's record. Nothing of it was told to anybody.
//! - An owner that was replaced is first: its commit is in the stream, journaled and published, as
//!   it would be had the new owner not opened the room yet.
//!   The new owner's first commit is refused, it takes the shard again, and finds the event. No event is lost or has a second content.
//!
//! Opening asks the shard's record instead, so that an owner that knows of its end opens nothing.
//! It asks before it claims a room with messages, too: a claim of who is no owner would fence the
//! one who is. A snapshot of an empty room hangs on a message like any other: it is claimed then
//! ([`anchor`]).

use super::{ATTEMPTS, BusError, Error, Opened, copies, end::reached, reading, snapshot};
use crate::{
    bus::{Bus, Position, Published},
    journal::Hole,
    room::{Epoch, Event, RoomId, Seq},
};

/// Messages in one reading; the bus bounds it by bytes as well.
pub(super) const MESSAGES: usize = 500;

/// A room that is claimed.
pub(super) struct Claimed {
    /// Its last message, which is this owner's.
    pub(super) end: Published,
    /// How far it had gone by the last message of an earlier owner.
    before: Option<Seq>,
}

/// Makes the room's last message one of this epoch, so that no earlier owner can publish any more.
/// [`Error::Fenced`] when there is one of a higher epoch. It says how far the room has gone, at
/// least as far as `least`. `None`: the room was never written, and gets no message.
pub(super) async fn claim(
    bus: &dyn Bus,
    room: &RoomId,
    epoch: Epoch,
    least: Seq,
) -> Result<Option<Claimed>, Error> {
    let (mut why, mut before) = (String::new(), None);
    for _ in 0..ATTEMPTS {
        let last = bus.last(room).await.map_err(reading)?;
        let former = last.filter(|last| last.epoch < epoch);
        before = former.map(|former| former.seq).or(before);
        if let Some(last) = last.filter(|last| last.epoch > epoch) {
            return Err(Error::Fenced { seen: last.epoch });
        }
        let seq = match reached(bus, room, last.as_ref()).await? {
            None if least == Seq::ZERO => return Ok(None),
            reached => reached.unwrap_or_default().max(least),
        };
        if let Some(end) = last.filter(|last| last.epoch == epoch && last.seq == seq) {
            return Ok(Some(Claimed { end, before }));
        }
        let after = last.map(|last| last.position).unwrap_or_default();
        match bus.publish_claim(room, epoch, seq, after).await {
            Ok(position) => {
                let end = Published {
                    position,
                    epoch,
                    seq,
                };
                return Ok(Some(Claimed { end, before }));
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

/// A claim in a room that is empty, for its snapshot; where it is. [`Error::Fenced`] when somebody
/// else has written.
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
            // What this owner knows of the room is outdated; a claim on top would make it look
            // true.
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

/// The snapshot and the events up to the room's end, as far as they are still there.
pub(super) async fn read(
    bus: &dyn Bus,
    room: &RoomId,
    Claimed { end, before }: &Claimed,
) -> Result<Opened, Error> {
    let newest = snapshot::newest(bus, room).await?;
    let has_snapshot = newest.is_some();
    let (state, mut from) = newest.unwrap_or_default();
    let mut events: Vec<Event> = Vec::new();
    let mut head = state.head;
    while from <= end.position {
        let page = bus.stored(room, from, MESSAGES).await.map_err(reading)?;
        let Some(last) = page.last() else { break };
        from = last.position.next();
        let page = page
            .into_iter()
            .take_while(|message| message.position <= end.position);
        for event in page.flat_map(|message| message.events) {
            if event.seq <= state.head {
                continue;
            }
            if event.seq <= head {
                return Err(damaged(
                    room,
                    format!("event {} comes after event {head}", event.seq),
                ));
            }
            head = event.seq;
            events.push(event);
        }
    }
    if head > end.seq {
        return Err(damaged(
            room,
            format!(
                "its last message says that it ends at {}, but its events end at {head}",
                end.seq
            ),
        ));
    }
    if !has_snapshot {
        // It is lost: what was removed because it was there may have copies.
        let below = events.first().map_or(end.seq.next(), |event| event.seq);
        let before = copies::all_before(bus, room, below).await?;
        events.splice(..0, before);
    }
    // A stream that is older than the snapshot: what it lacks is not told apart later, since the
    // claim is of the place of the snapshot. Of a room that is gone, and being removed, it may.
    let before = before.filter(|_| !state.is_gone());
    let lost = before.and_then(|before| Hole::between(before, state.head.next()));
    let lost = lost.and_then(|lost| lost.behind(Seq(state.kept.first().0 - 1)));
    let mut opened = Opened::new(state, events, end.seq);
    opened.holes.splice(..0, lost);
    Ok(opened)
}

fn damaged(room: &RoomId, what: String) -> Error {
    Error::Damaged(format!(
        "room {room}: {what}: look at it with `safe-chat journal inspect {room}`"
    ))
}
