//! One claim about the session over any order of failures: a client, a correct server, and a
//! connection that loses what is under way.

use std::collections::HashMap;

use proptest::prelude::*;

use super::frame::ServerFrame;
use super::session::{Effect, Session};
use super::session_tests::{event, rejected, sent, shown, welcome};

/// A room as the protocol promises it: one order, one event per id.
#[derive(Default)]
struct Room {
    events: Vec<(String, Option<String>)>,
    known: HashMap<String, u64>,
}

impl Room {
    fn append(&mut self, from: &str, id: Option<String>) -> u64 {
        self.events.push((from.into(), id));
        self.events.len() as u64
    }

    fn decide(&mut self, id: &str) -> u64 {
        if let Some(seq) = self.known.get(id) {
            return *seq;
        }
        let seq = self.append("harry", Some(id.into()));
        self.known.insert(id.into(), seq);
        seq
    }

    fn after(&self, since: u64) -> Vec<ServerFrame> {
        let head = self.events.len() as u64;
        (since + 1..=head)
            .map(|seq| {
                let (from, id) = &self.events[seq as usize - 1];
                event(seq, from, id.as_deref())
            })
            .collect()
    }
}

#[derive(Debug, Clone)]
enum Step {
    Say,
    /// Somebody else speaks.
    Other,
    /// The room takes what was sent; the answers get lost, or not.
    Decide {
        answer: bool,
    },
    /// A sent message is rejected for now.
    Busy,
    /// The connection breaks, after the room took this many of the sent messages.
    Break {
        taken: usize,
    },
    /// What is on its way arrives, up to this many frames.
    Arrive(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => Just(Step::Say),
        2 => Just(Step::Other),
        3 => any::<bool>().prop_map(|answer| Step::Decide { answer }),
        1 => Just(Step::Busy),
        1 => (0..4_usize).prop_map(|taken| Step::Break { taken }),
        4 => (1..6_usize).prop_map(Step::Arrive),
    ]
}

/// A client at a server, with everything between them.
struct World {
    room: Room,
    session: Session,
    seen: Vec<u64>,
    outgoing: Vec<String>,
    incoming: Vec<ServerFrame>,
    said: usize,
    /// Events up to here are in `incoming` or were there.
    streamed: u64,
}

impl World {
    fn new() -> World {
        let mut world = World {
            room: Room::default(),
            session: Session::new("harry", 50),
            seen: Vec::new(),
            outgoing: Vec::new(),
            incoming: Vec::new(),
            said: 0,
            streamed: 0,
        };
        world.room.append("harry", None);
        world.connect();
        world
    }

    fn connect(&mut self) {
        let since = self.session.resume_after();
        self.incoming = vec![welcome(self.room.events.len() as u64, true)];
        self.streamed = since.unwrap_or(0);
        self.stream();
    }

    fn stream(&mut self) {
        let news = self.room.after(self.streamed);
        self.streamed += news.len() as u64;
        self.incoming.extend(news);
    }

    fn perform(&mut self, effects: &[Effect]) {
        self.outgoing.extend(sent(effects));
        self.seen.extend(shown(effects));
        assert!(
            !effects.contains(&Effect::Rejoin),
            "a session of a correct server saw a gap"
        );
    }

    fn arrive(&mut self, most: usize) {
        for frame in self
            .incoming
            .drain(..most.min(self.incoming.len()))
            .collect::<Vec<_>>()
        {
            let effects = self.session.take(frame);
            self.perform(&effects);
        }
    }

    fn decide(&mut self, answer: bool) {
        for id in std::mem::take(&mut self.outgoing) {
            let seq = self.room.decide(&id);
            if answer {
                self.incoming.push(ServerFrame::Journaled { id, seq });
            }
        }
        self.stream();
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Say => {
                self.said += 1;
                let effects = self
                    .session
                    .say(format!("m{}", self.said), "x".into(), None);
                self.perform(&effects);
            }
            Step::Other => {
                self.room.append("charly", None);
                self.stream();
            }
            Step::Decide { answer } => self.decide(*answer),
            Step::Busy => {
                for id in std::mem::take(&mut self.outgoing) {
                    self.incoming.push(rejected(&id, Some(1)));
                }
            }
            Step::Break { taken } => {
                let taken = (*taken).min(self.outgoing.len());
                self.outgoing.truncate(taken);
                self.decide(false);
                self.session.disconnected();
                self.connect();
            }
            Step::Arrive(most) => {
                self.arrive(*most);
                let effects = self.session.retry();
                self.perform(&effects);
            }
        }
    }
}

proptest! {
    #[test]
    fn resume_never_skips_never_repeats_and_every_message_is_in_the_room_once(steps in prop::collection::vec(step(), 0..80)) {
        let mut world = World::new();
        for step in &steps {
            world.take(step);
        }
        for _ in 0..50 {
            world.take(&Step::Arrive(usize::MAX));
            world.take(&Step::Decide { answer: true });
        }
        prop_assert_eq!(&world.seen, &(1..=world.room.events.len() as u64).collect::<Vec<_>>());
        prop_assert!(world.session.is_settled());
        let mut own: Vec<&String> = world.room.events.iter().filter_map(|(_, id)| id.as_ref()).collect();
        prop_assert_eq!(own.len(), world.said);
        own.sort();
        own.dedup();
        prop_assert_eq!(own.len(), world.said);
    }
}
