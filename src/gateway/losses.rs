//! Rooms of which the bus lost events lately. A client names the last place that it saw, and once
//! the room is as long again nothing tells that other events are there now. So for some time
//! everybody who comes back to such a room is given a reset, which costs those who missed nothing a
//! page.

use crate::room::{RoomId, Seq};
use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// How long a loss is kept in mind: as long as clients usually try to come back.
const KEPT: Duration = Duration::from_secs(10 * 60);

/// The rooms that lost events lately.
#[derive(Default)]
pub(super) struct Losses(Mutex<HashMap<RoomId, Instant>>);

impl Losses {
    /// A room has lost events.
    pub(super) fn note(&self, room: &RoomId) {
        let now = Instant::now();
        let mut rooms = self.rooms();
        rooms.retain(|_, at| now - *at < KEPT);
        rooms.insert(room.clone(), now);
    }

    /// Whether a client that saw the room up to `since` saw what is there now.
    pub(super) fn continues(&self, room: &RoomId, since: Seq) -> bool {
        let lost = self.rooms().get(room).is_some_and(|at| at.elapsed() < KEPT);
        since == Seq::ZERO || !lost
    }

    fn rooms(&self) -> MutexGuard<'_, HashMap<RoomId, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_was_seen_before_a_loss_is_not_continued_for_some_time() {
        let (losses, room) = (Losses::default(), RoomId::parse("aaa").unwrap());
        assert!(losses.continues(&room, Seq(9)));
        losses.note(&room);
        assert!(!losses.continues(&room, Seq(9)));
        assert!(losses.continues(&room, Seq::ZERO), "it saw nothing");
        tokio::time::advance(KEPT).await;
        assert!(losses.continues(&room, Seq(9)));
    }
}
