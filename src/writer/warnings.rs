//! What owners noticed and somebody should act on: the log says it once, `/ready` for as long as it
//! may be so.

use crate::{
    bus::{Held, time},
    journal::Behind,
    room::{Epoch, Millis, RoomId, ShardId},
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// How long it is told what has happened, after it did so for the last time.
const TOLD: Duration = Duration::from_secs(3600);

/// The most rooms that are named.
const ROOMS: usize = 16;

#[derive(Default)]
pub(super) struct Warnings(Mutex<Noted>);

#[derive(Default)]
struct Noted {
    /// Why no room can let its past go, once one should.
    keeps_all: Option<Arc<str>>,
    /// Rooms that lately refused somebody because they have as many names as they may.
    full: BTreeMap<RoomId, Instant>,
    /// The room of which it was noted last that more was published than journaled.
    behind: Option<(Behind, Instant)>,
    /// Until when what is to go stays, since a backup is taken.
    held: Option<(Millis, Instant)>,
    /// The shard that somebody claimed last who is not of this cluster, and under which epoch.
    stranger: Option<(ShardId, Epoch, Instant)>,
}

impl Warnings {
    /// No room can let its past go.
    pub(super) fn keeps_all(&self, why: &str) {
        let mut noted = self.lock();
        if noted.keeps_all.as_deref() != Some(why) {
            tracing::warn!(why, "rooms cannot let their past go");
            noted.keeps_all = Some(why.into());
        }
    }

    /// A room refused somebody who is new to it.
    pub(super) fn full(&self, room: &RoomId) {
        let full = &mut self.lock().full;
        full.retain(|_, at| is_told(*at));
        if full.len() < ROOMS || full.contains_key(room) {
            full.insert(room.clone(), Instant::now());
        }
    }

    /// More of a room was published than the journal has.
    pub(super) fn behind(&self, behind: Behind) {
        let noted = &mut self.lock().behind;
        if !noted.as_ref().is_some_and(|(_, at)| is_told(*at)) {
            tracing::warn!("{behind}");
        }
        *noted = Some((behind, Instant::now()));
    }

    /// What was to be removed stays for a while, or does not any more.
    pub(super) fn held(&self, held: Option<Held>) {
        let noted = &mut self.lock().held;
        let known = noted.map(|(until, _)| until);
        if let Some(held) = held.filter(|held| known != Some(held.until)) {
            tracing::info!("{}", holds(held.until));
        }
        *noted = held.map(|held| (held.until, Instant::now() + held.left));
    }

    /// Somebody who is not of this cluster has claimed a shard in its journal.
    pub(super) fn stranger(&self, shard: ShardId, epoch: Epoch) {
        let noted = &mut self.lock().stranger;
        if !noted.is_some_and(|(_, _, at)| is_told(at)) {
            tracing::error!(%shard, %epoch, "{}", claimed(shard, epoch));
        }
        *noted = Some((shard, epoch, Instant::now()));
    }

    /// What `/ready` says.
    pub(super) fn all(&self) -> Vec<String> {
        let noted = self.lock();
        let mut all: Vec<String> = noted.keeps_all.iter().map(|why| why.to_string()).collect();
        let full = noted.full.iter().filter(|(_, at)| is_told(**at));
        all.extend(full.map(|(room, _)| {
            format!(
                "room {room} has as many names as it may and refuses new ones: raise \
                 writer.max_names_per_room, or purge it (safe-chat admin purge {room})"
            )
        }));
        let behind = noted.behind.iter().filter(|(_, at)| is_told(*at));
        all.extend(behind.map(|(behind, _)| behind.to_string()));
        let held = noted.held.filter(|(_, end)| Instant::now() < *end);
        all.extend(held.map(|(until, _)| holds(until)));
        let stranger = noted.stranger.filter(|(_, _, at)| is_told(*at));
        all.extend(stranger.map(|(shard, epoch, _)| claimed(shard, epoch)));
        all
    }

    fn lock(&self) -> MutexGuard<'_, Noted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_told(at: Instant) -> bool {
    at.elapsed() < TOLD
}

fn holds(until: Millis) -> String {
    format!(
        "what was erased or purged, or is let go, is removed after {}: a backup is being taken \
         (safe-chat journal hold)",
        time(until)
    )
}

fn claimed(shard: ShardId, epoch: Epoch) -> String {
    format!(
        "shard {shard} was claimed in the journal under epoch {epoch} by somebody who is not of \
         this cluster: two clusters write into one keyspace. Stop the nodes of the one that does \
         not belong there (docs/operations.md, Which cluster it is)"
    )
}
