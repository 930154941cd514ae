//! What clients of one room sent and saw, and whether that keeps the promises of the client protocol. Pure.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt,
};

/// An event as a client saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its place.
    pub seq: u64,
    /// `joined`, `left`, `text`, ...
    pub kind: String,
    /// Whose.
    pub from: String,
    /// The id of the command, if it is shown.
    pub id: Option<String>,
    /// The text, if there is one.
    pub text: Option<String>,
}

/// Something that a client did or saw, in its own order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// It sent a message, for the first time or again.
    Sent {
        /// The id.
        id: String,
    },
    /// It was told that the message is in the journal.
    Journaled {
        /// The id.
        id: String,
        /// Its place.
        seq: u64,
    },
    /// It was told that the message is refused.
    Rejected {
        /// The id.
        id: String,
        /// Why.
        reason: String,
    },
    /// It connected and expects the event after `after` next.
    Connected {
        /// The last place that it has.
        after: u64,
    },
    /// It was told to forget, and expects the event at `seq` next.
    Reset {
        /// The place.
        seq: u64,
    },
    /// It saw an event.
    Saw(Event),
}

/// All that the clients of one room did and saw.
#[derive(Debug, Default)]
pub struct History {
    /// Steps by client. A client is one user.
    pub clients: BTreeMap<String, Vec<Step>>,
}

/// A broken promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Violation {
    /// A client was shown another place than the next one.
    NotDense {
        /// The client.
        client: String,
        /// What came next.
        expected: u64,
        /// What it saw.
        saw: u64,
    },
    /// Two clients, or one at two times, saw different events at one place.
    Diverged {
        /// The place.
        seq: u64,
        /// One event.
        one: Event,
        /// The other.
        other: Event,
    },
    /// One message is at two places.
    Duplicated {
        /// The user.
        user: String,
        /// The id.
        id: String,
        /// Its places.
        places: (u64, u64),
    },
    /// A message was answered with a place at which it is not.
    Lost {
        /// The user.
        user: String,
        /// The id.
        id: String,
        /// The place of the answer.
        seq: u64,
    },
    /// A message that nobody sent.
    Invented {
        /// The event.
        event: Event,
    },
    /// Two messages of one user, each sent once through one connection, are in another order than they were sent.
    Reordered {
        /// The user.
        user: String,
        /// The one that was sent first.
        first: String,
        /// The one that was sent later and comes before it.
        second: String,
    },
    /// A message was never answered, although everything was given time to settle.
    Unanswered {
        /// The user.
        user: String,
        /// The id.
        id: String,
    },
    /// A client did not see the end of the room.
    Behind {
        /// The client.
        client: String,
        /// The last place that it saw.
        saw: u64,
        /// The last place that anyone saw.
        head: u64,
    },
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotDense { client, expected, saw } => write!(f, "{client} expected seq {expected} and saw {saw}"),
            Self::Diverged { seq, one, other } => {
                write!(f, "seq {seq} is {} {} {:?} and also {} {} {:?}", one.kind, one.from, one.id, other.kind, other.from, other.id)
            }
            Self::Duplicated { user, id, places } => write!(f, "{id} of {user} is at {} and at {}", places.0, places.1),
            Self::Lost { user, id, seq } => write!(f, "{id} of {user} was journaled at {seq}, but is not there"),
            Self::Invented { event } => write!(f, "seq {}: {} never sent {:?}", event.seq, event.from, event.id),
            Self::Reordered { user, first, second } => write!(f, "{user} sent {first} before {second}, which comes first"),
            Self::Unanswered { user, id } => write!(f, "{id} of {user} was never answered"),
            Self::Behind { client, saw, head } => write!(f, "{client} saw the room up to {saw}, it ends at {head}"),
        }
    }
}

impl History {
    /// The promises that are broken whatever happens later (safety).
    pub fn safety(&self) -> Vec<Violation> {
        let mut violations = Vec::new();
        for (client, steps) in &self.clients {
            dense(client, steps, &mut violations);
        }
        let room = self.room(&mut violations);
        self.places(&room, &mut violations);
        for (client, steps) in &self.clients {
            ordered(client, steps, &room, &mut violations);
        }
        violations
    }

