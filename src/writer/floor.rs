//! Which commands of a shard are settled, and so from where a successor would have to read, and
//! which the bus may forget. Pure.

use crate::{
    bus::{Delivery, Position},
    room::{Limits, Millis, RoomId},
};
use std::collections::{HashMap, VecDeque};

/// Commands that may lie above the stored floor, of all rooms: what a successor reads again in well
/// under a second.
const COMMANDS: u64 = 16_384;

/// Bytes of content that may wait to be settled: the most that one shard keeps in memory of
/// messages.
const BYTES: usize = 32 * 1024 * 1024;

/// Bytes of settled commands that are worth a new floor, and then their forgetting, at once. The
/// bus keeps about twice this for each shard besides what is not settled; all of it together must
/// be far below what it can keep.
const WORTH: usize = 1024 * 1024;

/// Commands that memory is kept for when there are fewer.
const FEW: usize = 16;

/// A command that was read, to be settled later. Of no effect after the bus went back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ticket {
    generation: u32,
    position: Position,
}

/// Settled commands that the bus may still have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Forgettable {
    pub(super) below: Position,
    /// The newest of them and when it was stored, if it was read here.
    pub(super) newest: Option<(Position, Millis)>,
    bytes: usize,
}

impl Forgettable {
    /// Whether it is worth telling the bus at once.
    pub(super) fn is_much(self) -> bool {
        self.bytes >= WORTH
    }
}

struct Entry {
    position: Position,
    at: Millis,
    room: RoomId,
    /// How many decisions it takes.
    commands: u64,
    bytes: usize,
    settled: bool,
}

/// The commands between the stored floor and the reader.
pub(super) struct Floor {
    generation: u32,
    stored: Position,
    last: Option<Position>,
    entries: VecDeque<Entry>,
    /// How many of the first entries are settled.
    settled: usize,
    /// All of them, by decisions.
    commands: u64,
    per_room: HashMap<RoomId, u64>,
    unsettled_bytes: usize,
    /// Bytes of the first entries, which are settled.
    settled_bytes: usize,
    /// Below it the bus has forgotten everything.
    forgotten: Position,
    /// Bytes between that and the stored floor.
    forgettable: usize,
    /// The newest command below the stored floor.
    newest: Option<(Position, Millis)>,
}

impl Floor {
    /// A floor as it was found stored. What the bus still has below is not known.
    pub(super) fn new(stored: Position) -> Self {
        Self {
            generation: 0,
            stored,
            last: None,
            entries: VecDeque::new(),
            settled: 0,
            commands: 0,
            per_room: HashMap::new(),
            unsettled_bytes: 0,
            settled_bytes: 0,
            forgotten: Position::ZERO,
            forgettable: 0,
            newest: None,
        }
    }

    /// Whether a command of the room may be read now. No: wait until the floor was stored. The
    /// dedupe window of the room must cover whatever a successor reads again.
    pub(super) fn accepts(&self, room: &RoomId) -> bool {
        self.commands < COMMANDS
            && self.unsettled_bytes < BYTES
            && self
                .per_room
                .get(room)
                .is_none_or(|commands| *commands < Limits::REREAD)
    }

    /// Whether a successor would read a command of the room again that was read here.
    pub(super) fn reads_again(&self, room: &RoomId) -> bool {
        self.per_room.contains_key(room)
    }

    /// Takes note of a command that was read. One that is not above those before means that the bus
    /// went back: all earlier tickets are void.
    pub(super) fn read(&mut self, delivery: &Delivery, bytes: usize) -> Ticket {
        let position = delivery.position;
        let went_back = self
            .last
            .map_or(position < self.stored, |last| position <= last);
        if went_back {
            self.generation += 1;
            self.entries.clear();
            (self.settled, self.commands) = (0, 0);
            self.per_room.clear();
            (self.unsettled_bytes, self.settled_bytes) = (0, 0);
            self.newest = None;
        }
        self.last = Some(position);
        self.unsettled_bytes += bytes;
        let room = delivery.submission.room.clone();
        let commands = delivery.submission.action.commands() as u64;
        self.commands += commands;
        *self.per_room.entry(room.clone()).or_default() += commands;
        self.entries.push_back(Entry {
            position,
            at: delivery.at,
            room,
            commands,
            bytes,
            settled: false,
        });
        Ticket {
            generation: self.generation,
            position,
        }
    }

