//! Appending a commit: one message, after which every outcome but one is definite. A claim comes
//! before it when the messages that it should follow are gone.

use super::{BusError, Error, reading};
use crate::{
    bus::{Bus, Commit, Position, Published},
    room::{Epoch, RoomId, Seq},
};

/// Publishes a commit if `after` is still the room's last message. Publishing the identical commit
/// again is harmless.
pub(super) async fn publish(
    bus: &dyn Bus,
    room: &RoomId,
    commit: &Commit,
    after: Position,
) -> Result<Position, Error> {
    let mut after = after;
    let before = Seq(commit.first().0 - 1);
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
            // This owner's own claim was faster, for a snapshot of the empty room or because
            // messages are gone: nothing that expects what was before it can be stored any more.
            // Or there is a message that nobody of this service has written (of epoch 0, when there
            // is no other).
            Some(claim)
                if [commit.epoch, Epoch::default()].contains(&claim.epoch)
                    && claim.seq == before
                    && claim.position != after =>
            {
                after = claim.position
            }
            // What this owner has published before is gone, and nobody else has followed: the room
            // goes on where it is, and a claim says so to whoever comes later.
            last if is_lost(last.as_ref(), commit, after)
                && was_deleted(bus, last.as_ref(), after).await? =>
            {
                tracing::warn!(
                    %room, event = %before, was = after.0, last = position(last.as_ref()).0,
                    "the last messages of the room are gone from the stream of events; \
                     it goes on behind them: look at it with `safe-chat journal verify {room}`"
                );
                after = claim(bus, room, commit.epoch, before, position(last.as_ref())).await?;
            }
            last => return decide(last, commit, after, why),
        }
    }
}

/// Whether a room still ends where an owner of this epoch left it, or behind that: what it has
/// under way may have come. [`Error::Fenced`]: others have written it, or the stream went back.
pub(super) async fn is_there(
    bus: &dyn Bus,
    room: &RoomId,
    epoch: Epoch,
    left_at: Position,
) -> Result<(), Error> {
    let last = bus.last(room).await.map_err(reading)?;
    let end = position(last.as_ref());
    match last {
        Some(last) if last.epoch > epoch => Err(Error::Fenced { seen: last.epoch }),
        // Whoever opens a room with messages makes the last one of its own epoch.
        Some(last) if last.epoch == epoch && end >= left_at => Ok(()),
        None if left_at == Position::ZERO => Ok(()),
        last if end < left_at && was_deleted(bus, last.as_ref(), left_at).await? => Ok(()),
        _ => Err(Error::Fenced { seen: epoch }),
    }
}

/// Whether the message is gone after which a commit should come, and nothing has come instead.
fn is_lost(last: Option<&Published>, commit: &Commit, after: Position) -> bool {
    position(last) < after && last.is_none_or(|last| last.epoch <= commit.epoch)
}

/// Whether the message at a position was deleted. A stream that ends before it is another one than
/// it was: it lost its tail, was restored or made again. Then the room must be read anew.
async fn was_deleted(bus: &dyn Bus, last: Option<&Published>, at: Position) -> Result<bool, Error> {
    let unknown = |error: BusError| Error::Unknown(error.to_string());
    if last.is_some() && !bus.removal().await.map_err(unknown)?.singly {
        // What went behind it was of other rooms.
        return Ok(false);
    }
    let before = Position(at.0.saturating_sub(1));
    Ok(bus.gone_after(before).await.map_err(unknown)? > 0)
}

fn position(last: Option<&Published>) -> Position {
    last.map(|last| last.position).unwrap_or_default()
}

/// Notes how far a room has gone, after what is left of it.
pub(super) async fn claim(
    bus: &dyn Bus,
    room: &RoomId,
    epoch: Epoch,
    head: Seq,
    after: Position,
) -> Result<Position, Error> {
    match bus.publish_claim(room, epoch, head, after).await {
        Ok(position) => Ok(position),
        // Whether it happened is seen when the commit is repeated.
        Err(BusError::Conflict(why) | BusError::Unknown(why)) => Err(Error::Unknown(why)),
        Err(error) => Err(reading(error)),
    }
}

/// What became of a commit, by the room's last message.
fn decide(
    last: Option<Published>,
    commit: &Commit,
    after: Position,
    why: String,
) -> Result<Position, Error> {
    let position = position(last.as_ref());
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
        // What this owner published before is not there: the stream lost its tail. Or the room was
        // empty, and an earlier owner was first. It must be opened anew, under a new epoch.
        _ => Err(Error::Fenced { seen: commit.epoch }),
    }
}
