//! What deciding takes, in instructions.

use super::{
    Action, BatchMessage, Body, Command, CommandId, Identity, Incarnation, Key, Millis, Outcome,
    Producer, ProducerSeq, SessionId, State, Turn, UserId, decide,
};
use crate::instructions;
use uuid::Uuid;

/// Members of the room.
const MEMBERS: u64 = 100;

fn session(n: u64) -> SessionId {
    SessionId::new(Uuid::from_u128(u128::from(n)))
}

fn user(n: u64) -> UserId {
    UserId::parse(&format!("user-{n}")).unwrap()
}

fn gateway() -> Incarnation {
    Incarnation::new(Uuid::from_u128(0xaaa))
}

fn apply(state: &mut State, action: Action) -> Outcome {
    let at = Millis(1_700_000_000_000);
    let command = Command { at, action };
    let decision = decide(state, &command);
    state.apply_decision(&decision, &command);
    decision.outcome
}

fn room() -> State {
    let mut state = State::default();
    for n in 0..MEMBERS {
        let opened = Action::Open {
            session: session(n),
            user: user(n),
            key: Key::parse("key").unwrap(),
            identity: Identity::Claimed,
            device: None,
            gateway: gateway(),
            policy: None,
            former: None,
        };
        assert_eq!(apply(&mut state, opened), Outcome::Done);
    }
    state
}

/// A batch of so many messages of different members.
fn batch(sequence: u64, messages: u64) -> Action {
    let producer = Producer {
        gateway: gateway(),
        generation: 1,
    };
    let message = |n: u64| BatchMessage {
        turn: Turn {
            session: session(n),
            number: sequence,
        },
        user: user(n),
        id: CommandId::parse(&format!("{sequence}-{n}")).unwrap(),
        to: None,
        body: Body::Text("x".repeat(256).into()),
    };
    Action::Batch {
        from: ProducerSeq { producer, sequence },
        messages: (0..messages).map(message).collect(),
    }
}

/// Decides a batch of so many messages behind another one.
fn deciding(messages: u64) -> impl FnOnce() -> (State, Outcome) {
    let mut state = room();
    apply(&mut state, batch(1, MEMBERS));
    let next = batch(2, messages);
    move || {
        let outcome = apply(&mut state, next);
        (state, outcome)
    }
}

#[test]
fn one_message_is_decided() {
    instructions::check(module_path!(), "one_message_is_decided", || deciding(1));
}

#[test]
fn a_burst_of_8_is_decided() {
    instructions::check(module_path!(), "a_burst_of_8_is_decided", || deciding(8));
}