    /// The command needs not be read again.
    pub(super) fn settle(&mut self, ticket: Ticket) {
        if ticket.generation != self.generation {
            return;
        }
        if let Ok(index) = self
            .entries
            .binary_search_by_key(&ticket.position, |entry| entry.position)
        {
            let entry = &mut self.entries[index];
            if !entry.settled {
                entry.settled = true;
                self.unsettled_bytes -= entry.bytes;
            }
        }
        while let Some(entry) = self.entries.get(self.settled).filter(|entry| entry.settled) {
            self.settled += 1;
            self.settled_bytes += entry.bytes;
        }
    }

    /// Below this position everything is settled.
    pub(super) fn reached(&self) -> Position {
        let oldest = self.entries.get(self.settled).map(|entry| entry.position);
        oldest
            .or(self.last.map(Position::next))
            .unwrap_or(self.stored)
    }

    /// About how many commands are not settled, and when the oldest of them was stored.
    pub(super) fn unsettled(&self) -> (usize, Option<Millis>) {
        let oldest = self.entries.get(self.settled);
        (self.entries.len() - self.settled, oldest.map(|it| it.at))
    }

    /// The position that is stored.
    pub(super) fn stored(&self) -> Position {
        self.stored
    }

    /// The position was stored: what lies below needs not be remembered.
    pub(super) fn store(&mut self, position: Position) {
        self.stored = position;
        while let Some(entry) = self
            .entries
            .pop_front_if(|entry| entry.settled && entry.position < position)
        {
            self.settled -= 1;
            self.settled_bytes -= entry.bytes;
            self.forgettable += entry.bytes;
            self.newest = Some((entry.position, entry.at));
            self.commands -= entry.commands;
            if let Some(commands) = self.per_room.get_mut(&entry.room) {
                *commands -= entry.commands;
                if *commands == 0 {
                    self.per_room.remove(&entry.room);
                }
            }
        }
        if self.entries.len() * 4 < self.entries.capacity() {
            self.entries.shrink_to(FEW.max(self.entries.len() * 2));
            self.per_room.shrink_to(FEW);
        }
    }

    /// Whether so much was read since the floor was stored that it should be stored now, to keep
    /// the reader going and the bus from being filled.
    pub(super) fn is_pressing(&self) -> bool {
        let much = self.commands >= Limits::REREAD / 2 || self.settled_bytes >= WORTH;
        much && self.reached() != self.stored
    }

    /// What the bus may forget; `None`: nothing.
    pub(super) fn forgettable(&self) -> Option<Forgettable> {
        // The stored floor is too high for as long as the bus has gone back and nothing was stored
        // since.
        let below = self.stored.min(self.reached());
        (below != self.forgotten).then_some(Forgettable {
            below,
            newest: self.newest,
            bytes: self.forgettable,
        })
    }

    /// The bus has forgotten it.
    pub(super) fn forget(&mut self, Forgettable { below, bytes, .. }: Forgettable) {
        self.forgotten = below;
        self.forgettable -= bytes;
    }

    /// It may have come back: a server forgets a forgetting that it had not synced.
    pub(super) fn doubt(&mut self) {
        self.forgotten = Position::ZERO;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        bus::Submission,
        room::{Action, SessionId},
        telemetry::trace::Context,
    };
    use uuid::Uuid;

    fn delivery(position: u64, room: &str) -> Delivery {
        let action = Action::Close {
            session: SessionId::new(Uuid::nil()),
            gateway: None,
        };
        let submission = Submission {
            room: RoomId::parse(room).unwrap(),
            action,
            reply: None,
        };
        Delivery {
            position: Position(position),
            at: Millis(0),
            submission,
            trace: Context::default(),
        }
    }

