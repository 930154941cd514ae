//! What went of a room because an operator said so: what nobody may be shown any more, and which
//! losses it explains. Whatever it does not explain is a broken promise.

use super::{Event, History, Step, Violation};
use std::collections::{BTreeMap, BTreeSet};

/// Something that an operator has done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removal {
    /// The room keeps so many of its last events.
    Keep(u64),
    /// Everything is forgotten.
    Purge,
    /// What this user said goes.
    Erase(String),
}

/// What an operator wanted of a room, and was told to be done. By default nothing: all stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Removed {
    /// How many of its last events it was to keep, each time that it was said.
    pub keeps: BTreeSet<u64>,
    /// How often it was to be purged, at most: what is not answered is said again.
    pub purges: usize,
    /// The same of erasures, by user.
    pub erasures: BTreeMap<String, usize>,
    /// What was confirmed, and at which place.
    pub confirmed: Vec<(Removal, u64)>,
}

impl Removed {
    /// An operator is about to say it, for the first time or again.
    pub fn ordered(&mut self, removal: &Removal) {
        match removal {
            Removal::Keep(events) => drop(self.keeps.insert(*events)),
            Removal::Purge => self.purges += 1,
            Removal::Erase(user) => *self.erasures.entry(user.clone()).or_default() += 1,
        }
    }

    /// He was told that it is done, by the event at this place.
    pub fn confirmed(&mut self, removal: Removal, seq: u64) {
        self.confirmed.push((removal, seq));
    }
}

/// Where the events are that say what went.
pub(super) struct Gone<'a> {
    purges: BTreeSet<u64>,
    erasures: BTreeMap<&'a str, BTreeSet<u64>>,
    keeps: Option<u64>,
    head: u64,
    /// The last place at which there may be a purge that nobody saw.
    unseen: Option<u64>,
    /// The last place at which somebody went on who had to forget: what is before it he was not
    /// shown, whether or not it stays.
    went_on: u64,
}

/// The last place at which nobody saw what is there, if it may be a purge: more were ordered than
/// are known, and everybody was away.
fn unseen_purge(
    history: &History,
    room: &BTreeMap<u64, &Event>,
    known: &BTreeSet<u64>,
) -> Option<u64> {
    if history.removed.purges <= known.len() {
        return None;
    }
    let welcomes = history.clients.values().flatten();
    let ends = welcomes.filter_map(|step| match step {
        Step::Welcomed { seq, .. } => Some(*seq),
        _ => None,
    });
    let head = ends.chain(room.keys().next_back().copied()).max()?;
    (1..=head).rev().find(|place| !room.contains_key(place))
}

impl<'a> Gone<'a> {
    pub(super) fn of(history: &'a History, room: &BTreeMap<u64, &'a Event>) -> Self {
        let mut gone = Self {
            purges: BTreeSet::new(),
            erasures: BTreeMap::new(),
            keeps: history.removed.keeps.first().copied(),
            head: room.keys().next_back().copied().unwrap_or(0),
            unseen: None,
            went_on: 0,
        };
        for event in room.values() {
            match event.kind.as_str() {
                "purged" => drop(gone.purges.insert(event.seq)),
                "erased" => gone.erases(&event.from, event.seq),
                _ => {}
            }
        }
        for (removal, seq) in &history.removed.confirmed {
            match removal {
                Removal::Keep(_) => {}
                Removal::Purge => drop(gone.purges.insert(*seq)),
                Removal::Erase(user) => gone.erases(user, *seq),
            }
        }
        gone.unseen = unseen_purge(history, room, &gone.purges);
        let resets = history.clients.values().flatten();
        let resets = resets.filter_map(|step| match step {
            Step::Reset { seq } => Some(*seq),
            _ => None,
        });
        gone.went_on = resets.max().unwrap_or_default();
        gone
    }

    fn erases(&mut self, user: &'a str, seq: u64) {
        self.erasures.entry(user).or_default().insert(seq);
    }

    /// Whether whoever expects this place next has to be told that it is gone, or may have to.
    fn explains(&self, next: u64) -> bool {
        let is_purged = self.last_purge().is_some_and(|last| last > next);
        is_purged || self.keeps.is_some_and(|keeps| next + keeps <= self.head)
    }

    /// The last place before which everything may be gone by a purge.
    pub(super) fn last_purge(&self) -> Option<u64> {
        self.purges.last().copied().max(self.unseen)
    }

    /// Whether nobody needs to have seen what is at this place.
    pub(super) fn may_be_unseen(&self, seq: u64) -> bool {
        self.explains(seq) || seq < self.went_on
    }

