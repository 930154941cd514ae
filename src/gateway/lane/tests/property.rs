//! A lane, a bus that loses, repeats and forgets, and the room as its owner decides: whatever
//! happens, each message is in the room at most once, those of a session in their order, and each
//! is answered once, with what is so.

use super::*;
use crate::room::{
    Action, BatchMessage, Body, Command, Identity, Key, Kind, Millis, Outcome, decide,
};
use proptest::{collection::vec, prelude::*};
use std::collections::{BTreeMap, VecDeque};

/// What happens next.
#[derive(Debug, Clone)]
enum Event {
    /// A session says something new.
    Say(u64),
    /// A session changes the group.
    Shake(u64),
    /// The lane submits: stored, stored without its word, or not stored.
    Submit { stored: bool, told: bool },
    /// The owner decides the next stored batch.
    Decide,
    /// An owner reads a stored batch again.
    ReadAgain(usize),
    /// A batch without a word arrives at the bus after all.
    Arrive(usize),
    /// The servers take batches of so many messages, from now on.
    Limit(usize),
    /// The bus forgets its newest undecided batches.
    LoseTail(usize),
    /// The replica hears of events, so many.
    Hear(usize),
    /// An answer of the owner arrives, or is lost.
    Answer { lost: bool },
    /// Seconds pass.
    Wait(u64),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        5 => (1..4u64).prop_map(Event::Say),
        2 => (1..4u64).prop_map(Event::Shake),
        6 => (any::<bool>(), any::<bool>()).prop_map(|(stored, told)| Event::Submit { stored, told }),
        6 => Just(Event::Decide),
        1 => (0..9usize).prop_map(Event::ReadAgain),
        1 => (0..9usize).prop_map(Event::Arrive),
        1 => (0..4usize).prop_map(Event::Limit),
        1 => (1..3usize).prop_map(Event::LoseTail),
        4 => (1..9usize).prop_map(Event::Hear),
        3 => any::<bool>().prop_map(|lost| Event::Answer { lost }),
        2 => (1..9u64).prop_map(Event::Wait),
    ]
}

type Stored = (ProducerSeq, Arc<[BatchMessage]>);

struct World {
    lane: Lane,
    room: crate::room::State,
    now: Instant,
    said: u64,
    /// What is stored, and how much of it is decided.
    bus: Vec<Stored>,
    decided: usize,
    /// The most messages of a batch that the servers take.
    most: usize,
    /// Batches that are still on their way to the bus, as far as anybody knows.
    late: Vec<Stored>,
    events: Vec<(Turn, String)>,
    first: u64,
    heard: usize,
    answers: VecDeque<OfBatch>,
    /// What was once submitted under a number.
    submitted: BTreeMap<ProducerSeq, Arc<[BatchMessage]>>,
    /// What sessions were told: where it is, or that it is refused.
    told: BTreeMap<String, Vec<Option<u64>>>,
}

impl World {
    fn new() -> Self {
        let lane = lane();
        let mut room = crate::room::State::default();
        for of in 1..4 {
            let action = Action::Open {
                session: session(of),
                user: UserId::parse(&format!("user-{of}")).unwrap(),
                key: Key::parse("key").unwrap(),
                identity: Identity::Claimed,
                device: None,
                gateway: Incarnation::new(Uuid::from_u128(0xaaa)),
                policy: None,
                former: None,
            };
            let command = Command {
                at: Millis(1),
                action,
            };
            let decision = decide(&room, &command);
            room.apply_decision(&decision, &command);
        }
        Self {
            lane,
            first: room.head.0 + 1,
            room,
            now: Instant::now(),
            said: 0,
            bus: Vec::new(),
            decided: 0,
            most: Limits::BATCH,
            late: Vec::new(),
            events: Vec::new(),
            heard: 0,
            answers: VecDeque::new(),
            submitted: BTreeMap::new(),
            told: BTreeMap::new(),
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Say(of) => {
                self.said += 1;
                say(&mut self.lane, of, &format!("m{}", self.said));
            }
            Event::Shake(of) => {
                self.said += 1;
                shake(&mut self.lane, of, &format!("m{}", self.said));
            }
            Event::Submit { stored, told } => self.submit(stored, told),
            Event::Decide if self.decided < self.bus.len() => {
                self.decided += 1;
                self.decide(self.decided - 1);
            }
            Event::Decide => {}
            Event::ReadAgain(n) if self.decided > 0 => self.decide(n % self.decided),
            Event::ReadAgain(_) => {}
            Event::Arrive(n) if !self.late.is_empty() => {
                let late = self.late.remove(n % self.late.len());
                self.bus.push(late);
            }
            Event::Arrive(_) => {}
            Event::Limit(most) => self.most = most,
            Event::LoseTail(n) => {
                let left = self.bus.len().saturating_sub(n).max(self.decided);
                self.bus.truncate(left);
            }
            Event::Hear(n) => {
                let to = (self.heard + n).min(self.events.len());
                let new = self.heard..to;
                self.heard = to;
                let seq = |at: usize| Seq(self.first + at as u64);
                let new: Vec<_> = new.map(|at| (self.events[at].0, seq(at))).collect();
                let effects = self.lane.seen(new.into_iter(), Epoch(1), self.head());
                self.tell(effects);
            }
            Event::Answer { lost } => {
                if let Some(of) = self.answers.pop_front().filter(|_| !lost) {
                    let effects = self.lane.outcome(of, self.head(), self.now);
                    self.tell(effects);
                }
            }
            Event::Wait(seconds) => self.now += Duration::from_secs(seconds),
        }
    }

