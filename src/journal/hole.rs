//! Holes: places of a room whose events are gone, though later ones were given. And what an opening
//! finds, which may have some.

use crate::room::{Event, Seq, State};
use std::fmt;

/// The most holes that are named in one line.
const TOLD: usize = 10;

/// Places of a room whose events are gone from the journal: `first` to `last`, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hole {
    /// The first place that is missing.
    pub first: Seq,
    /// The last place that is missing.
    pub last: Seq,
}

impl Hole {
    /// The places after `before` and below `next`, if there are any.
    pub fn between(before: Seq, next: Seq) -> Option<Self> {
        let hole = Self {
            first: before.next(),
            last: Seq(next.0.saturating_sub(1)),
        };
        (hole.first <= hole.last).then_some(hole)
    }

    /// What of it is behind a place.
    pub fn behind(&self, place: Seq) -> Option<Self> {
        Self::between(place.max(Seq(self.first.0 - 1)), self.last.next())
    }

    /// How many places are missing.
    pub fn count(&self) -> u64 {
        self.last.0 - self.first.0 + 1
    }

    /// How many places are missing in all of them.
    pub fn total(holes: &[Self]) -> u64 {
        holes.iter().map(Self::count).sum()
    }

    /// The first of many, for people.
    pub fn list(holes: &[Self]) -> String {
        let told = holes.iter().take(TOLD).map(Self::to_string);
        let told = told.collect::<Vec<_>>().join(", ");
        match holes.len() > TOLD {
            true => format!("{told} ..."),
            false => told,
        }
    }
}

impl fmt::Display for Hole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.first == self.last {
            true => write!(f, "{}", self.first),
            false => write!(f, "{} to {}", self.first, self.last),
        }
    }
}

/// What [`super::Journal::open`] found. All of it is journaled.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Opened {
    /// The newest usable snapshot, or the empty state.
    pub state: State,
    /// Every event after the snapshot that is still there, ascending; dense but for the holes.
    pub events: Vec<Event>,
    /// What is missing, ascending: after the snapshot, and below it where the store is known to be
    /// older. The last one may follow the last event.
    pub holes: Vec<Hole>,
}

impl Opened {
    /// What is found: a snapshot, the events after it, and how far the room is known to have gone.
    pub(super) fn new(state: State, events: Vec<Event>, reached: Seq) -> Self {
        let mut head = state.head;
        let mut holes = Vec::new();
        for event in &events {
            holes.extend(Hole::between(head, event.seq));
            head = event.seq;
        }
        holes.extend(Hole::between(head, reached.next()));
        Self {
            state,
            events,
            holes,
        }
    }

    /// The room's last place, whether or not it is still there.
    pub fn head(&self) -> Seq {
        let missing = self.holes.last().map(|hole| hole.last);
        let event = self.events.last().map(|event| event.seq);
        missing.max(event).unwrap_or_default().max(self.state.head)
    }

    /// The state at the head: of the snapshot and of all events that are still there.
    pub fn replay(self) -> State {
        let head = self.head();
        let mut state = self.state;
        for event in &self.events {
            state.skip_to(Seq(event.seq.0 - 1));
            state.evolve(event);
        }
        state.end_at(head);
        state
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::room::{Kind, Millis, UserId};

    fn joined(seq: u64) -> Event {
        Event {
            seq: Seq(seq),
            at: Millis(0),
            kind: Kind::Joined {
                user: UserId::parse(&format!("user{seq}")).unwrap(),
            },
            changes: Vec::new(),
        }
    }

    fn holes(opened: &Opened) -> Vec<String> {
        opened.holes.iter().map(Hole::to_string).collect()
    }

    #[test]
    fn what_is_missing_is_named_and_the_rest_is_replayed() {
        let state = State {
            head: Seq(2),
            ..State::default()
        };
        let opened = Opened::new(state, [3, 5, 9].map(joined).into(), Seq(12));
        assert_eq!(holes(&opened), ["4", "6 to 8", "10 to 12"]);
        assert_eq!(opened.head(), Seq(12));
        let state = opened.replay();
        assert_eq!((state.head, state.members.len()), (Seq(12), 3));
    }

    #[test]
    fn a_dense_room_has_no_hole() {
        let opened = Opened::new(State::default(), [1, 2].map(joined).into(), Seq::ZERO);
        assert_eq!((holes(&opened), opened.head()), (vec![], Seq(2)));
    }
}
