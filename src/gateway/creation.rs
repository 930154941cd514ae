//! Who may make rooms, and how many there may be: a room is made by its first event and stays, so
//! that a client that invents names would fill the cluster. Only where a room was never written
//! anybody is asked for it.

use super::{
    core::{Core, lock},
    limits::{Client, Limit},
    owner,
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
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::time::{Instant, sleep};
use tracing::warn;

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
    /// Whether the log has that there are as many as there may be.
    is_told: AtomicBool,
    written: Mutex<HashSet<RoomId>>,
}

impl Creation {
    pub(super) fn new(journal: Arc<dyn Journal>, most: u64) -> Self {
        Self {
            journal,
            most,
            rooms: AtomicU64::new(0),
            is_told: AtomicBool::new(false),
            written: Mutex::default(),
        }
    }

    /// Whether a room is known to have been written.
    pub(super) fn is_written(&self, room: &RoomId) -> bool {
        lock(&self.written).contains(room)
    }

    /// Takes what a message to a room costs that it may make.
    pub(super) async fn pay_for(
        core: &Core,
        room: &RoomId,
        who: (&UserId, &Key),
        client: Option<&Client>,
    ) -> Result<(), Rejection> {
        if core.creation.is_written(room) {
            return Ok(());
        }
        let known = core.replica(room).and_then(|replica| replica.head());
        let head = match known.filter(|head| *head > Seq::ZERO) {
            Some(head) => head,
            None => owner::head(core, room).await?,
        };
        Self::pay(core, room, head, who, client)
    }

    /// Whether coming to a room would be let through now that ends at `head`; takes nothing.
    pub(super) fn check(
        core: &Core,
        head: Seq,
        whose: (&UserId, &Key),
        client: Option<&Client>,
    ) -> Result<(), Rejection> {
        if head > Seq::ZERO {
            return Ok(());
        }
        core.creation.check_most()?;
        core.limits.may_make_room(whose, client)
    }

    /// Takes what coming to a room costs that ends at `head`: something, if it is made by that.
    pub(super) fn pay(
        core: &Core,
        room: &RoomId,
        head: Seq,
        whose: (&UserId, &Key),
        client: Option<&Client>,
    ) -> Result<(), Rejection> {
        let this = &core.creation;
        if head > Seq::ZERO {
            this.note(room);
            return Ok(());
        }
        this.check_most()?;
        core.limits.make_room(whose, client)?;
        this.rooms.fetch_add(1, Relaxed);
        metric::ROOMS_MADE.increment(1);
        Ok(())
    }

    /// That nobody can make another room, while it is so.
    pub(super) fn warning(&self) -> Option<String> {
        let rooms = self.rooms.load(Relaxed);
        (self.most > 0 && rooms >= self.most).then(|| {
            format!(
                "the cluster has {rooms} rooms, and gateway.max_rooms lets nobody make another one \
                 beyond {}: raise it if these are wanted",
                self.most
            )
        })
    }

    fn check_most(&self) -> Result<(), Rejection> {
        let Some(warning) = self.warning() else {
            return Ok(());
        };
        self.tell(&warning);
        let message = "the service has as many rooms as it may have: go to one that is there";
        Err(Limit::ClusterRooms.reached(message, AGAIN_MS))
    }

    /// Once, until there are fewer.
    fn tell(&self, warning: &str) {
        if !self.is_told.swap(true, Relaxed) {
            warn!("{warning}");
        }
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
                    match self.warning() {
                        Some(warning) => self.tell(&warning),
                        None => self.is_told.store(false, Relaxed),
                    }
                }
                Err(error) => tracing::debug!(%error, "the rooms are counted later"),
            }
            sleep(PAUSE.max(begun.elapsed() * SHARE)).await;
        }
    }
}
