//! Whether the journal and the bus are of the same history of a room.

use super::{Error, Hole, Journal};
use crate::{
    bus::Feed,
    room::{RoomId, Seq},
};

/// The place beside some that a room lacks at which the bus has another event than the journal:
/// then what it has of them is of another history, and nothing of it may be put between.
pub(crate) async fn differs(
    journal: &dyn Journal,
    bus: &dyn Feed,
    room: &RoomId,
    lacking: Hole,
) -> Result<Option<Seq>, Error> {
    for place in [Seq(lacking.first.0 - 1), lacking.last.next()] {
        if place == Seq::ZERO {
            continue;
        }
        let journaled = journal.read(room, place, place).await?;
        let journaled = journaled.into_iter().find(|event| event.seq == place);
        let published = bus.event(room, place).await.map_err(Error::of_stored)?;
        let both = journaled.zip(published);
        if both.is_some_and(|(journaled, published)| !journaled.is_also(&published)) {
            return Ok(Some(place));
        }
    }
    Ok(None)
}
