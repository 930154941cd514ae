//! Whether the database is still the one that it was: put back to before, it lacks what was written
//! last. A fence that is old enough to be in the backup says nothing of that. Nobody puts a
//! database back that answers, so it is asked after an outage, once for each shard.

use super::{Error, Row, Store};
use crate::room::{Epoch, RoomId, Seq, ShardId};
use std::{
    collections::HashMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

/// What was journaled last in each shard.
#[derive(Default)]
pub(super) struct Newest {
    /// How often the database was away.
    outages: AtomicU64,
    shards: Mutex<HashMap<ShardId, Place>>,
}

#[derive(Clone)]
struct Place {
    room: RoomId,
    seq: Seq,
    epoch: Epoch,
    /// After so many outages it was there.
    seen: u64,
}

impl Newest {
    /// Notes whether the database was away, by the outcome of a call.
    pub(super) fn note<T>(&self, outcome: Result<T, Error>) -> Result<T, Error> {
        if outcome.as_ref().is_err_and(Error::is_transient) {
            self.outages.fetch_add(1, Relaxed);
        }
        outcome
    }

    /// How often the database was away by now.
    pub(super) fn outages(&self) -> u64 {
        self.outages.load(Relaxed)
    }

    /// Notes what was journaled under this epoch, after so many outages.
    pub(super) fn journaled(
        &self,
        (shard, epoch): (ShardId, Epoch),
        room: &RoomId,
        rows: &[Row],
        seen: u64,
    ) {
        let Some(last) = rows.last().filter(|last| last.epoch == epoch) else {
            return;
        };
        let place = Place {
            room: room.clone(),
            seq: last.seq(),
            epoch,
            seen,
        };
        self.lock().insert(shard, place);
    }

    /// What is below a place of a room goes, and need not be found.
    pub(super) fn goes(&self, shard: ShardId, room: &RoomId, below: Seq) {
        let mut shards = self.lock();
        let is_gone = |place: &Place| place.room == *room && place.seq < below;
        if shards.get(&shard).is_some_and(is_gone) {
            shards.remove(&shard);
        }
    }

    /// Whether what was journaled last under this epoch is still there. [`Error::Fenced`]: it is
    /// not, and nothing that rests on it may go on.
    pub(super) async fn check(
        &self,
        store: &impl Store,
        shard: ShardId,
        epoch: Epoch,
    ) -> Result<(), Error> {
        let outages = self.outages();
        let place = self.lock().get(&shard).cloned();
        let doubted = place.filter(|place| place.epoch == epoch && place.seen < outages);
        let Some(Place { room, seq, .. }) = doubted else {
            return Ok(());
        };
        let rows = self.note(store.rows(&room, seq, seq).await)?;
        let is_there = rows.iter().any(|row| row.epoch == epoch);
        let mut shards = self.lock();
        let Some(place) = shards.get_mut(&shard).filter(|place| place.epoch == epoch) else {
            return Ok(());
        };
        if is_there {
            place.seen = place.seen.max(outages);
            return Ok(());
        }
        // Something newer was journaled meanwhile, or it was removed: asked again next time.
        if (&place.room, place.seq) != (&room, seq) {
            return Ok(());
        }
        tracing::warn!(
            %shard, %room, %seq, %epoch,
            "Cassandra lacks what was journaled last: was it put back to before? The shard is taken \
             again, and what the bus still has is written back"
        );
        Err(Error::Fenced { seen: epoch })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ShardId, Place>> {
        self.shards.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
