//! How a shard lets the past of its rooms go: of those that are open step by step, and now and then
//! it looks through all others.

use super::{End, Shard};
use crate::{
    bus::ShardRecord,
    journal, metric,
    room::RoomId,
    writer::{
        past::Step,
        retire::Gone,
        room::{Room, Slot, Waiting},
    },
};
use std::{
    collections::{BTreeSet, VecDeque},
    ops::ControlFlow,
    time::Duration,
};
use tokio::time::Instant;

/// Between two looks at a room that nobody has open there are so many at one that is open: with the
/// defaults, 6 hours.
const REST: u32 = 360;
/// The first look at those comes after so many: a shard that has just come has other things to do.
const FIRST: u32 = 5;
/// Names that are listed at a time, and rooms that are looked at in a second.
const NAMES: usize = 1000;
const ROOMS: usize = 2;

/// The way through the rooms that nobody has open.
pub(super) struct Sweep {
    names: VecDeque<RoomId>,
    /// The room after which it goes on; `None`: it begins.
    after: Option<RoomId>,
    /// When it begins.
    at: Instant,
    is_busy: bool,
}

impl Sweep {
    pub(super) fn new(now: Instant, every: Duration) -> Self {
        Self {
            names: VecDeque::new(),
            after: None,
            at: now + every * FIRST,
            is_busy: false,
        }
    }
}

impl Shard {
    /// Opens the rooms that the owner before was removing something from.
    pub(super) fn take_up(&mut self, rooms: &[RoomId]) {
        for room in rooms {
            self.inherited.insert(room.clone());
            self.slot(room);
        }
    }

    /// The rooms that a successor is to take up at once, in order: first those of which an operator
    /// wants something gone, then those that are letting go by themselves.
    pub(super) fn unfinished(&mut self) -> Vec<RoomId> {
        let rooms = &self.rooms;
        self.inherited.retain(|room| match rooms.get(room) {
            Some(Slot::Open(room)) => room.is_letting_go(),
            Some(Slot::Opening(_)) | None => true,
        });
        let own = rooms.iter().filter_map(|(name, slot)| match slot {
            Slot::Open(room) if room.is_unfinished() => Some((!room.has_orders(), name)),
            Slot::Open(_) | Slot::Opening(_) => None,
        });
        let inherited = self.inherited.iter().map(|name| (false, name));
        let all: BTreeSet<_> = own.chain(inherited).collect();
        let mut named = BTreeSet::new();
        all.into_iter()
            .filter(|(_, name)| named.insert(*name))
            .map(|(_, name)| name.clone())
            .take(ShardRecord::UNFINISHED)
            .collect()
    }

    /// Goes on with what every open room lets go, and with the sweep. Nothing of it is stored
    /// before every node reads that.
    pub(super) fn let_go(&mut self, now: Instant) {
        if !self.parts.may_trim() {
            return;
        }
        let (default, every) = (self.parts.config.retention(), self.parts.config.trim());
        let times = (now, self.parts.now());
        let mut steps = Vec::new();
        for (name, slot) in &mut self.rooms {
            if let Slot::Open(room) = slot
                && let Some(step) = room.step_of_past(&default, times, every)
            {
                let of = (room.kept(), room.policy(), room.stale_records());
                steps.push((name.clone(), of, room.head(), step));
            }
        }
        // So that a simulation repeats exactly.
        steps.sort_unstable_by(|(one, ..), (other, ..)| one.cmp(other));
        for (name, of, head, step) in steps {
            let (parts, claim) = (self.parts.clone(), self.claim);
            match step {
                Step::See(excess) => self.work.find_start(parts, name, of.0, head, excess),
                Step::Remove => self.work.trim(parts, claim, name, of),
                Step::Copy(pass) => self.work.copy(parts, claim, name, pass),
                Step::RemoveCopied(pass) => self.work.remove_copied(parts, claim, name, pass),
            }
        }
        self.sweep(now, every);
    }

