//! A room whose keys are in records decides as one that has them all in its state, whenever they
//! move, whatever of it an owner that dies has got done, and whoever replays it.

use proptest::{collection::vec, option, prelude::*};
use safe_chat::{
    journal::codec::{decode_snapshot, encode_snapshot, reads_snapshot, snapshot_version},
    room::{
        Action, Body, Change, Command, CommandId, Decision, Event, Identity, Incarnation, Key,
        Known, Millis, Moving, Outcome, Pin, Reason, RequestId, Seq, SessionId, State, Turn,
        UserId, Window, decide, decide_knowing,
    },
};
use std::collections::HashMap;
use uuid::Uuid;

fn user(n: u8) -> UserId {
    UserId::parse(&format!("user-{n}")).unwrap()
}

fn key(n: u8) -> Key {
    Key::parse(&format!("key-{n}")).unwrap()
}

fn session(n: u8) -> SessionId {
    SessionId::new(Uuid::from_u128(1000 + u128::from(n)))
}

/// What may happen to a room.
#[derive(Debug, Clone)]
enum Step {
    Command(Action),
    /// A snapshot is stored, and some names move; so many are written before the owner goes on.
    Save {
        keep: usize,
        most: usize,
        written: usize,
    },
    /// The rest is written, and the state lets go.
    Move,
    /// Another owner replays the room.
    Replay,
}

fn open(n: u8, who: u8, brought: Key, proven: bool) -> Action {
    Action::Open {
        session: session(n),
        user: user(who),
        key: brought,
        identity: Identity::of(proven),
        device: None,
        gateway: Incarnation::new(Uuid::from_u128(1)),
        policy: None,
        former: None,
    }
}

fn post(n: u8, who: u8, brought: Key, proven: bool) -> Action {
    Action::Send {
        user: user(who),
        key: brought,
        identity: Identity::of(proven),
        turn: None,
        request: Some(RequestId::new(Uuid::from_u128(u128::from(n)))),
        after: 0,
        id: CommandId::parse(&format!("id-{}", n % 8)).unwrap(),
        to: None,
        body: Body::Text("hello".into()),
    }
}

/// The key of a name, mostly; or another's, or a token.
fn brought() -> impl Strategy<Value = fn(u8) -> Key> {
    prop_oneof![
        6 => Just(key as fn(u8) -> Key),
        2 => Just((|n| key(n + 100)) as fn(u8) -> Key),
        1 => Just((|_| Key::vouched()) as fn(u8) -> Key),
    ]
}

