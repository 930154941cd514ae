//! What clients of a soak sent and saw, checked as it happens: a run of hours keeps no history.
//!
//! Checked: no gap, repeat or step back; everybody sees the same at the same place; what is
//! journaled is seen where it was journaled; no reset, as nothing is ever cut; everything is
//! answered in the end. `loadtest::history` checks more, of shorter runs.

use hdrhistogram::Histogram;
use loadtest::history::{Event, Step};
use std::{
    collections::{BTreeMap, HashMap, btree_map::Entry},
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::time::Instant;

/// Places of a room that are remembered; a client that is further behind is not compared.
const PLACES: usize = 20_000;
/// Violations that are kept; a broken room breaks a promise with every event.
const VIOLATIONS: usize = 200;

/// Shared by all clients. Clones are the same ledger.
#[derive(Clone, Default)]
pub(super) struct Ledger(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    counts: Counts,
    latency: Option<Histogram<u64>>,
    violations: Vec<String>,
    rooms: HashMap<String, Room>,
}

/// What stands at the last places of a room, and where its last messages are.
#[derive(Default)]
struct Room {
    places: BTreeMap<u64, Place>,
    ids: HashMap<u64, u64>,
}

/// An event and, for a message, its sender and id; as hashes.
struct Place {
    event: u64,
    id: Option<u64>,
}

fn hash(what: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}

/// How often what happened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::soak) struct Counts {
    pub(in crate::soak) sent: u64,
    pub(in crate::soak) journaled: u64,
    pub(in crate::soak) rejected: u64,
    pub(in crate::soak) connects: u64,
    pub(in crate::soak) visits: u64,
    pub(in crate::soak) purges: u64,
}

impl Ledger {
    pub(super) fn count(&self, count: impl FnOnce(&mut Counts)) {
        count(&mut self.inner().counts);
    }

    pub(super) fn counts(&self) -> Counts {
        self.inner().counts
    }

    pub(super) fn violations(&self) -> Vec<String> {
        self.inner().violations.clone()
    }

    pub(super) fn broken(&self, what: String) {
        let violations = &mut self.inner().violations;
        if violations.len() < VIOLATIONS {
            violations.push(what);
        }
    }

    /// Microseconds at which so much of what was journaled was answered.
    pub(super) fn latency(&self, part: f64) -> u64 {
        self.inner()
            .latency
            .as_ref()
            .map_or(0, |latency| latency.value_at_quantile(part))
    }

    /// Nobody is in the room any more.
    pub(super) fn forget(&self, room: &str) {
        self.inner().rooms.remove(room);
    }

    fn journaled(&self, waited: std::time::Duration) {
        let mut inner = self.inner();
        inner.counts.journaled += 1;
        let latency = inner.latency.get_or_insert_with(|| {
            Histogram::new_with_bounds(1, 600_000_000, 3).expect("the bounds are valid")
        });
        latency.saturating_record(waited.as_micros() as u64);
    }

