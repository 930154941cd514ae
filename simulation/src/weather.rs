//! What happens to each call and each delivery: chance, from the seed, as rough as the run's
//! climate. Which faults a run has at all is drawn too, so that a rare combination is not always
//! drowned by the others (swarm testing, Groce et al., ISSTA 2012).

use crate::random::Random;
use safe_chat::{
    bus::memory::{ConnectionId, Delivered, Fate, Faults, Op, Outcome, Passage},
    journal::memory as journal,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

/// A network within one building.
const NEAR: Duration = Duration::from_millis(3);

/// How often things go wrong in a run, per thousand.
struct Climate {
    refused: u64,
    vanished: u64,
    unanswered: u64,
    late: u64,
    stalls: u64,
    lost: u64,
    repeated: u64,
    /// The longest stall.
    stall: Duration,
}

impl Climate {
    fn of(random: &mut Random) -> Self {
        let mut some = |most: u64| {
            if random.chance(500) {
                random.below(most)
            } else {
                0
            }
        };
        let (refused, vanished, unanswered, late) = (some(40), some(40), some(60), some(60));
        let (stalls, lost, repeated) = (some(20), some(60), some(100));
        let stall = Duration::from_millis(50 + some(4000));
        Self {
            refused,
            vanished,
            unanswered,
            late,
            stalls,
            lost,
            repeated,
            stall,
        }
    }

    fn delay(&self, random: &mut Random) -> Duration {
        let most = if random.chance(self.stalls) {
            self.stall
        } else {
            NEAR
        };
        random.time(most)
    }
}

struct State {
    random: Random,
    rough: bool,
    /// Nothing goes wrong for these: the run's own.
    spared: BTreeSet<ConnectionId>,
    /// Their processes are frozen: nobody answers probes.
    frozen: BTreeSet<ConnectionId>,
    /// Records reach these so much later: they judge others by old news.
    slow_records: BTreeMap<ConnectionId, Duration>,
    /// Nobody reaches the journal.
    journal_away: bool,
    /// These nodes do not reach the journal.
    without_journal: BTreeSet<ConnectionId>,
}

/// The weather of a run.
pub(crate) struct Weather {
    climate: Climate,
    state: Mutex<State>,
}

impl Weather {
    pub(crate) fn of(seed: u64) -> Arc<Self> {
        let mut random = Random::of(seed, "weather");
        let climate = Climate::of(&mut random);
        let state = State {
            random,
            rough: true,
            spared: BTreeSet::new(),
            frozen: BTreeSet::new(),
            slow_records: BTreeMap::new(),
            journal_away: false,
            without_journal: BTreeSet::new(),
        };
        Arc::new(Self {
            climate,
            state: Mutex::new(state),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panics with it")
    }

    pub(crate) fn spare(&self, connection: ConnectionId) {
        self.state().spared.insert(connection);
    }

    /// From now on nothing goes wrong any more.
    pub(crate) fn calm(&self) {
        let mut state = self.state();
        state.rough = false;
        state.journal_away = false;
        state.frozen.clear();
        state.slow_records.clear();
        state.without_journal.clear();
    }

    pub(crate) fn frozen(&self, connection: ConnectionId, frozen: bool) {
        change(&mut self.state().frozen, connection, frozen);
    }

    pub(crate) fn slow_records(&self, connection: ConnectionId, by: Duration) {
        self.state().slow_records.insert(connection, by);
    }

    pub(crate) fn journal_away(&self, away: bool) {
        self.state().journal_away = away;
    }

    pub(crate) fn without_journal(&self, connection: ConnectionId, without: bool) {
        change(&mut self.state().without_journal, connection, without);
    }

    /// The weather between a node and the journal.
    pub(crate) fn of_journal(
        self: &Arc<Self>,
        connection: ConnectionId,
    ) -> Arc<dyn journal::Faults> {
        Arc::new(ToJournal {
            weather: self.clone(),
            connection,
        })
    }
}

fn change(set: &mut BTreeSet<ConnectionId>, connection: ConnectionId, is_in: bool) {
    if is_in {
        set.insert(connection);
    } else {
        set.remove(&connection);
    }
}

impl Faults for Weather {
    fn call(&self, by: ConnectionId, _: Op) -> Fate {
        let state = &mut *self.state();
        if state.spared.contains(&by) {
            return Fate::default();
        }
        let random = &mut state.random;
        if !state.rough {
            return Fate {
                before: random.time(NEAR),
                outcome: Outcome::Done,
                after: random.time(NEAR),
            };
        }
        let outcome = if random.chance(self.climate.refused) {
            Outcome::Refused
        } else if random.chance(self.climate.vanished) {
            Outcome::Vanished
        } else if random.chance(self.climate.unanswered) {
            Outcome::Unanswered
        } else {
            Outcome::Done
        };
        Fate {
            before: self.climate.delay(random),
            outcome,
            after: self.climate.delay(random),
        }
    }

    fn delivery(&self, to: ConnectionId, what: Delivered) -> Passage {
        let state = &mut *self.state();
        if state.spared.contains(&to) {
            return Passage::default();
        }
        let random = &mut state.random;
        if what == Delivered::Probe && state.frozen.contains(&to) {
            return Passage {
                delay: Duration::ZERO,
                copies: 0,
            };
        }
        if !state.rough {
            return Passage {
                delay: random.time(NEAR),
                copies: 1,
            };
        }
        let slow = if what == Delivered::Record {
            state.slow_records.get(&to).copied().unwrap_or_default()
        } else {
            Duration::ZERO
        };
        let copies = if random.chance(self.climate.lost) {
            0
        } else if random.chance(self.climate.repeated) {
            2
        } else {
            1
        };
        Passage {
            delay: slow + self.climate.delay(random),
            copies,
        }
    }
}

struct ToJournal {
    weather: Arc<Weather>,
    connection: ConnectionId,
}

impl journal::Faults for ToJournal {
    fn call(&self, _: journal::Op) -> journal::Fate {
        let climate = &self.weather.climate;
        let state = &mut *self.weather.state();
        let random = &mut state.random;
        if !state.rough {
            return journal::Fate {
                before: random.time(NEAR),
                outcome: journal::Outcome::Done,
                after: random.time(NEAR),
            };
        }
        let away = state.journal_away || state.without_journal.contains(&self.connection);
        let outcome = if away {
            if random.chance(500) {
                journal::Outcome::Refused
            } else {
                journal::Outcome::Vanished
            }
        } else if random.chance(climate.refused) {
            journal::Outcome::Refused
        } else if random.chance(climate.vanished) {
            journal::Outcome::Vanished
        } else if random.chance(climate.unanswered) {
            journal::Outcome::Unanswered
        } else if random.chance(climate.late) {
            journal::Outcome::Late(random.skewed(Duration::from_secs(40)))
        } else {
            journal::Outcome::Done
        };
        journal::Fate {
            before: climate.delay(random),
            outcome,
            after: climate.delay(random),
        }
    }

    fn ready(&self) -> Result<(), String> {
        let state = self.weather.state();
        let away = state.journal_away || state.without_journal.contains(&self.connection);
        if away {
            Err("the journal is away".into())
        } else {
            Ok(())
        }
    }
}