fn action() -> impl Strategy<Value = Action> {
    let who = 0..6u8;
    prop_oneof![
        5 => (any::<u8>(), who.clone(), brought(), any::<bool>()).prop_map(|(n, who, brought, proven)| open(n, who, brought(who), proven)),
        5 => any::<u8>().prop_map(|n| Action::Close { session: session(n), gateway: None }),
        3 => (any::<u8>(), who.clone(), brought(), any::<bool>()).prop_map(|(n, who, brought, proven)| post(n, who, brought(who), proven)),
        2 => (any::<u8>(), who.clone(), 1..4u64).prop_map(|(n, who, number)| Action::Send {
            turn: Some(Turn { session: session(n), number }),
            request: None,
            user: user(who),
            key: key(who),
            identity: Identity::Claimed,
            after: 0,
            id: CommandId::parse(&format!("id-{}", n % 8)).unwrap(),
            to: None,
            body: Body::Text("hello".into()),
        }),
        2 => who.prop_map(|who| Action::Unpin { user: user(who) }),
        1 => Just(Action::Abandon { gateway: Incarnation::new(Uuid::from_u128(1)) }),
        1 => Just(Action::Purge),
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let save = (0..3usize, 1..8usize, 0..8usize);
    vec(
        prop_oneof![
            8 => action().prop_map(Step::Command),
            3 => save.prop_map(|(keep, most, written)| Step::Save { keep, most, written }),
            3 => Just(Step::Move),
            1 => Just(Step::Replay),
        ],
        0..150,
    )
}

/// A room with records, and the same one that has all pins in its state.
struct World {
    plain: State,
    lean: State,
    records: HashMap<(Seq, UserId), Option<Pin>>,
    snapshot: State,
    since: Vec<Event>,
    /// What moves, of which generation.
    moving: (Seq, Moving),
    at: u64,
}

impl World {
    fn new() -> Self {
        // So that names leave it soon.
        let state = State {
            sent: Window::new(2),
            ..State::default()
        };
        Self {
            plain: state.clone(),
            lean: state.clone(),
            records: HashMap::new(),
            snapshot: state,
            since: Vec::new(),
            moving: (Seq::ZERO, Moving::new()),
            at: 0,
        }
    }

    fn recorded(&self, user: &UserId) -> Option<&Pin> {
        let key = (self.lean.generation(), user.clone());
        self.records.get(&key).and_then(Option::as_ref)
    }

    fn decide(&self, command: &Command) -> Decision {
        let lacking = self.lean.lacks(&command.action);
        let known = Known {
            recorded: lacking.and_then(|user| self.recorded(user)),
            ..Known::default()
        };
        decide_knowing(&self.lean, command, known, |_, _| Ok(()))
    }

    fn command(&mut self, action: Action) -> (Decision, Decision) {
        self.at += 1;
        let command = Command {
            at: Millis(self.at),
            action,
        };
        let (expected, decision) = (decide(&self.plain, &command), self.decide(&command));
        self.plain.apply_decision(&expected, &command);
        let events = self.lean.apply_decision(&decision, &command);
        self.since.extend(events);
        (expected, decision)
    }

    fn write(&mut self, from: usize, to: usize) {
        let (generation, moving) = &self.moving;
        for (user, pin) in &moving[from..to] {
            let key = (*generation, user.clone());
            self.records.insert(key, pin.clone());
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Command(action) => {
                let (expected, decision) = self.command(action);
                assert_eq!(without_recalled(decision), expected);
            }
            Step::Save {
                keep,
                most,
                written,
            } => {
                let moving = self.lean.movable(keep, most);
                self.lean.away.is_used |= !moving.is_empty();
                self.moving = (self.lean.generation(), moving);
                self.snapshot = self.lean.clone();
                self.since.clear();
                self.lean.saved(self.lean.unjournaled.len(), true);
                self.plain.saved(self.plain.unjournaled.len(), true);
                self.write(0, written.min(self.moving.1.len()));
            }
            Step::Move => {
                self.write(0, self.moving.1.len());
                if self.moving.0 == self.lean.generation() {
                    self.lean.let_go(&self.moving.1);
                }
                self.moving.1.clear();
            }
            Step::Replay => {
                let mut replayed = self.snapshot.clone();
                self.since.iter().for_each(|event| replayed.evolve(event));
                // The commands of these are decided again.
                let carried = self.lean.unjournaled.clone();
                replayed.saved(replayed.unjournaled.len(), true);
                carried
                    .into_iter()
                    .for_each(|change| replayed.change(change));
                self.lean = replayed;
                self.moving.1.clear();
            }
        }
        self.check();
    }

    /// All that is decided with is the same, wherever the pins are.
    fn check(&self) {
        let comparable = |state: &State| State {
            pins: HashMap::new(),
            away: safe_chat::room::Away::default(),
            unjournaled: Vec::new(),
            ..state.clone()
        };
        assert_eq!(comparable(&self.lean), comparable(&self.plain));
        for user in (0..6).map(user) {
            let pin = match self.lean.may_be_away(&user) {
                true => self.recorded(&user),
                false => self.lean.pins.get(&user),
            };
            assert_eq!(pin, self.plain.pins.get(&user), "{user}");
        }
        assert_eq!(self.lean.names(), self.plain.names());
    }
}

fn without_recalled(mut decision: Decision) -> Decision {
    let is_recalled = |change: &Change| matches!(change, Change::Recalled { .. });
    decision.changes.retain(|change| !is_recalled(change));
    decision
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn where_a_key_is_changes_nothing(steps in steps()) {
        let mut world = World::new();
        steps.into_iter().for_each(|step| world.step(step));
    }

    #[test]
    fn a_state_with_records_is_stored_and_read(steps in steps(), generation in option::of(1..9u64)) {
        let mut world = World::new();
        steps.into_iter().for_each(|step| world.step(step));
        world.lean.away.stale.extend(generation.map(Seq));
        let version = snapshot_version(&world.lean);
        prop_assert!(reads_snapshot(version));
        prop_assert_eq!(version == 3, world.lean.away != safe_chat::room::Away::default());
        let read = decode_snapshot(encode_snapshot(&world.lean)).unwrap();
        prop_assert_eq!(read.away, world.lean.away);
        prop_assert_eq!(read.pins, world.lean.pins);
    }
}

#[test]
fn a_stranger_does_not_get_a_name_whose_key_is_in_a_record() {
    let mut world = World::new();
    world.command(open(1, 1, key(1), true));
    world.command(Action::Close {
        session: session(1),
        gateway: None,
    });
    let (keep, most, written) = (0, 8, 0);
    world.step(Step::Save {
        keep,
        most,
        written,
    });
    world.step(Step::Move);
    assert!(world.lean.pins.is_empty());
    let Outcome::Refused(refused) = world.command(open(2, 1, key(2), true)).1.outcome else {
        panic!("let in");
    };
    assert_eq!(refused.reason, Reason::KeyMismatch);
    assert_eq!(
        world.command(open(3, 1, key(1), true)).1.outcome,
        Outcome::Done
    );
    assert!(world.lean.pins.contains_key(&user(1)), "it is back");
}

#[test]
fn no_more_names_move_at_once_than_wanted() {
    let mut world = World::new();
    for n in 1..=5 {
        world.command(open(n, n, key(n), true));
        world.command(Action::Close {
            session: session(n),
            gateway: None,
        });
    }
    let (keep, most, written) = (1, 2, 0);
    for left in [3, 1, 1] {
        world.step(Step::Save {
            keep,
            most,
            written,
        });
        world.step(Step::Move);
        assert_eq!(world.lean.pins.len(), left);
    }
}

#[test]
fn a_key_that_was_proven_after_the_snapshot_is_not_let_go_with_it() {
    let mut world = World::new();
    let close = |n| Action::Close {
        session: session(n),
        gateway: None,
    };
    world.command(open(1, 1, key(1), false));
    world.command(close(1));
    let (keep, most, written) = (0, 8, 0);
    world.step(Step::Save {
        keep,
        most,
        written,
    });
    world.command(open(2, 1, key(1), true));
    world.command(close(2));
    world.step(Step::Move);
    assert!(world.lean.pins[&user(1)].identity.is_proven());
    world.step(Step::Save {
        keep,
        most,
        written,
    });
    world.step(Step::Move);
    assert!(world.lean.pins.is_empty());
}

#[test]
fn a_full_room_refuses_new_names_and_no_others() {
    let mut state = State::default();
    let mut enact = |action, most_names| {
        let command = Command {
            at: Millis(1),
            action,
        };
        let known = Known {
            most_names,
            ..Known::default()
        };
        let decision = decide_knowing(&state, &command, known, |_, _| Ok(()));
        state.apply_decision(&decision, &command);
        match decision.outcome {
            Outcome::Refused(refused) => Some(refused.reason),
            _ => None,
        }
    };
    assert_eq!(enact(open(1, 1, key(1), true), 2), None);
    assert_eq!(enact(post(1, 2, key(2), true), 2), None);
    let full = Some(Reason::RateLimited);
    assert_eq!(enact(open(2, 3, key(3), true), 2), full);
    assert_eq!(enact(post(3, 4, key(4), true), 2), full);
    assert_eq!(enact(open(4, 2, key(2), true), 2), None);
    assert_eq!(
        enact(open(5, 5, Key::vouched(), true), 2),
        None,
        "a token pins nothing"
    );
    // The same command, read again, is answered alike.
    assert_eq!(enact(open(2, 3, key(3), true), 9), full);
}
