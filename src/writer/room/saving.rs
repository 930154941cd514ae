//! When a room is saved, and what goes with it: what newcomers of a sealed room need is handed over
//! before the snapshot that has their commit.

use super::{Room, names::Bounds};
use crate::{
    journal::{Limits, codec::size_of_changes},
    room::{Admitted, Carried, Policy, Reason, Reentry, Rejection, Seq, State},
    writer::floor::Ticket,
};
use tokio::time::Instant;

/// So many records of a snapshot (members, sessions, keys of everybody who ever came, messages of
/// the dedupe window ...) cost about as much as it does to replay an event instead.
const RECORDS_PER_EVENT: u64 = 8;

/// What changes cost that are saved alone: as much as so many records of a snapshot.
const RECORDS_PER_CHANGE: usize = 16;

/// Bytes of changes that are saved alone, at most. The next event takes them along, in one message.
const BESIDE: usize = 16 * 1024;

/// When a group may be asked for again that is just being changed, in milliseconds.
const CHANGING_RETRY_MS: u64 = 500;

impl Room {
    /// After so many events; with each commit of a group, for replaying one costs milliseconds, and
    /// whoever it added waits for what is handed over before; and once the room has a policy, which
    /// must not be lost with its first event; and while what was purged or erased is being removed;
    /// and without the keys that are in records by now.
    pub(super) fn is_snapshot_due(&self) -> bool {
        let group = self.state.group.as_ref();
        self.state.head.0 - self.saved.0 >= self.snapshot_every()
            || group.is_some_and(|group| group.made_at() > self.saved)
            || (self.state.policy != Policy::Open && self.saved == Seq::ZERO)
            || (self.has_to_forget() && self.lets_go())
            || self.names.is_unsaved()
    }

    /// Whether it costs much less to save what the next event is to take along alone than all of the
    /// room.
    pub(in crate::writer) fn saves_beside(&self) -> bool {
        let changes = &self.state.unjournaled;
        self.has_own_snapshot
            && changes.len() * RECORDS_PER_CHANGE <= self.state.records()
            && size_of_changes(changes) <= BESIDE
    }

    /// What the next event is to take along, and the commands that are settled by saving it. Of a
    /// quiet room, as [`Room::save`].
    pub(in crate::writer) fn save_beside(&mut self) -> (Carried, Vec<Ticket>) {
        assert!(
            self.is_quiet(),
            "what is saved belongs to a journaled event"
        );
        self.saving = true;
        self.carrying_since = None;
        (self.state.carried(), std::mem::take(&mut self.carrying))
    }

    /// It was saved, or is not with these commands: then all of the room is, later.
    pub(in crate::writer) fn saved_beside(&mut self, unsaved: Vec<Ticket>, now: Instant) {
        self.saving = false;
        self.has_own_snapshot &= unsaved.is_empty();
        self.carry(unsaved, now);
    }

    /// Whether an operator had something purged, or erased that is there still.
    fn has_to_forget(&self) -> bool {
        self.state.kept.purge.is_some() || !self.state.erasures.pending.is_empty()
    }

    /// What newcomers are owed goes with it, and comes back if it is not kept.
    pub(super) fn snapshot(&mut self, names: Bounds) -> Box<State> {
        self.prepare_names(names);
        let state = Box::new(self.state.clone());
        self.state.take_owed();
        state
    }

    /// What newcomers need and nobody keeps yet.
    pub(in crate::writer) fn owe(&mut self, owed: Vec<Admitted>) {
        self.state.owe(owed);
    }

    /// Whether newcomers wait for what a snapshot hands over.
    pub(in crate::writer) fn owes(&self) -> bool {
        self.state.owes()
    }

    /// Events between two snapshots: more in a room with large snapshots, so that they never cost
    /// more than the events do.
    fn snapshot_every(&self) -> u64 {
        Limits::SNAPSHOT_EVERY.max(self.state.records() as u64 / RECORDS_PER_EVENT)
    }

    /// With what a device comes back into the group, if there is one. A commit that is not
    /// published yet may still be lost.
    pub(super) fn group(&self) -> Result<Option<Reentry>, Rejection> {
        let Some(group) = &self.state.group else {
            return Ok(None);
        };
        if group.made_at() > self.head {
            let message = "the group is just being changed: ask again";
            return Err(Rejection::retry(
                Reason::Unavailable,
                message,
                CHANGING_RETRY_MS,
            ));
        }
        let lost = || Rejection::new(Reason::NotFound, "the group cannot be followed any more");
        group.reentry().map(Some).ok_or_else(lost)
    }
}

/// A founding under the name of another room.
pub(super) fn of_another_room() -> Rejection {
    Rejection::new(Reason::BadBundle, "the group is of another room")
}
