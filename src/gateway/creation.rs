//! Who may make rooms, and how many there may be: a room is made by its first event and stays, so
//! that a client that invents names would fill the cluster. Only where a room was never written
//! anybody is asked for it.

use super::{
    core::{Core, lock},
    limits::{Client, Limit},
};
use crate::{
    journal::Journal,
    metric,
    room::{Key, Rejection, RoomId, Seq, UserId},
};
use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::time::{Instant, sleep};

/// Rooms of which it is remembered that they are there; then all are forgotten, and asked again.
const REMEMBERED: usize = 65_536;
/// Between two countings, at least.
const PAUSE: Duration = Duration::from_secs(60);
/// A counting takes no more than a hundredth of the time: it may read through a whole table.
const SHARE: u32 = 100;
/// Before a client that would make one room too many should try again, in milliseconds.
const AGAIN_MS: u64 = 60_000;

/// What is known of the rooms of the cluster.
pub(super) struct Creation {
    journal: Arc<dyn Journal>,
    /// 0: no limit.
    most: u64,
    /// Rooms at the last counting, and those that were made here since.
    rooms: AtomicU64,
    written: Mutex<HashSet<RoomId>>,
}

impl Creation {
    pub(super) fn new(journal: Arc<dyn Journal>, most: u64) -> Self {
        Self {
            journal,
            most,
            rooms: AtomicU64::new(0),
            written: Mutex::default(),
        }
    }

    /// Whether a room is known to have been written.
    pub(super) fn is_written(&self, room: &RoomId) -> bool {
        lock(&self.written).contains(room)
    }

    /// Takes what coming to a room costs that ends at `head`: something, if it is made by that.
    pub(super) fn pay(
        core: &Core,
        room: &RoomId,
        head: Seq,
        (user, key): (&UserId, &Key),
        client: Option<&Client>,
    ) -> Result<(), Rejection> {
        let this = &core.creation;
        if head > Seq::ZERO {
            this.note(room);
            return Ok(());
        }
        if this.most > 0 && this.rooms.load(Relaxed) >= this.most {
            let message = "the service has as many rooms as it may have: go to one that is there";
            return Err(Limit::ClusterRooms.reached(message, AGAIN_MS));
        }
        core.limits.make_room(user, key, client)?;
        this.rooms.fetch_add(1, Relaxed);
        metric::ROOMS_MADE.increment(1);
        Ok(())
    }

    fn note(&self, room: &RoomId) {
        let mut written = lock(&self.written);
        if written.len() >= REMEMBERED {
            written.clear();
        }
        written.insert(room.clone());
    }

    /// Counts the rooms of the cluster now and then. Never returns.
    pub(super) async fn count(&self) {
        loop {
            let begun = Instant::now();
            match self.journal.count_rooms().await {
                Ok(rooms) => {
                    self.rooms.store(rooms, Relaxed);
                    metric::ROOMS_STORED.set(rooms as f64);
                }
                Err(error) => tracing::debug!(%error, "the rooms are counted later"),
            }
            sleep(PAUSE.max(begun.elapsed() * SHARE)).await;
        }
    }
}
