//! How far a room has gone, whatever is left of it. The last message says so, unless it was
//! deleted; then the newest snapshot knows a place that was reached, and the stream how many
//! messages are gone since. No place is given twice, so what may have been given counts as given.
//! Whether anything was written since that snapshot says a mark, so that a deletion elsewhere moves
//! no room that was quiet. Where nobody can delete single messages, no room is moved whose last one
//! is there.

use super::{Error, reading, snapshot};
use crate::{
    bus::{Bus, Position, Published},
    journal::Limits,
    room::{RoomId, Seq},
};

/// The last place that a room with this last message may have reached; `None`: it was never
/// written.
pub(super) async fn reached(
    bus: &dyn Bus,
    room: &RoomId,
    last: Option<&Published>,
) -> Result<Option<Seq>, Error> {
    let kept = snapshot::newest_place(bus, room).await?;
    let marked = snapshot::marked(bus, room).await?;
    let (age, saved, position) = kept.map_or_else(Default::default, |(age, saved, position)| {
        (Some(age), saved, position)
    });
    let Some(last) = last else {
        let was_written = age.is_some() || marked.is_some();
        return match was_written {
            true => beyond(bus, saved, position).await.map(Some),
            false => Ok(None),
        };
    };
    if marked <= age && saved == last.seq {
        return Ok(Some(last.seq));
    }
    // Nothing behind a message goes while that stays: what is gone was of other rooms.
    if !bus.removal().await.map_err(reading)?.singly {
        return Ok(Some(last.seq.max(saved)));
    }
    let end = beyond(bus, last.seq, last.position).await?;
    Ok(Some(end.max(saved)))
}

/// The last place that the messages can have held which were stored after `position` and are gone.
async fn beyond(bus: &dyn Bus, head: Seq, position: Position) -> Result<Seq, Error> {
    let gone = bus.gone_after(position).await.map_err(reading)?;
    let places = gone.saturating_mul(Limits::EVENTS as u64);
    Ok(Seq(head.0.saturating_add(places)))
}
