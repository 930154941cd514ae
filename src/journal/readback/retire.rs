//! Removing a room that is gone. What stays is its newest snapshot, which has nothing of it but how
//! far it went, so that no place is given again: deletions are ahead of their time, and writes may
//! arrive late. And as it is of the epoch that removes the room, no row counts behind it that an
//! earlier owner writes late, although the commit that it ends with has gone.

use super::{Error, Store, copies, snapshot::LISTED};
use crate::room::{Epoch, Millis, RoomId, Seq};

/// Removes everything of a room but its newest snapshot: its name last, since a room that has one
/// is looked at again. The caller has confirmed its claim.
pub(super) async fn remove(
    store: &impl Store,
    room: &RoomId,
    (epoch, head): (Epoch, Seq),
    before: Millis,
) -> Result<(), Error> {
    let mut snapshots = store.snapshots(room, LISTED).await?.into_iter();
    let newest = snapshots.next().map(|key| (key.seq, key.epoch));
    let is_saved = head == Seq::ZERO || newest == Some((head, epoch));
    if !is_saved || newest.is_some_and(|(seq, _)| seq != head) {
        return Err(Error::Unavailable(format!(
            "room {room} stays: its newest snapshot is not of event {head} and epoch {epoch}"
        )));
    }
    if head > Seq::ZERO {
        let start = head.next();
        if copies::are_below(store, room, start).await? {
            store.drop_copies(room, epoch, start).await?;
        }
        store.trim(room, start).await?;
    }
    for old in snapshots {
        store.drop_snapshot(room, old).await?;
    }
    store.unnote(room, before).await
}
