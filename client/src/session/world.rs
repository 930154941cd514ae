//! One claim about the session over any order of failures: a client, a correct server, and a
//! connection that loses what is under way.

use super::tests::{event, options, rejected, sent, told, welcome};
use super::*;
use proptest::prelude::*;
use std::collections::HashMap;

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

    /// The place, and whether it was there before.
    fn decide(&mut self, id: &str) -> (u64, bool) {
        if let Some(seq) = self.known.get(id) {
            return (*seq, true);
        }
        let seq = self.append("harry", Some(id.into()));
        self.known.insert(id.into(), seq);
        (seq, false)
    }

    fn after(&self, since: u64) -> Vec<ServerFrame> {
        let head = self.events.len() as u64;
        let at = |seq: u64| {
            let (from, id) = &self.events[seq as usize - 1];
            event(seq, from, id.as_deref())
        };
        (since + 1..=head).map(at).collect()
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
    /// What is on its way arrives, up to this many frames; nobody takes the events, or somebody
    /// does.
    Arrive {
        most: usize,
        is_full: bool,
    },
    /// Time passes.
    Pass,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => Just(Step::Say),
        2 => Just(Step::Other),
        3 => any::<bool>().prop_map(|answer| Step::Decide { answer }),
        1 => Just(Step::Busy),
        1 => (0..4_usize).prop_map(|taken| Step::Break { taken }),
        4 => ((1..6_usize), prop::bool::weighted(0.1))
            .prop_map(|(most, is_full)| Step::Arrive { most, is_full }),
        1 => Just(Step::Pass),
    ]
}

/// A client at a server, with everything between them.
struct World {
    room: Room,
    session: Session,
    now: Instant,
    seen: Vec<u64>,
    answers: HashMap<String, u64>,
    outgoing: Vec<String>,
    incoming: Vec<ServerFrame>,
    said: usize,
    /// Events up to here are in `incoming` or were there.
    streamed: u64,
}

impl World {
    fn new(resend: Resend) -> Self {
        let session = Session::new(Options {
            resend,
            retries: u32::MAX,
            answer_within: None,
            ..options(Protocol::Json)
        });
        let mut world = Self {
            room: Room::default(),
            session,
            now: Instant::now(),
            seen: Vec::new(),
            answers: HashMap::new(),
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
        self.outgoing.clear();
        self.incoming = vec![welcome(self.room.events.len() as u64, true)];
        self.streamed = since.unwrap_or(0);
        self.stream();
    }

    fn stream(&mut self) {
        let news = self.room.after(self.streamed);
        self.streamed += news.len() as u64;
        self.incoming.extend(news);
    }

    fn perform(&mut self, effects: Vec<Effect>) {
        self.outgoing.extend(sent(&effects));
        self.seen.extend(told(&effects));
        for effect in effects {
            match effect {
                Effect::Answer { id, answer } => {
                    let receipt = answer.expect("a correct server takes every message");
                    assert_eq!(self.room.known[&id], receipt.seq);
                    assert!(self.answers.insert(id, receipt.seq).is_none());
                }
                Effect::Leave(why) => {
                    // Nobody took events, or the server was slow to answer.
                    let is_expected = why.starts_with("events were left out")
                        || why.starts_with("the server does not answer");
                    assert!(is_expected, "{why}");
                    self.session.disconnected();
                    self.connect();
                }
                _ => {}
            }
        }
    }

    fn arrive(&mut self, most: usize, is_full: bool) {
        let most = most.min(self.incoming.len());
        for frame in self.incoming.drain(..most).collect::<Vec<_>>() {
            let effects = self.session.take(frame, is_full, self.now);
            self.perform(effects);
        }
        if !is_full {
            let effects = self.session.has_space();
            self.perform(effects);
        }
    }

    fn decide(&mut self, answer: bool) {
        for id in std::mem::take(&mut self.outgoing) {
            let (seq, duplicate) = self.room.decide(&id);
            if answer {
                let epoch = 1;
                self.incoming.push(ServerFrame::Journaled {
                    id,
                    seq,
                    epoch,
                    duplicate,
                });
            }
        }
        self.stream();
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Say => {
                self.said += 1;
                let message = Message::text("x").with_id(format!("m{}", self.said));
                let effects = self.session.say(message, self.now).unwrap();
                self.perform(effects);
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
            Step::Arrive { most, is_full } => self.arrive(*most, *is_full),
            Step::Pass => {
                self.now += Duration::from_secs(20);
                let effects = self.session.wake(self.now);
                self.perform(effects);
            }
        }
    }

    fn settle(&mut self) {
        for _ in 0..50 {
            let most = usize::MAX;
            self.take(&Step::Arrive {
                most,
                is_full: false,
            });
            self.take(&Step::Pass);
            self.take(&Step::Decide { answer: true });
        }
    }
}

proptest! {
    #[test]
    fn resume_never_skips_never_repeats_and_every_message_is_in_the_room_once(
        steps in prop::collection::vec(step(), 0..80),
        at_once in any::<bool>(),
    ) {
        let resend = if at_once { Resend::AtOnce } else { Resend::AfterCatchUp };
        let mut world = World::new(resend);
        for step in &steps {
            world.take(step);
        }
        world.settle();
        let all: Vec<u64> = (1..=world.room.events.len() as u64).collect();
        prop_assert_eq!(&world.seen, &all);
        prop_assert_eq!(world.session.undecided(), 0);
        prop_assert_eq!(world.answers.len(), world.said);
        let own = world.room.events.iter().filter(|(_, id)| id.is_some());
        prop_assert_eq!(own.count(), world.said);
    }
}