    /// The promises that are broken once everything had time to settle (liveness).
    pub fn liveness(&self) -> Vec<Violation> {
        let mut violations = Vec::new();
        let last = |steps: &[Step]| {
            let places = steps.iter().filter_map(|step| if let Step::Saw(event) = step { Some(event.seq) } else { None });
            places.max().unwrap_or(0)
        };
        let head = self.clients.values().map(|steps| last(steps)).max().unwrap_or(0);
        for (client, steps) in &self.clients {
            let saw = last(steps);
            if saw < head {
                violations.push(Violation::Behind { client: client.clone(), saw, head });
            }
            let mut open: HashSet<&String> = HashSet::new();
            for step in steps {
                match step {
                    Step::Sent { id } => {
                        open.insert(id);
                    }
                    Step::Journaled { id, .. } | Step::Rejected { id, .. } => {
                        open.remove(id);
                    }
                    Step::Connected { .. } | Step::Reset { .. } | Step::Saw(_) => {}
                }
            }
            let mut open: Vec<&String> = open.into_iter().collect();
            open.sort();
            violations.extend(open.into_iter().map(|id| Violation::Unanswered { user: client.clone(), id: id.clone() }));
        }
        violations
    }

    /// The room as all clients together saw it.
    fn room<'a>(&'a self, violations: &mut Vec<Violation>) -> BTreeMap<u64, &'a Event> {
        let mut room: BTreeMap<u64, &Event> = BTreeMap::new();
        for step in self.clients.values().flatten() {
            let Step::Saw(event) = step else { continue };
            let first = room.entry(event.seq).or_insert(event);
            if *first != event {
                violations.push(Violation::Diverged { seq: event.seq, one: (*first).clone(), other: event.clone() });
            }
        }
        room
    }

    /// Every message at one place, at the place that was answered, and sent by somebody.
    fn places(&self, room: &BTreeMap<u64, &Event>, violations: &mut Vec<Violation>) {
        let mut places: HashMap<(&str, &str), u64> = HashMap::new();
        for event in room.values() {
            let Some(id) = &event.id else { continue };
            if let Some(other) = places.insert((&event.from, id), event.seq) {
                violations.push(Violation::Duplicated { user: event.from.clone(), id: id.clone(), places: (other, event.seq) });
            }
            if let Some(steps) = self.clients.get(&event.from)
                && !steps.iter().any(|step| matches!(step, Step::Sent { id: sent } if sent == id))
            {
                violations.push(Violation::Invented { event: (*event).clone() });
            }
        }
        let head = room.keys().next_back().copied().unwrap_or(0);
        for (client, steps) in &self.clients {
            for step in steps {
                let Step::Journaled { id, seq } = step else { continue };
                let there = places.get(&(client.as_str(), id.as_str()));
                // Beyond what anyone saw nothing is known of the place; that it is never seen is a matter of liveness.
                if there.is_some_and(|there| there != seq) || (there.is_none() && *seq <= head) {
                    violations.push(Violation::Lost { user: client.clone(), id: id.clone(), seq: *seq });
                }
            }
        }
    }
}

fn dense(client: &str, steps: &[Step], violations: &mut Vec<Violation>) {
    let mut expected = None;
    for step in steps {
        match step {
            Step::Connected { after } => expected = Some(after + 1),
            Step::Reset { seq } => expected = Some(*seq),
            Step::Saw(event) => {
                let next = expected.unwrap_or(event.seq);
                if event.seq != next {
                    violations.push(Violation::NotDense { client: client.to_owned(), expected: next, saw: event.seq });
                }
                expected = Some(event.seq + 1);
            }
            Step::Sent { .. } | Step::Journaled { .. } | Step::Rejected { .. } => {}
        }
    }
}