    #[test]
    fn the_floor_stays_below_the_oldest_unsettled_command() {
        let mut floor = Floor::new(Position(5));
        assert_eq!(floor.reached(), Position(5));
        let first = floor.read(&delivery(7, "a"), 10);
        let second = floor.read(&delivery(9, "b"), 10);
        floor.settle(second);
        assert_eq!(floor.reached(), Position(7));
        floor.settle(first);
        floor.settle(first);
        assert_eq!(floor.reached(), Position(10));
    }

    #[test]
    fn a_room_is_not_read_further_than_its_window_covers() {
        let mut floor = Floor::new(Position(1));
        let tickets: Vec<Ticket> = (1..=Limits::REREAD)
            .map(|position| floor.read(&delivery(position, "a"), 1))
            .collect();
        let (a, b) = (RoomId::parse("a").unwrap(), RoomId::parse("b").unwrap());
        assert!(!floor.accepts(&a));
        assert!(floor.accepts(&b));
        tickets.into_iter().for_each(|ticket| floor.settle(ticket));
        assert!(
            !floor.accepts(&a),
            "settled, but a successor would still read it again"
        );
        floor.store(floor.reached());
        assert!(floor.accepts(&a));
    }

    #[test]
    fn content_that_waits_is_bounded() {
        let mut floor = Floor::new(Position(1));
        let ticket = floor.read(&delivery(1, "a"), BYTES);
        assert!(!floor.accepts(&RoomId::parse("b").unwrap()));
        floor.settle(ticket);
        assert!(floor.accepts(&RoomId::parse("b").unwrap()));
    }

    #[test]
    fn large_commands_press_and_are_worth_forgetting() {
        let mut floor = Floor::new(Position(5));
        let left = floor
            .forgettable()
            .expect("an earlier owner may have left something");
        floor.forget(left);
        assert_eq!(floor.forgettable(), None);
        for position in [7, 8] {
            let ticket = floor.read(&delivery(position, "a"), WORTH / 2);
            assert!(!floor.is_pressing());
            floor.settle(ticket);
        }
        assert!(floor.is_pressing());
        floor.store(Position(8));
        let first = floor.forgettable().unwrap();
        assert_eq!(
            (floor.is_pressing(), first.below, first.is_much()),
            (false, Position(8), false)
        );
        floor.store(Position(9));
        assert!(floor.forgettable().unwrap().is_much());
        floor.forget(first);
        let rest = floor.forgettable().unwrap();
        assert_eq!(
            (rest.below, rest.is_much()),
            (Position(9), false),
            "the second is still there"
        );
        assert_eq!(rest.newest, Some((Position(8), Millis(0))));
        floor.forget(rest);
        assert_eq!(floor.forgettable(), None);
        floor.doubt();
        assert_eq!(floor.forgettable(), Some(Forgettable { bytes: 0, ..rest }));
    }

    #[test]
    fn a_ticket_from_before_the_bus_went_back_settles_nothing() {
        let mut floor = Floor::new(Position(1));
        let old = floor.read(&delivery(8, "a"), 1);
        let new = floor.read(&delivery(8, "a"), 1);
        floor.settle(old);
        assert_eq!(floor.reached(), Position(8));
        floor.settle(new);
        assert_eq!(floor.reached(), Position(9));
    }

    #[test]
    fn what_is_stored_again_after_the_bus_went_back_is_not_forgotten() {
        let mut floor = Floor::new(Position(1));
        let ticket = floor.read(&delivery(99, "a"), 1);
        floor.settle(ticket);
        floor.store(Position(100));
        let ticket = floor.read(&delivery(41, "a"), 1);
        assert_eq!(floor.forgettable().unwrap().below, Position(41));
        floor.settle(ticket);
        assert_eq!(floor.forgettable().unwrap().below, Position(42));
    }

    #[test]
    fn a_first_command_below_the_floor_means_that_the_bus_went_back() {
        let mut floor = Floor::new(Position(100));
        let ticket = floor.read(&delivery(3, "a"), 1);
        assert_eq!(floor.reached(), Position(3));
        floor.settle(ticket);
        assert_eq!(floor.reached(), Position(4));
    }
}