    /// How far the replica is.
    fn head(&self) -> Seq {
        Seq(self.first + self.heard as u64 - 1)
    }

    fn submit(&mut self, stored: bool, told: bool) {
        let Step::Submit(id, Outgoing::Batch(from, messages)) = self.lane.step(self.now, FORM)
        else {
            return;
        };
        let behind = messages.iter().skip_while(|it| !is_handshake(it)).count();
        assert!(behind <= 1, "something is behind a handshake");
        let too_large = messages.len() > self.most;
        let stored = stored && !too_large;
        let may_be_stored = stored || !told;
        if may_be_stored {
            let first = self.submitted.entry(from).or_insert(messages.clone());
            assert_eq!(*first, messages, "{from:?} is not what it was");
        }
        match may_be_stored {
            true if stored => self.bus.push((from, messages)),
            true => self.late.push((from, messages)),
            false => {}
        }
        let effects = match (stored, told) {
            (true, true) => self.lane.stored(id, self.now, PATIENCE),
            (_, false) => self.lane.failed(id, Failure::Unknown, self.now, PAUSE),
            (false, true) if too_large => self.lane.failed(id, Failure::TooLarge, self.now, PAUSE),
            (false, true) => self.lane.failed(id, Failure::NotStored, self.now, PAUSE),
        };
        self.tell(effects);
    }

    /// The owner decides a stored batch, and answers as `writer::room` does.
    fn decide(&mut self, at: usize) {
        let (from, messages) = self.bus[at].clone();
        let messages = messages.iter().map(as_text).collect();
        let command = Command {
            at: Millis(1),
            action: Action::Batch { from, messages },
        };
        let decision = decide(&self.room, &command);
        for event in self.room.apply_decision(&decision, &command) {
            let Kind::Message {
                id: Some(id),
                turn: Some(turn),
                ..
            } = event.kind
            else {
                panic!("a message of a session")
            };
            self.events.push((turn, id.shown().unwrap().to_owned()));
        }
        let head = self.room.head;
        let outcome = match decision.outcome {
            Outcome::OutOfOrder { expected } => BatchOutcome::OutOfOrder { expected },
            Outcome::Batch(outcomes) => {
                let journaled = |seq, duplicate| {
                    MessageOutcome::Answered(Answered::Journaled {
                        seq,
                        epoch: Epoch(1),
                        duplicate,
                    })
                };
                let messages = (0..).zip(outcomes).filter_map(|(index, outcome)| {
                    let outcome = match outcome {
                        Outcome::Done => return None,
                        Outcome::Redelivered(seq) => journaled(seq, false),
                        Outcome::Repeated(seq) => journaled(seq, true),
                        Outcome::DuplicateUnknownSeq => MessageOutcome::DecidedBy(head),
                        other => panic!("{other:?}"),
                    };
                    Some((index, outcome))
                });
                BatchOutcome::Messages(messages.collect())
            }
            other => panic!("{other:?}"),
        };
        self.answers.push_back(OfBatch {
            generation: from.producer.generation,
            sequence: from.sequence,
            outcome,
        });
    }

    fn tell(&mut self, effects: Vec<Effect<String>>) {
        for effect in effects {
            let (tag, place) = match effect {
                Effect::Journaled { tag, seq, .. } => (tag, Some(seq.0)),
                Effect::Rejected { tag, .. } => (tag, None),
                Effect::Accepted(_) | Effect::Resubmitted { .. } => continue,
            };
            self.told.entry(tag).or_default().push(place);
        }
    }

    /// Everything works from now on, until nothing is left to do.
    fn settle(&mut self) {
        for _ in 0..2_000 {
            self.happen(Event::Submit {
                stored: true,
                told: true,
            });
            self.happen(Event::Arrive(0));
            while self.decided < self.bus.len() {
                self.happen(Event::Decide);
            }
            self.happen(Event::Hear(usize::MAX / 2));
            while !self.answers.is_empty() {
                self.happen(Event::Answer { lost: false });
            }
            match self.lane.step(self.now, FORM) {
                Step::Idle => return,
                Step::Wait(Some(until)) => self.now = until,
                _ => {}
            }
        }
        panic!("it does not settle");
    }
}

fn is_handshake(message: &BatchMessage) -> bool {
    matches!(message.body, Body::Handshake(_))
}

/// The room here has no group, and takes handshakes as any message.
fn as_text(message: &BatchMessage) -> BatchMessage {
    BatchMessage {
        body: Body::Text("x".into()),
        ..message.clone()
    }
}

proptest! {
    #[test]
    fn each_message_is_once_in_the_room_in_order_and_answered_once(events in vec(event(), 0..120)) {
        let mut world = World::new();
        events.into_iter().for_each(|event| world.happen(event));
        world.settle();
        let mut places = BTreeMap::new();
        let mut last = BTreeMap::new();
        for (at, (turn, id)) in world.events.iter().enumerate() {
            prop_assert_eq!(places.insert(id.clone(), world.first + at as u64), None, "{} is there twice", id);
            let last = last.entry(turn.session).or_insert(0);
            prop_assert!(turn.number > *last, "{turn:?} comes after {last}");
            *last = turn.number;
        }
        for n in 1..=world.said {
            let id = format!("m{n}");
            match world.told.get(&id).map(Vec::as_slice) {
                Some([Some(place)]) => prop_assert_eq!(places.get(&id), Some(place)),
                // Nobody knows: its client sends it again, with the same id.
                Some([None]) => {}
                other => prop_assert!(false, "{id} was answered {other:?}"),
            }
        }
    }
}
