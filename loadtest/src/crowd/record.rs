//! What an operator has removed while clients talk.

use super::{Plan, notes::Notes};
use crate::history::{Event, Removal, Step};
use std::{
    ops::RangeInclusive,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::time::Instant;

/// A room may keep so much more than it is to, as a part of that.
const SLACK: u64 = 16;

/// Where it is written down. Clones are the same one.
#[derive(Clone)]
pub struct Record {
    rooms: Vec<String>,
    clients: usize,
    notes: Arc<Mutex<Notes>>,
}

impl Record {
    pub(super) fn new(plan: &Plan, notes: &Arc<Mutex<Notes>>) -> Self {
        Self {
            rooms: plan.rooms.clone(),
            clients: plan.clients,
            notes: notes.clone(),
        }
    }

    /// The rooms, by their names.
    pub fn rooms(&self) -> &[String] {
        &self.rooms
    }

    /// One of those who talk in a room.
    pub fn user(&self, room: usize, nth: usize) -> String {
        let rooms = self.rooms.len();
        let here = (self.clients.saturating_sub(room)).div_ceil(rooms).max(1);
        super::user(room + nth % here * rooms)
    }

    /// An operator is about to want it, for the first time or again.
    pub fn ordered(&self, room: usize, removal: &Removal) {
        self.look(|notes| notes.rooms[room].history.removed.ordered(removal));
    }

    /// He was told that it is done, by the event at this place.
    pub fn confirmed(&self, room: usize, removal: Removal, seq: u64) {
        self.look(|notes| {
            notes.unseen.push(room);
            let room = &mut notes.rooms[room];
            room.confirmed.push((Instant::now(), seq));
            room.history.removed.confirmed(removal, seq);
        });
    }

    /// At which places a room may begin once everything is removed that is to be removed.
    pub fn starts(&self, room: usize) -> RangeInclusive<u64> {
        self.look(|notes| {
            let room = &notes.rooms[room];
            let removed = &room.history.removed;
            let steps = room.history.clients.values().flatten();
            let seen = steps.filter_map(|step| match step {
                Step::Saw(Event { kind, seq, .. }) if kind == "purged" => Some(*seq),
                _ => None,
            });
            let confirmed = removed.confirmed.iter();
            let confirmed = confirmed.filter_map(|(removal, seq)| match removal {
                Removal::Purge => Some(*seq),
                _ => None,
            });
            let known = seen.chain(confirmed).max().unwrap_or(1);
            let last = room.history.last_purge().unwrap_or(1);
            let beyond = |most: u64| (room.head + 1).saturating_sub(most);
            let (fewest, most) = (removed.keeps.first(), removed.keeps.last());
            let gone = most.map_or(1, |most| beyond(most + most / SLACK));
            let kept = fewest.map_or(1, |fewest| beyond(*fewest));
            gone.max(known)..=kept.max(last)
        })
    }

    fn look<T>(&self, at: impl FnOnce(&mut Notes) -> T) -> T {
        at(&mut self.notes.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
