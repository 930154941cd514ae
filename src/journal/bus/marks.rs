//! Which rooms this process has marked as written beyond their newest snapshot ([`super::end`]).
//! The marks lie beside the snapshots and not in the journal, so a bucket that does not answer must
//! not slow the commits: a commit waits a moment for the mark of its room, and after a failure no
//! commit of any room does for a while.

use super::snapshot;
use crate::{
    bus::Bus,
    room::{Epoch, RoomId},
};
use std::{
    collections::HashSet,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::{Instant, timeout};

/// How long a commit waits for a mark.
const WITHIN: Duration = Duration::from_millis(250);

/// How long no mark is tried after one that failed.
const BACKOFF: Duration = Duration::from_secs(10);

/// The marks of all rooms.
#[derive(Default)]
pub(super) struct Marks(Mutex<State>);

#[derive(Default)]
struct State {
    /// Rooms whose mark is stored, or on its way.
    rooms: HashSet<RoomId>,
    /// No mark is tried before.
    not_before: Option<Instant>,
}

impl Marks {
    /// Marks a room, unless it is marked or marks fail at the moment: its next commit tries again.
    pub(super) async fn set(&self, bus: &dyn Bus, room: &RoomId, age: (Epoch, u64)) {
        if !self.lock().begin(room) {
            return;
        }
        let stored = timeout(WITHIN, snapshot::mark(bus, room, age)).await;
        let why = match stored {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {WITHIN:?}"),
        };
        tracing::debug!(%room, why, "rooms are marked as written later");
        let mut state = self.lock();
        state.rooms.remove(room);
        state.not_before = Some(Instant::now() + BACKOFF);
    }

    /// A room is to be marked again with its next commit.
    pub(super) fn forget(&self, room: &RoomId) {
        self.lock().rooms.remove(room);
    }

    /// The same of all rooms but those.
    pub(super) fn retain(&self, which: impl Fn(&RoomId) -> bool) {
        self.lock().rooms.retain(|room| which(room));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn begin(&mut self, room: &RoomId) -> bool {
        if self.rooms.contains(room) || self.not_before.is_some_and(|time| Instant::now() < time) {
            return false;
        }
        self.rooms.insert(room.clone())
    }
}
