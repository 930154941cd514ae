//! Saving and finding snapshots.

use super::{Error, SnapshotKey, Store, StoredSnapshot};
use crate::{
    journal::codec,
    room::{Carried, Epoch, RoomId, State},
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

/// The most that is put beside a snapshot, in bytes.
const BESIDE: usize = 64 * 1024;

/// Puts what the next event is to take along beside the newest snapshot. Only an owner's own one:
/// nobody else writes there, so what arrives late takes nothing of a successor.
pub(super) async fn save_carried(
    store: &impl Store,
    room: &RoomId,
    epoch: Epoch,
    counter: &AtomicU64,
    carried: &Carried,
) -> Result<bool, Error> {
    let content = codec::encode_carried(carried);
    let newest = store.snapshots(room, 1).await?.into_iter().next();
    let Some(key) = newest.filter(|key| key.epoch == epoch && content.len() <= BESIDE) else {
        return Ok(false);
    };
    let number = counter.fetch_add(1, Ordering::Relaxed);
    store.put_carried(room, key, number, content).await?;
    Ok(true)
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
            Some(stored) if codec::reads_snapshot(stored.version) => {
                let mut state = codec::decode_snapshot(stored.content)?;
                state.beside = stored.carried.map(codec::decode_carried).transpose()?;
                return Ok(Some((key, state)));
            }
            Some(StoredSnapshot { version, .. }) => {
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
