//! Events put back into a hole: into places below the head of a room that have nothing any more.

use super::{Error, Row, Store, owned_rows, page, rule::winners};
use crate::room::{Epoch, RoomId, Seq};

/// The epoch under which these places are written again, all of one partition, so that a reader
/// counts them and what follows them; `next`: the next place that is stored. `None`: it cannot be,
/// since something else is stored there, of whatever epoch, or what was there was removed.
///
/// It is that of what follows. Its owner went on behind these places because they had been given:
/// under its epoch nothing was ever written there but what was published. Where nothing follows it
/// is the epoch of the claim, under which nothing was written yet.
pub(super) async fn epoch(
    store: &impl Store,
    room: &RoomId,
    events: &[Row],
    next: Option<Seq>,
    claimed: Epoch,
) -> Result<Option<Epoch>, Error> {
    let (Some(first), Some(last)) = (events.first().map(Row::seq), events.last().map(Row::seq))
    else {
        return Ok(None);
    };
    let is_removed = first < store.trimmed(room).await?;
    let stored = store.rows(room, first, last).await?;
    let is_other = |row: &Row| events.iter().all(|event| event.event != row.event);
    if is_removed || stored.iter().any(is_other) {
        return Ok(None);
    }
    let after = match next {
        Some(next) => match of(store, room, next).await? {
            Some(epoch) => epoch,
            None => return Ok(None),
        },
        None => claimed,
    };
    let before = match page::last_below(store, room, first).await? {
        Some(place) => of(store, room, place).await?.unwrap_or_default(),
        None => Epoch::default(),
    };
    Ok((before <= after).then_some(after))
}

/// The epoch of what counts at a place.
async fn of(store: &impl Store, room: &RoomId, place: Seq) -> Result<Option<Epoch>, Error> {
    let rows = winners(owned_rows(store, room, place, place).await?);
    Ok(rows.first().map(|row| row.epoch))
}