    /// Whether others saw the same there, and nobody this message elsewhere.
    fn saw(&self, room: &str, event: &Event) -> Result<(), String> {
        let mut inner = self.inner();
        let Room { places, ids } = inner.rooms.entry(room.to_owned()).or_default();
        if places.len() >= PLACES
            && places
                .first_key_value()
                .is_some_and(|(first, _)| event.seq < *first)
        {
            return Ok(());
        }
        let id = event.id.as_ref().map(|id| hash(&(&event.from, id)));
        let here = Place {
            event: hash(&(&event.kind, &event.from, &event.id, &event.text)),
            id,
        };
        match places.entry(event.seq) {
            Entry::Occupied(there) if there.get().event != here.event => {
                return Err(format!("saw another event at {} than others", event.seq));
            }
            Entry::Occupied(_) => return Ok(()),
            Entry::Vacant(free) => drop(free.insert(here)),
        }
        if places.len() > PLACES
            && let Some((_, Place { id: Some(id), .. })) = places.pop_first()
        {
            ids.remove(&id);
        }
        match id.and_then(|id| ids.insert(id, event.seq)) {
            Some(first) => Err(format!(
                "{} of {} is at {first} and at {}",
                event.id.as_deref().unwrap_or_default(),
                event.from,
                event.seq
            )),
            None => Ok(()),
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is known of an own message.
struct Own {
    due: Instant,
    journaled: Option<u64>,
    seen: Option<u64>,
}

/// One client, checked. Clones are the same client: one sends, one watches.
#[derive(Clone)]
pub(super) struct Account {
    ledger: Ledger,
    room: String,
    user: String,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    expected: Option<u64>,
    own: HashMap<String, Own>,
}

impl Account {
    pub(super) fn new(ledger: &Ledger, room: &str, user: &str) -> Self {
        Self {
            ledger: ledger.clone(),
            room: room.to_owned(),
            user: user.to_owned(),
            state: Arc::default(),
        }
    }

    /// It sends a message, which was due then.
    pub(super) fn sends(&self, id: &str, due: Instant) {
        self.ledger.count(|counts| counts.sent += 1);
        self.state().own.insert(
            id.to_owned(),
            Own {
                due,
                journaled: None,
                seen: None,
            },
        );
    }

    /// It did not send it after all.
    pub(super) fn takes_back(&self, id: &str) {
        self.ledger.count(|counts| counts.sent -= 1);
        self.state().own.remove(id);
    }

    /// Own messages that are not both answered and seen.
    pub(super) fn open(&self) -> usize {
        self.state().own.len()
    }

    /// Says which messages are still open, as broken promises.
    pub(super) fn settle(&self) {
        for (id, own) in &self.state().own {
            let what = match (own.journaled, own.seen) {
                (None, None) => "was never answered".to_owned(),
                (None, Some(seen)) => format!("is at {seen} and was never answered"),
                (Some(seq), _) => format!("was journaled at {seq} and never seen there"),
            };
            self.broken(&format!("{id} {what}"));
        }
    }

    pub(super) fn step(&self, at: Instant, step: &Step) {
        match step {
            Step::Connected { after } => {
                self.ledger.count(|counts| counts.connects += 1);
                self.state().expected = Some(after + 1);
            }
            Step::Journaled { id, seq } | Step::Repeated { id, seq } => {
                self.journaled(at, id, *seq)
            }
            Step::Rejected { id, .. } => {
                self.ledger.count(|counts| counts.rejected += 1);
                self.state().own.remove(id);
            }
            Step::Reset { seq } => {
                self.broken(&format!(
                    "was told to forget and go on at {seq}, but nothing was cut"
                ));
                self.state().expected = Some(*seq);
            }
            Step::Saw(event) => self.saw(event),
            _ => {}
        }
    }

    fn journaled(&self, at: Instant, id: &str, seq: u64) {
        let mut state = self.state();
        let Some(own) = state.own.get_mut(id) else {
            return;
        };
        let first = *own.journaled.get_or_insert_with(|| {
            self.ledger.journaled(at.saturating_duration_since(own.due));
            seq
        });
        if first != seq {
            self.broken(&format!("{id} was journaled at {first} and at {seq}"));
        }
        self.close(&mut state, id);
    }

    fn saw(&self, event: &Event) {
        let mut state = self.state();
        if let Some(expected) = state
            .expected
            .replace(event.seq + 1)
            .filter(|expected| *expected != event.seq)
        {
            self.broken(&format!("expected {expected} and saw {}", event.seq));
        }
        if let Err(what) = self.ledger.saw(&self.room, event) {
            self.broken(&what);
        }
        let Some(id) = event.id.as_ref().filter(|_| event.from == self.user) else {
            return;
        };
        let Some(own) = state.own.get_mut(id) else {
            return;
        };
        own.seen = Some(event.seq);
        self.close(&mut state, id);
    }

    /// What is answered and seen is over.
    fn close(&self, state: &mut State, id: &str) {
        let Some(Own {
            journaled: Some(journaled),
            seen: Some(seen),
            ..
        }) = state.own.get(id)
        else {
            return;
        };
        if journaled != seen {
            self.broken(&format!(
                "{id} was journaled at {journaled} and is at {seen}"
            ));
        }
        state.own.remove(id);
    }

    fn broken(&self, what: &str) {
        self.ledger
            .broken(format!("{} in {}: {what}", self.user, self.room));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
