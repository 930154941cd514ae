//! How much of the past may go.

use super::{Error, Store, open};
use crate::room::{RoomId, Seq};

/// The place below which everything may go, at most `start`, and whether that is all that ever may
/// before there are more events. An opening reads from the commit on that the newest snapshot ends
/// with. `None`: there is none, so it reads everything.
pub(super) async fn below(
    store: &impl Store,
    room: &RoomId,
    start: Seq,
) -> Result<Option<(Seq, bool)>, Error> {
    let Some(newest) = store.snapshots(room, 1).await?.into_iter().next() else {
        return Ok(None);
    };
    let held = open::start(store, room, newest.seq).await?;
    let below = start.min(held.unwrap_or(newest.seq));
    Ok(Some((below, newest.seq.next() >= start)))
}
