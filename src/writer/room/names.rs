//! Names of a room whose keys are in records: which are on their way there, and which are read for
//! the commands that wait.

use super::Room;
use crate::{
    bus::Admission,
    room::{Action, Known, Moving, Pin, Seq, UserId},
};
use std::collections::HashMap;

/// Names whose records are read at once.
const READ: usize = 256;

/// Names that move after one snapshot, so that the room of a version that knew no records, with a
/// million keys, does not hold up the others of its shard for them.
const MOVED: usize = 65_536;

/// Records that are written at once; between two such the room can be handed over.
const WRITTEN: usize = 1024;

/// How names of all rooms are kept.
#[derive(Debug, Clone, Copy)]
pub(in crate::writer) struct Bounds {
    /// Pins that a snapshot has although nobody needs them; `None`: nothing may be in a record.
    pub(in crate::writer) in_snapshot: Option<usize>,
    /// Names of a room.
    pub(in crate::writer) most: u64,
}

/// What is under way with names of a room.
#[derive(Default)]
pub(super) struct Names {
    /// They are in the snapshot that is being saved, and move once it is.
    saving: Moving,
    /// They are in the newest snapshot: what moves next, from the end.
    waiting: Moving,
    /// Of which generation all of these are.
    generation: Seq,
    is_writing: bool,
    /// The state has let go of what the newest snapshot still has.
    is_unsaved: bool,
    /// What records say of names that commands bring which wait.
    found: HashMap<UserId, Option<Pin>>,
    is_reading: bool,
    /// How often what was found became void.
    era: u64,
    /// The first command that waits does so for a name, and not until the room is saved.
    is_asked: bool,
}

/// Names whose records are to be read, and by what the answer is known.
pub(in crate::writer) struct Lookup {
    pub(in crate::writer) generation: Seq,
    pub(in crate::writer) names: Vec<UserId>,
    era: u64,
}

impl Names {
    /// Whether nothing of it is under way.
    pub(super) fn is_quiet(&self) -> bool {
        !self.is_writing && !self.is_reading
    }

    /// Whether records are being written: they must not come after those that are removed.
    pub(super) fn is_writing(&self) -> bool {
        self.is_writing
    }

    /// Whether commands wait for what a record says.
    pub(super) fn is_asked(&self) -> bool {
        self.is_asked
    }

    /// Whether a snapshot would be smaller.
    pub(super) fn is_unsaved(&self) -> bool {
        self.is_unsaved && self.waiting.is_empty() && !self.is_writing
    }

    /// What was found counts no more.
    fn forget(&mut self) {
        self.found.clear();
        self.era += 1;
    }

    /// The room was saved, or could not be.
    pub(super) fn saved(&mut self, is_saved: bool) {
        let saving = std::mem::take(&mut self.saving);
        if is_saved && self.is_quiet_writing() {
            self.waiting = saving;
        }
    }

    fn is_quiet_writing(&self) -> bool {
        self.waiting.is_empty() && !self.is_writing
    }
}

impl Room {
    /// A snapshot is about to be taken: it says that there may be records of what moves after it.
    pub(super) fn prepare_names(&mut self, bounds: Bounds) {
        self.names.is_unsaved = false;
        let Some(more_than) = bounds.in_snapshot else {
            return;
        };
        if !self.names.is_quiet_writing() {
            return;
        }
        let moving = self.state.movable(more_than, MOVED);
        if !moving.is_empty() {
            self.state.away.is_used = true;
            self.names.generation = self.state.generation();
        }
        self.names.saving = moving;
    }

    /// What moves into records next, and their generation.
    pub(in crate::writer) fn next_names(&mut self) -> Option<(Seq, Moving)> {
        let (names, generation) = (&mut self.names, self.state.generation());
        if names.is_writing || names.waiting.is_empty() {
            return None;
        }
        if names.generation != generation {
            names.waiting.clear();
            return None;
        }
        let rest = names.waiting.len().saturating_sub(WRITTEN);
        let moving = names.waiting.split_off(rest);
        names.is_writing = true;
        Some((generation, moving))
    }

    /// Nothing more moves: the shard is handed over.
    pub(in crate::writer) fn stop_names(&mut self) {
        self.names.waiting.clear();
    }

    /// These names of a generation are in records, or could not be written: the next snapshot tries
    /// again.
    pub(in crate::writer) fn names_moved(&mut self, of: Seq, moved: &Moving, is_written: bool) {
        self.names.is_writing = false;
        if !is_written {
            self.names.waiting.clear();
        } else if of == self.state.generation() && self.state.let_go(moved) {
            self.names.is_unsaved = true;
            self.names.forget();
        }
    }

    /// Whether a command has to wait for what a record says.
    pub(super) fn lacks_name(&self, action: &Action) -> bool {
        let lacking = self.state.lacks(action);
        lacking.is_some_and(|user| !self.names.found.contains_key(user))
    }

    /// What is known for a command beside the state.
    pub(super) fn known(&self, action: &Action, most_names: u64) -> Known<'_> {
        let lacking = self.state.lacks(action);
        let found = lacking.and_then(|user| self.names.found.get(user));
        Known {
            recorded: found.and_then(Option::as_ref),
            most_names,
        }
    }

    /// The first of those that wait does so for a name.
    pub(super) fn wait_for_name(&mut self) {
        self.names.is_asked = true;
    }

    /// A purge made records void.
    pub(super) fn forget_names(&mut self) {
        self.names.forget();
    }

    /// Names to be read for the commands that wait, unless some are.
    pub(in crate::writer) fn next_lookup(&mut self) -> Option<Lookup> {
        if self.held_back.is_empty() {
            self.names.found.clear();
        }
        if !self.names.is_asked || self.names.is_reading {
            return None;
        }
        let mut names = Vec::new();
        let waiting = self.held_back.iter();
        let lacking = waiting.filter_map(|(it, _)| self.state.lacks(&it.submission.action));
        for user in lacking {
            let is_known = self.names.found.contains_key(user) || names.contains(user);
            if !is_known && names.len() < READ {
                names.push(user.clone());
            }
        }
        self.names.is_reading = true;
        Some(Lookup {
            generation: self.state.generation(),
            names,
            era: self.names.era,
        })
    }

    /// What records say is known: the commands that wait can be decided.
    pub(in crate::writer) fn looked_up(&mut self, lookup: Lookup, pins: Vec<Option<Pin>>) {
        self.names.is_reading = false;
        if lookup.era == self.names.era {
            self.names.found.extend(lookup.names.into_iter().zip(pins));
        }
    }

    /// The commands that wait are decided once more.
    pub(super) fn stop_waiting_for_name(&mut self) {
        self.names.is_asked = false;
    }

    /// Records of these generations are removed.
    pub(super) fn records_removed(&mut self, generations: &[Seq]) {
        let stale = &mut self.state.away.stale;
        let before = stale.len();
        stale.retain(|generation| !generations.contains(generation));
        self.names.is_unsaved |= stale.len() < before;
    }

    /// The name of whose record must be known to say whether somebody would be let in.
    pub(in crate::writer) fn lacks_of(&self, admission: &Admission) -> Option<(Seq, UserId)> {
        let user = &admission.user;
        let is_away = self.state.may_be_away(user);
        is_away.then(|| (self.state.generation(), user.clone()))
    }
}
