//! Appending a commit: one message, after which every outcome but one is definite.

use super::{BusError, Error, reading};
use crate::{
    bus::{Bus, Commit, Position, Published},
    room::{RoomId, Seq},
};

/// Publishes a commit if `after` is still the room's last message. Publishing the identical commit again is harmless.
pub(super) async fn publish(
    bus: &dyn Bus,
    room: &RoomId,
    commit: &Commit,
    after: Position,
) -> Result<Position, Error> {
    let mut after = after;
    loop {
        let why = match bus.publish(room, commit, after).await {
            Ok(position) => return Ok(position),
            Err(BusError::Conflict(why) | BusError::Unknown(why)) => why,
            Err(error) => return Err(reading(error)),
        };
        let last = bus
            .last(room)
            .await
            .map_err(|error| Error::Unknown(format!("{why}; then {error}")))?;
        match last {
            // This owner's own claim, for a snapshot of the empty room, was faster: nothing that expects no message can be stored any more.
            Some(claim)
                if after == Position::ZERO
                    && claim.epoch == commit.epoch
                    && claim.seq == Seq::ZERO =>
            {
                after = claim.position
            }
            last => return decide(last, commit, after, why),
        }
    }
}

/// What became of a commit, by the room's last message.
fn decide(
    last: Option<Published>,
    commit: &Commit,
    after: Position,
    why: String,
) -> Result<Position, Error> {
    let position = last.map(|last| last.position).unwrap_or_default();
    match last {
        // Only this owner publishes under this epoch, and one place has one content.
        Some(last)
            if last.epoch == commit.epoch && last.seq == commit.last() && last.position > after =>
        {
            Ok(last.position)
        }
        Some(last) if last.epoch > commit.epoch => Err(Error::Fenced { seen: last.epoch }),
        // Nothing came after the message that was expected to be the last one: it may still arrive.
        _ if position == after => Err(Error::Unknown(why)),
        // What this owner published before is not there: the stream lost its tail. Or the room was empty, and an earlier owner was first. It must be
        // opened anew, under a new epoch.
        _ => Err(Error::Fenced { seen: commit.epoch }),
    }
}
