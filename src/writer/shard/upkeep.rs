//! What a shard does as time goes by: it stores its floor, repeats heads, saves rooms and lets go
//! of those that nobody uses.

use super::Shard;
use crate::{
    bus::Head,
    room::RoomId,
    writer::room::{Room, Slot},
};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::Instant;

/// How often it looks through its rooms for idle ones.
const LOOK: Duration = Duration::from_secs(1);

/// How long changes wait for an event when they hold commands up: their room is saved then.
const HURRY: Duration = Duration::from_millis(500);

/// Heads of rooms that changed within this span are repeated.
const RECENT: Duration = Duration::from_secs(10);

/// Bytes of one head in a message, at most.
const HEAD: usize = 128;

/// A room where nobody is leaves the memory after this, if not sooner: a crowd that has gone has
/// left small pieces all over it, and who comes back at once after a broken connection is back by
/// then.
const DESERTED: Duration = Duration::from_secs(10);

/// A room that is in use is saved so long after an event: whatever drops old events, by an
/// operator's bounds, takes no member and no key with them that a snapshot does not know.
const UNSAVED: Duration = Duration::from_secs(600);

/// How often the bus is told to forget, unless there is much to forget.
const FORGET: Duration = Duration::from_secs(5);

/// How long the bus is trusted to have forgotten.
const DOUBT: Duration = Duration::from_secs(60);

impl Shard {
    pub(super) fn on_tick(&mut self, now: Instant) {
        self.checkpoint(now);
        self.forget(now);
        if now.duration_since(self.told_at) >= self.parts.config.heads() {
            self.told_at = now;
            self.tell_heads(now);
        }
        // Commands wait because changes hold the floor back.
        let pressed = !self.pending.is_empty();
        if pressed || now.duration_since(self.looked_at) >= LOOK {
            self.looked_at = now;
            self.measure();
            self.let_go(now);
            self.save_and_passivate(
                now,
                if pressed {
                    HURRY
                } else {
                    self.parts.config.carry()
                },
            );
        }
    }

    /// Shows how far the shard is.
    fn measure(&self) {
        let (unsettled, oldest) = self.floor.unsettled();
        let oldest = oldest.or(self.pending.front().map(|delivery| delivery.at));
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.unwrap_or_default().as_millis() as u64;
        let lag = oldest.map_or(0, |oldest| now.saturating_sub(oldest.0));
        let waiting = unsettled + self.pending.len();
        self.meter.set(self.rooms.len(), waiting, lag);
    }

    /// Stores the floor when it is time, or when the reader waits for it.
    pub(super) fn checkpoint(&mut self, now: Instant) {
        let reached = self.floor.reached();
        let every = self.parts.config.checkpoint();
        let is_time = |since: Instant| now.duration_since(since) >= every;
        let has_moved = reached != self.floor.stored() && is_time(self.stored_at);
        let lost = self.parts.bus.health().borrow().records_lost;
        let is_due = has_moved || is_time(self.listed_at) || lost != self.records_lost;
        if self.lease.is_none() || !(is_due || self.floor.is_pressing()) {
            return;
        }
        self.listed_at = now;
        let unfinished = self.unfinished();
        let has_news = reached != self.floor.stored() || unfinished != self.noted;
        let Some(mut lease) = self
            .lease
            .take_if(|_| has_news || lost != self.records_lost)
        else {
            return;
        };
        // With the floor, in one record: nothing else leads a successor to these rooms once their
        // commands are below it.
        lease.note_unfinished(unfinished);
        self.stored_at = now;
        self.records_lost = lost;
        self.work.checkpoint(lease, reached);
    }

    /// Lets the bus forget what the stored floor has passed, whether or not anything follows:
    /// commands that stay would fill it for all shards.
    pub(super) fn forget(&mut self, now: Instant) {
        let Some(before) = self.forgotten_at else {
            return;
        };
        if now.duration_since(before) >= DOUBT {
            self.floor.doubt();
        }
        let Some(forgettable) = self.floor.forgettable() else {
            return;
        };
        if forgettable.is_much() || now.duration_since(before) >= FORGET {
            self.forgotten_at = None;
            self.work
                .forget(self.parts.clone(), self.claim.shard(), forgettable);
        }
    }

