//! Saving and finding snapshots.

use super::{Error, SnapshotKey, Store};
use crate::{
    journal::codec,
    room::{Epoch, RoomId, State},
};
use std::sync::atomic::{AtomicU64, Ordering};

/// Snapshots that are kept: while one is dropped, the one before it stays.
const KEPT: usize = 2;
/// The most that are listed: more than an owner that died while it dropped one has left.
pub(super) const LISTED: usize = 16;
/// How often the newest snapshot is looked for: it can only be gone because two newer ones were
/// saved meanwhile.
const ATTEMPTS: usize = 3;

pub(super) async fn save(
    store: &impl Store,
    room: &RoomId,
    epoch: Epoch,
    counter: &AtomicU64,
    state: &State,
) -> Result<(), Error> {
    let key = SnapshotKey {
        seq: state.head,
        epoch,
        number: counter.fetch_add(1, Ordering::Relaxed),
    };
    store
        .put_snapshot(
            room,
            key,
            codec::snapshot_version(state),
            codec::encode_snapshot(state),
        )
        .await?;
    for old in store.snapshots(room, LISTED).await?.into_iter().skip(KEPT) {
        store.drop_snapshot(room, old).await?;
    }
    Ok(())
}

/// The newest snapshot. An older one is no substitute for one that cannot be read: it lacks changes
/// whose commands are gone from the bus.
pub(super) async fn newest(
    store: &impl Store,
    room: &RoomId,
) -> Result<Option<(SnapshotKey, State)>, Error> {
    for _ in 0..ATTEMPTS {
        let Some(key) = store.snapshots(room, 1).await?.into_iter().next() else {
            return Ok(None);
        };
        match store.snapshot(room, key).await? {
            Some((version, content)) if codec::reads_snapshot(version) => {
                return codec::decode_snapshot(content).map(|state| Some((key, state)));
            }
            Some((version, _)) => {
                return Err(Error::Unsupported {
                    seq: key.seq,
                    name: "snapshot".into(),
                    version,
                });
            }
            None => {}
        }
    }
    Err(Error::Damaged(format!(
        "room {room}: its newest snapshot is listed, but its content is missing"
    )))
}