    fn sweep(&mut self, now: Instant, every: Duration) {
        let sweep = &mut self.sweep;
        if sweep.is_busy || now < sweep.at {
            return;
        }
        sweep.is_busy = true;
        if sweep.names.is_empty() {
            sweep.at = now + every * REST;
            let after = sweep.after.clone();
            let shard = self.claim.shard();
            self.work.list(self.parts.clone(), shard, after, NAMES);
            return;
        }
        let next: Vec<RoomId> = sweep
            .names
            .drain(..ROOMS.min(sweep.names.len()))
            .filter(|room| !self.rooms.contains_key(room))
            .collect();
        self.work.look_at(self.parts.clone(), next);
    }

    /// The names of rooms of the shard were listed, or could not be.
    pub(super) fn on_listed(&mut self, names: Vec<RoomId>, now: Instant) {
        let sweep = &mut self.sweep;
        sweep.is_busy = false;
        sweep.after = names.last().filter(|_| names.len() == NAMES).cloned();
        if !names.is_empty() {
            sweep.at = now;
        }
        sweep.names = names.into();
    }

    /// Rooms that nobody has open have too much: they are opened, and go the way of all. Others are
    /// gone: they are removed.
    pub(super) fn on_looked_at(
        &mut self,
        (rooms, gone): (Vec<RoomId>, Vec<Gone>),
        now: Instant,
        every: Duration,
    ) {
        for room in rooms {
            if self.rooms.len() < self.parts.config.max_rooms_per_shard {
                self.slot(&room);
            }
        }
        for gone in gone {
            self.retire(gone);
        }
        let sweep = &mut self.sweep;
        sweep.is_busy = false;
        if sweep.names.is_empty() && sweep.after.is_none() {
            sweep.at = now + every * REST;
        }
    }

    /// A step of an erasure is done.
    pub(super) fn with_erasing(&mut self, name: &RoomId, then: impl FnOnce(&mut Room) -> usize) {
        self.with_open(name, |room| {
            let ended = then(room) as u64;
            metric::REMOVALS.of("erasure_done").increment(ended);
        });
    }

    /// Removes a room that nobody has open. Its commands wait meanwhile. Not while a successor
    /// would read one of it again, which was decided in the room that goes; nor before all is read
    /// that waits: the sweep comes again.
    fn retire(&mut self, gone: Gone) {
        let name = &gone.room;
        let is_settled = self.pending.is_empty() && !self.floor.reads_again(name);
        if is_settled && !self.rooms.contains_key(name) {
            let waiting = Slot::Opening(Waiting::default());
            self.rooms.insert(name.clone(), waiting);
            self.work.retire(self.parts.clone(), self.claim, gone);
        }
    }

    /// A room was removed, or not: whoever waits for it opens it as it is now.
    pub(super) fn on_retired(
        &mut self,
        name: RoomId,
        result: Result<bool, journal::Error>,
    ) -> ControlFlow<End> {
        match result {
            Ok(true) => {
                metric::ROOMS_REMOVED.increment(1);
                let shard = self.claim.shard();
                tracing::debug!(%shard, room = %name, "room removed: it was gone");
            }
            Ok(false) => {}
            Err(journal::Error::Fenced { seen }) => return ControlFlow::Break(End::Fenced(seen)),
            Err(error) => {
                tracing::debug!(room = %name, %error, "the room that is gone is removed later");
            }
        }
        if let Some(Slot::Opening(waiting)) = self.rooms.remove(&name)
            && !waiting.is_empty()
        {
            self.work.open(self.parts.clone(), self.claim, name.clone());
            self.rooms.insert(name, Slot::Opening(waiting));
        }
        ControlFlow::Continue(())
    }

    /// A step of an open room is done.
    pub(super) fn with_open(&mut self, name: &RoomId, then: impl FnOnce(&mut Room)) {
        if let Some(Slot::Open(room)) = self.rooms.get_mut(name) {
            then(room);
        }
    }
}