    fn tell_heads(&mut self, now: Instant) {
        let epoch = self.claim.epoch();
        let mut heads: Vec<Head> = self
            .rooms
            .iter()
            .filter_map(|(name, slot)| match slot {
                Slot::Open(room) => Some(Head {
                    room: name.clone(),
                    epoch,
                    seq: room.recent_head(now, RECENT)?,
                }),
                Slot::Opening(_) => None,
            })
            .collect();
        if !heads.is_empty() {
            heads.sort_unstable_by(|one, other| one.room.cmp(&other.room)); // so that a simulation repeats exactly
            for heads in heads.chunks((self.fits / HEAD).max(1)) {
                let shard = self.claim.shard();
                self.work
                    .tell_heads(self.parts.clone(), shard, heads.into());
            }
        }
    }

    /// Saves rooms whose changes have waited for an event for longer than `carry`; lets go of rooms
    /// that nobody uses, and of the longest unused ones beyond the cap.
    fn save_and_passivate(&mut self, now: Instant, carry: Duration) {
        let config = &self.parts.config;
        // With little memory half of them go at each look, those that are used last.
        let most = match self.parts.pressure.is_tight() {
            true => config.max_rooms_per_shard.min(self.rooms.len() / 2),
            false => config.max_rooms_per_shard,
        };
        let excess = self.rooms.len().saturating_sub(most);
        let idle_after = |room: &Room| match room.is_deserted() {
            true => config.idle().min(DESERTED),
            false => config.idle(),
        };
        let mut unused: Vec<(Instant, RoomId)> = Vec::new();
        let (mut save, mut gone) = (Vec::new(), Vec::new());
        for (name, slot) in &self.rooms {
            let Slot::Open(room) = slot else { continue };
            if !room.is_quiet() {
                continue;
            }
            let idle = now.duration_since(room.used()) >= idle_after(room);
            let unsaved = (idle && room.is_unsaved()) || room.is_unsaved_since(now, UNSAVED);
            let owes = room.owes() && room.is_unsaved();
            // What is tried again later is not left to the sweep, which comes by in hours.
            let idle = idle && !room.has_orders();
            let waits = room.is_holding_back() || room.lets_go() || owes || room.has_let_names_go();
            let carries = room.carries_since(now, carry);
            if waits || carries || unsaved {
                let beside = !waits && !unsaved && room.saves_beside();
                save.push((name.clone(), beside && self.parts.may_save_beside()));
            } else if room.is_letting_go() {
                // Soon.
            } else if idle || room.is_empty() {
                // Empty: anybody can ask for rooms that do not exist.
                gone.push(name.clone());
            } else if excess > 0 {
                unused.push((room.used(), name.clone()));
            }
        }
        let names = self.parts.names();
        save.sort_unstable(); // so that a simulation repeats exactly
        for (name, beside) in save {
            let Some(Slot::Open(room)) = self.rooms.get_mut(&name) else {
                continue;
            };
            let (parts, claim) = (self.parts.clone(), self.claim);
            if beside {
                let (carried, tickets) = room.save_beside();
                self.work.save_beside(parts, claim, name, carried, tickets);
            } else {
                let (state, tickets) = room.save(names);
                self.work.save(parts, claim, name, state, tickets);
            }
        }
        unused.sort();
        let excess = excess.saturating_sub(gone.len());
        gone.extend(unused.into_iter().take(excess).map(|(_, name)| name));
        gone.iter().for_each(|name| self.passivate(name));
    }

    fn passivate(&mut self, name: &RoomId) {
        let Some(Slot::Open(room)) = self.rooms.get(name) else {
            return;
        };
        if self.asked.contains_key(name) {
            return;
        }
        // Beyond the cap also a room whose last events no snapshot holds yet: opening replays them.
        if room.carries_since(Instant::now(), Duration::ZERO) {
            return;
        }
        tracing::debug!(shard = %self.claim.shard(), room = %name, "room passivated");
        self.rooms.remove(name);
        self.inherited.remove(name);
        self.parts.journal.close(name);
    }
}