    /// The place of the event by which this one is gone, or its content, for whoever knows the
    /// room up to `knows`.
    fn hides(&self, event: &Event, knows: u64) -> Option<u64> {
        let later = |places: &BTreeSet<u64>| {
            let mut later = places.range(event.seq + 1..);
            later.next().copied().filter(|place| *place <= knows)
        };
        let has_content =
            event.text.as_deref().is_some_and(|text| !text.is_empty()) || event.sealed.is_some();
        let erasures = self.erasures.get(event.from.as_str());
        let erasures = erasures.filter(|_| has_content && !event.erased);
        later(&self.purges).or_else(|| erasures.and_then(later))
    }

    /// Whether the content of an event was to go.
    fn erases_content_of(&self, event: &Event) -> bool {
        let erasures = self.erasures.get(event.from.as_str());
        erasures.is_some_and(|places| places.range(event.seq + 1..).next().is_some())
    }
}

/// Nobody is shown what is gone as far as his gateway knows the room: to its end when it welcomed
/// him, to what was confirmed before he began to connect, and then to the last event.
pub(super) fn shown(
    client: &str,
    steps: &[Step],
    gone: &Gone<'_>,
    violations: &mut Vec<Violation>,
) {
    let mut knows = 0;
    for step in steps {
        match step {
            Step::Connected { .. } => knows = 0,
            Step::Welcomed { seq, .. } | Step::Told { seq } => knows = knows.max(*seq),
            Step::Saw(event) => {
                if let Some(by) = gone.hides(event, knows) {
                    violations.push(Violation::Shown {
                        client: client.to_owned(),
                        seq: event.seq,
                        by,
                    });
                }
                knows = knows.max(event.seq);
            }
            _ => {}
        }
    }
}

/// Nobody has to forget, unless what comes next for him is gone.
pub(super) fn continuous(
    client: &str,
    steps: &[Step],
    gone: &Gone<'_>,
    violations: &mut Vec<Violation>,
) {
    let (mut promised, mut next) = (None, 1);
    for step in steps {
        let told = match step {
            Step::Connected { after } => {
                next = after + 1;
                None
            }
            Step::Welcomed { seq, recovered, .. } => {
                // The `reset` that follows would be the same complaint again.
                promised = Some(*recovered);
                (!recovered).then_some(seq + 1)
            }
            Step::Reset { seq } => {
                let is_new = promised != Some(false);
                let wants = std::mem::replace(&mut next, *seq);
                (is_new && !gone.explains(wants)).then_some(*seq)
            }
            Step::Saw(event) => {
                next = event.seq + 1;
                None
            }
            _ => None,
        };
        let is_explained = matches!(step, Step::Welcomed { .. }) && gone.explains(next);
        violations.extend(told.filter(|_| !is_explained).map(|seq| Violation::Reset {
            client: client.to_owned(),
            seq,
        }));
    }
}

/// What says that something went was wanted by an operator, and what he was told is there.
pub(super) fn ordered(
    history: &History,
    room: &BTreeMap<u64, &Event>,
    violations: &mut Vec<Violation>,
) {
    let removed = &history.removed;
    let (mut purges, mut erasures) = (0, BTreeMap::<&str, usize>::new());
    for event in room.values() {
        let (count, wanted) = match event.kind.as_str() {
            "purged" => (&mut purges, removed.purges),
            "erased" => {
                let wanted = removed.erasures.get(&event.from).copied();
                let count = erasures.entry(&event.from).or_default();
                (count, wanted.unwrap_or_default())
            }
            _ => continue,
        };
        *count += 1;
        if *count > wanted {
            violations.push(Violation::NotOrdered {
                event: (*event).clone(),
            });
        }
    }
    for (removal, seq) in &removed.confirmed {
        let Some(event) = room.get(seq) else { continue };
        let says_so = match removal {
            Removal::Keep(_) => true,
            Removal::Purge => event.kind == "purged",
            Removal::Erase(user) => event.kind == "erased" && event.from == *user,
        };
        if !says_so {
            violations.push(Violation::NotDone {
                removal: removal.clone(),
                event: (*event).clone(),
            });
        }
    }
}

/// What is without its content was to be erased. As long as not everybody has seen everything, what
/// says so may be still to come.
pub(super) fn erased(gone: &Gone<'_>, room: &BTreeMap<u64, &Event>) -> Vec<Violation> {
    let without = room.values().filter(|event| event.erased);
    let wrong = without.filter(|event| !gone.erases_content_of(event));
    let told = wrong.map(|event| Violation::Emptied {
        event: (*event).clone(),
    });
    told.collect()
}
