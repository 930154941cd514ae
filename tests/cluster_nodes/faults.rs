//! What goes wrong on the hub: nothing, or delays, refusals and lost answers by a seed; and silence
//! of frozen nodes.

use rand::{Rng, RngExt, SeedableRng, rngs::StdRng};
use safe_chat::bus::memory::{ConnectionId, Delivered, Fate, Faults, Op, Outcome, Passage};
use std::{collections::BTreeSet, sync::Mutex, time::Duration};

pub(crate) struct Chances {
    random: Option<Mutex<StdRng>>,
    spared: Mutex<BTreeSet<ConnectionId>>,
    silent: Mutex<BTreeSet<ConnectionId>>,
}

impl Chances {
    pub(crate) fn none() -> Self {
        Self {
            random: None,
            spared: Mutex::default(),
            silent: Mutex::default(),
        }
    }

    pub(crate) fn of(seed: u64) -> Self {
        Self {
            random: Some(Mutex::new(StdRng::seed_from_u64(seed))),
            ..Self::none()
        }
    }

    /// Nothing happens to a connection.
    pub(crate) fn spare(&self, connection: ConnectionId) {
        self.spared.lock().unwrap().insert(connection);
    }

    /// Nobody answers probes behind a connection.
    pub(crate) fn silence(&self, connection: ConnectionId, silent: bool) {
        let mut connections = self.silent.lock().unwrap();
        if silent {
            connections.insert(connection)
        } else {
            connections.remove(&connection)
        };
    }
}

fn delay(random: &mut impl Rng) -> Duration {
    Duration::from_millis(random.random_range(0..25))
}

impl Faults for Chances {
    fn call(&self, by: ConnectionId, _op: Op) -> Fate {
        let Some(random) = self
            .random
            .as_ref()
            .filter(|_| !self.spared.lock().unwrap().contains(&by))
        else {
            return Fate::default();
        };
        let random = &mut *random.lock().unwrap();
        let outcome = match random.random_range(0..100) {
            0..4 => Outcome::Unanswered,
            4..6 => Outcome::Refused,
            6..8 => Outcome::Vanished,
            _ => Outcome::Done,
        };
        Fate {
            before: delay(random),
            outcome,
            after: delay(random),
        }
    }

    fn delivery(&self, to: ConnectionId, what: Delivered) -> Passage {
        let delay = match &self.random {
            Some(random) if !self.spared.lock().unwrap().contains(&to) => {
                delay(&mut *random.lock().unwrap())
            }
            _ => Duration::ZERO,
        };
        let lost = what == Delivered::Probe && self.silent.lock().unwrap().contains(&to);
        Passage {
            delay,
            copies: usize::from(!lost),
        }
    }
}
