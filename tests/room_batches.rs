//! What the batches of gateways do to a room: each is taken once, in order, whatever came before.

use safe_chat::room::{
    Action, BatchMessage, Body, Change, Command, CommandId, Event, Identity, Incarnation, Key,
    Limits, Millis, Outcome, Producer, ProducerSeq, Reason, Seq, SessionId, State, Turn, UserId,
    decide,
};
use uuid::Uuid;

fn session(n: u8) -> SessionId {
    SessionId::new(Uuid::from_u128(1000 + u128::from(n)))
}

fn gateway(n: u8) -> Incarnation {
    Incarnation::new(Uuid::from_u128(u128::from(n)))
}

fn user(n: u8) -> UserId {
    UserId::parse(&format!("user-{n}")).unwrap()
}

fn key(n: u8) -> Key {
    Key::parse(&format!("key-{n}")).unwrap()
}

fn open_for_batches(state: &mut State) {
    apply(
        state,
        Action::Open {
            session: session(1),
            user: user(0),
            key: key(0),
            identity: Identity::Claimed,
            device: None,
            gateway: gateway(1),
            policy: None,
            former: None,
        },
    );
}

fn apply(state: &mut State, action: Action) -> (Vec<Event>, Outcome) {
    let at = Millis(1);
    let command = Command { at, action };
    let decision = decide(state, &command);
    (state.apply_decision(&decision, &command), decision.outcome)
}

/// Messages `numbers` of session 1 of gateway 1, each with the id of its number.
fn batch_of(generation: u64, sequence: u64, numbers: &[u64]) -> Action {
    batch_from(gateway(1), generation, sequence, numbers)
}

fn batch_from(from: Incarnation, generation: u64, sequence: u64, numbers: &[u64]) -> Action {
    let producer = Producer {
        gateway: from,
        generation,
    };
    let message = |number: &u64| BatchMessage {
        turn: Turn {
            session: session(1),
            number: *number,
        },
        user: user(0),
        id: CommandId::parse(&format!("id-{number}")).unwrap(),
        to: None,
        body: Body::Text("hello".into()),
    };
    Action::Batch {
        from: ProducerSeq { producer, sequence },
        messages: numbers.iter().map(message).collect(),
    }
}

#[test]
fn a_batch_is_taken_once_and_only_after_the_one_before() {
    let mut state = State::default();
    open_for_batches(&mut state);
    let out_of_order = |expected| Outcome::OutOfOrder { expected };
    let (events, outcome) = apply(&mut state, batch_of(1, 2, &[3]));
    assert_eq!((events.len(), outcome), (0, out_of_order(1)));
    let (events, outcome) = apply(&mut state, batch_of(1, 1, &[1, 2]));
    assert_eq!(outcome, Outcome::Batch(vec![Outcome::Done, Outcome::Done]));
    let carries = |event: &Event| matches!(event.changes[..], [Change::BatchTaken { .. }]);
    assert_eq!(
        events.iter().map(carries).collect::<Vec<_>>(),
        [false, true]
    );
    let (events, outcome) = apply(&mut state, batch_of(1, 1, &[1, 2]));
    let placed = [2, 3].map(|seq| Outcome::Redelivered(Seq(seq)));
    assert_eq!((events.len(), outcome), (0, Outcome::Batch(placed.into())));
    let (events, _) = apply(&mut state, batch_of(1, 2, &[3]));
    assert_eq!(events.len(), 1);
    // Another generation begins with its first; then the one before is over.
    assert_eq!(apply(&mut state, batch_of(2, 2, &[5])).1, out_of_order(1));
    assert_eq!(apply(&mut state, batch_of(2, 1, &[4])).0.len(), 1);
    assert_eq!(apply(&mut state, batch_of(1, 3, &[5])).0.len(), 0);
}

/// Its owner died between two commits that hold the batch.
#[test]
fn the_rest_of_a_batch_is_placed_by_the_next_owner() {
    let mut state = State::default();
    open_for_batches(&mut state);
    let mut replayed = state.clone();
    replayed.saved(replayed.unjournaled.len(), true);
    let (events, _) = apply(&mut state, batch_of(1, 1, &[1, 2, 3]));
    events[..2].iter().for_each(|event| replayed.evolve(event));
    let (rest, outcome) = apply(&mut replayed, batch_of(1, 1, &[1, 2, 3]));
    let placed = [2, 3].map(|seq| Outcome::Redelivered(Seq(seq)));
    let expected = placed.into_iter().chain([Outcome::Done]).collect();
    assert_eq!(outcome, Outcome::Batch(expected));
    assert_eq!(rest, events[2..]);
    assert_eq!(replayed.producers, state.producers);
}

#[test]
fn a_repetition_in_a_batch_keeps_its_answer_when_the_window_has_forgotten_it() {
    let mut state = State::default();
    open_for_batches(&mut state);
    apply(&mut state, batch_of(1, 1, &[1]));
    let mut again = batch_of(1, 2, &[2]);
    let Action::Batch { messages, .. } = &mut again else {
        unreachable!()
    };
    let mut message = messages[0].clone();
    message.id = CommandId::parse("id-1").unwrap();
    *messages = [message].into();
    let repeated = Outcome::Batch(vec![Outcome::Repeated(Seq(2))]);
    assert_eq!(apply(&mut state, again.clone()).1, repeated);
    let more: Vec<u64> = (100..100 + Limits::WINDOW as u64).collect();
    for (sequence, numbers) in (3..).zip(more.chunks(Limits::BATCH)) {
        apply(&mut state, batch_of(1, sequence, numbers));
    }
    assert_eq!(apply(&mut state, again).1, repeated);
    let long_ago = Outcome::Batch(vec![Outcome::DuplicateUnknownSeq]);
    assert_eq!(apply(&mut state, batch_of(1, 1, &[1])).1, long_ago);
}

#[test]
fn no_gateway_speaks_for_a_session_of_another() {
    let mut state = State::default();
    open_for_batches(&mut state);
    let stranger = batch_from(gateway(2), 1, 1, &[1]);
    let (events, Outcome::Batch(outcomes)) = apply(&mut state, stranger) else {
        panic!("a batch")
    };
    assert!(events.is_empty());
    assert!(matches!(&outcomes[0], Outcome::Refused(why) if why.reason == Reason::NotMember));
}

/// A room that has forgotten its gateway places nothing twice: the session knows how far it is.
#[test]
fn a_batch_of_a_forgotten_producer_is_not_placed_again() {
    let mut state = State::default();
    open_for_batches(&mut state);
    apply(&mut state, batch_of(1, 1, &[1]));
    for n in 0..Limits::PRODUCERS as u128 {
        let gateway = Incarnation::new(Uuid::from_u128(1_000 + n));
        apply(&mut state, batch_from(gateway, 1, 1, &[1]));
    }
    let more: Vec<u64> = (0..2 * Limits::WINDOW as u64).collect();
    let send = |n: &u64| Action::Send {
        user: user(1),
        key: key(1),
        identity: Identity::Claimed,
        turn: None,
        request: None,
        after: 0,
        id: CommandId::parse(&format!("post-{n}")).unwrap(),
        to: None,
        body: Body::Text("hello".into()),
    };
    for n in &more {
        apply(&mut state, send(n));
    }
    let (events, outcome) = apply(&mut state, batch_of(1, 1, &[1]));
    assert_eq!(events, []);
    assert_eq!(outcome, Outcome::Batch(vec![Outcome::DuplicateUnknownSeq]));
}