/// Messages that were sent once, through the same connection, keep their order.
fn ordered(client: &str, steps: &[Step], room: &BTreeMap<u64, &Event>, violations: &mut Vec<Violation>) {
    let mut times: HashMap<&str, usize> = HashMap::new();
    for step in steps {
        if let Step::Sent { id } = step {
            *times.entry(id).or_default() += 1;
        }
    }
    let places: HashMap<&str, u64> =
        room.values().filter(|event| event.from == client).filter_map(|event| Some((event.id.as_deref()?, event.seq))).collect();
    let mut before: Option<(&str, u64)> = None;
    for step in steps {
        match step {
            Step::Connected { .. } => before = None,
            Step::Sent { id } if times[id.as_str()] == 1 => {
                let Some(place) = places.get(id.as_str()) else { continue };
                if let Some((first, earlier)) = before
                    && *place < earlier
                {
                    violations.push(Violation::Reordered { user: client.to_owned(), first: first.to_owned(), second: id.clone() });
                }
                before = Some((id, *place));
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn saw(seq: u64, from: &str, id: &str) -> Step {
        Step::Saw(Event { seq, kind: "text".into(), from: from.into(), id: Some(id.into()), text: Some("Hello".into()) })
    }

    fn sent(id: &str) -> Step {
        Step::Sent { id: id.into() }
    }

    fn journaled(id: &str, seq: u64) -> Step {
        Step::Journaled { id: id.into(), seq }
    }

    fn connected(after: u64) -> Step {
        Step::Connected { after }
    }

    fn history(clients: &[(&str, Vec<Step>)]) -> History {
        History { clients: clients.iter().map(|(name, steps)| ((*name).to_owned(), steps.clone())).collect() }
    }

    #[test]
    fn a_history_that_keeps_all_promises_passes() {
        let harry = vec![
            connected(0),
            sent("m1"),
            sent("m2"),
            saw(1, "harry", "m1"),
            journaled("m1", 1),
            saw(2, "harry", "m2"),
            journaled("m2", 2),
        ];
        let charly = vec![connected(1), saw(2, "harry", "m2")];
        let history = history(&[("harry", harry), ("charly", charly)]);
        assert_eq!(history.safety(), []);
        assert_eq!(history.liveness(), []);
    }

    #[test]
    fn each_broken_promise_is_found() {
        let found = |clients: &[(&str, Vec<Step>)]| history(clients).safety();
        let gap = found(&[("harry", vec![connected(0), sent("m1"), sent("m3"), saw(1, "harry", "m1"), saw(3, "harry", "m3")])]);
        assert!(matches!(gap[..], [Violation::NotDense { expected: 2, saw: 3, .. }]), "{gap:?}");

        let repeat = found(&[("harry", vec![connected(0), sent("m1"), saw(1, "harry", "m1"), saw(1, "harry", "m1")])]);
        assert!(matches!(repeat[..], [Violation::NotDense { expected: 2, saw: 1, .. }]), "{repeat:?}");

        let steps = |id: &str| vec![connected(0), sent(id), saw(1, "x", id)];
        let diverged = found(&[("harry", steps("m1")), ("charly", steps("m2"))]);
        assert!(matches!(diverged[..], [Violation::Diverged { seq: 1, .. }]), "{diverged:?}");

        let twice = found(&[("harry", vec![connected(0), sent("m1"), saw(1, "harry", "m1"), saw(2, "harry", "m1")])]);
        assert!(matches!(twice[..], [Violation::Duplicated { places: (1, 2), .. }]), "{twice:?}");

        let lost = found(&[("harry", vec![connected(0), sent("m1"), sent("m2"), journaled("m1", 1), saw(1, "harry", "m2")])]);
        assert!(matches!(lost[..], [Violation::Lost { seq: 1, .. }]), "{lost:?}");

        let invented = found(&[("harry", vec![connected(0), saw(1, "harry", "m1")])]);
        assert!(matches!(invented[..], [Violation::Invented { .. }]), "{invented:?}");

        let order = found(&[("harry", vec![connected(0), sent("m1"), sent("m2"), saw(1, "harry", "m2"), saw(2, "harry", "m1")])]);
        assert!(matches!(order[..], [Violation::Reordered { .. }]), "{order:?}");
    }

    #[test]
    fn what_is_missing_in_the_end_is_found() {
        let harry = vec![connected(0), sent("m1"), sent("m2"), saw(1, "harry", "m1"), journaled("m1", 1)];
        let found = history(&[("harry", harry), ("charly", vec![connected(0)])]).liveness();
        assert!(
            matches!(&found[..], [Violation::Behind { saw: 0, head: 1, .. }, Violation::Unanswered { id, .. }] if id == "m2"),
            "{found:?}"
        );
    }

    #[test]
    fn after_a_reset_the_next_place_is_the_one_that_was_said() {
        let harry = vec![connected(0), Step::Reset { seq: 7 }, sent("m7"), saw(7, "harry", "m7")];
        assert_eq!(history(&[("harry", harry)]).safety(), []);
    }
}
