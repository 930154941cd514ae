//! Appending a commit: one message, after which every outcome but one is definite.

use super::{BusError, Error, reading};
use crate::{
    bus::{Bus, Commit, Position},
    room::RoomId,
};

/// Publishes a commit if `after` is still the room's last message. Publishing the identical commit again is harmless.
pub(super) async fn publish(bus: &dyn Bus, room: &RoomId, commit: &Commit, after: Position) -> Result<Position, Error> {
    match bus.publish(room, commit, after).await {
        Ok(position) => Ok(position),
        Err(BusError::Conflict(why) | BusError::Unknown(why)) => decide(bus, room, commit, after, why).await,
        Err(error) => Err(reading(error)),
    }
}

/// What became of a commit, by the room's last message.
async fn decide(bus: &dyn Bus, room: &RoomId, commit: &Commit, after: Position, why: String) -> Result<Position, Error> {
    let last = bus.last(room).await.map_err(|error| Error::Unknown(format!("{why}; then {error}")))?;
    let position = last.map(|last| last.position).unwrap_or_default();
    match last {
        // Only this owner publishes under this epoch, and one place has one content.
        Some(last) if last.epoch == commit.epoch && last.seq == commit.last() && last.position > after => Ok(last.position),
        Some(last) if last.epoch > commit.epoch => Err(Error::Fenced { seen: last.epoch }),
        // Nothing came after the message that was expected to be the last one: it may still arrive.
        _ if position == after => Err(Error::Unknown(why)),
        // What this owner published before is not there: the stream lost its tail. The room must be opened anew, under a new epoch.
        _ => Err(Error::Fenced { seen: commit.epoch }),
    }
}
