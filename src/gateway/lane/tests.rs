//! The state machine: its table, and what holds whatever a bus does to it.

mod handshakes;
mod instructions_tests;
mod property;

use super::{
    batch::{BatchId, Outgoing},
    state::{Effect, Failure, Form, New, State, Step},
};
use crate::{
    bus::{Answered, BatchOutcome, MessageOutcome, OfBatch},
    room::{
        Body, CommandId, Epoch, Incarnation, Limits, ProducerSeq, Reason, Rejection, Seq,
        SessionId, Turn, UserId,
    },
};
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;
use uuid::Uuid;

type Lane = State<String>;

const PATIENCE: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_millis(50);
const FORM: Form = Form {
    batches: true,
    bytes: 1024 * 1024,
};
const SINGLE: Form = Form {
    batches: false,
    ..FORM
};

fn session(n: u64) -> SessionId {
    SessionId::new(Uuid::from_u128(n.into()))
}

fn turn(of: u64, number: u64) -> Turn {
    let session = session(of);
    Turn { session, number }
}

fn lane() -> Lane {
    State::new(Incarnation::new(Uuid::from_u128(0xaaa)), Arc::default())
}

/// Session `of` says `id`, so many bytes.
fn say_bytes(lane: &mut Lane, of: u64, id: &str, bytes: usize) -> Result<(), Reason> {
    say_body(lane, of, id, Body::Text("x".repeat(bytes).into()))
}

fn say_body(lane: &mut Lane, of: u64, id: &str, body: Body) -> Result<(), Reason> {
    let new = New {
        session: session(of),
        user: UserId::parse(&format!("user-{of}")).unwrap(),
        id: CommandId::parse(id),
        to: None,
        body,
    };
    let pushed = lane.push(new, || Ok(()), |id| id.shown().unwrap().to_owned());
    pushed.map_err(|rejection| rejection.reason)
}

fn say(lane: &mut Lane, of: u64, id: &str) {
    say_bytes(lane, of, id, 5).unwrap();
}

/// Session `of` says a handshake.
fn shake(lane: &mut Lane, of: u64, id: &str) {
    say_body(lane, of, id, Body::Handshake(vec![1; 9].into())).unwrap();
}

/// The ids of what is submitted now, and which batch it is.
fn submit(lane: &mut Lane, now: Instant) -> (BatchId, Vec<String>) {
    match lane.step(now, FORM) {
        Step::Submit(id, Outgoing::Batch(from, messages)) => {
            let ProducerSeq { producer, sequence } = from;
            assert_eq!(
                (id.generation, id.sequence),
                (producer.generation, sequence)
            );
            let ids = messages.iter().map(|message| message.id.shown().unwrap());
            (id, ids.map(str::to_owned).collect())
        }
        other => panic!("{other:?}"),
    }
}

fn stored(lane: &mut Lane, id: BatchId, now: Instant) -> Vec<String> {
    let effects = lane.stored(id, now, PATIENCE).into_iter();
    effects
        .filter_map(|effect| match effect {
            Effect::Accepted(tag) => Some(tag),
            _ => None,
        })
        .collect()
}

/// The event of a message of session `of` is seen, and is the last of the room.
fn seen(lane: &mut Lane, of: u64, number: u64, seq: u64) -> Vec<Effect<String>> {
    let event = [(turn(of, number), Seq(seq))];
    lane.seen(event.into_iter(), Epoch(1), Seq(seq))
}

fn outcome(lane: &mut Lane, id: BatchId, outcome: BatchOutcome, head: u64) -> Vec<Effect<String>> {
    let of = OfBatch {
        generation: id.generation,
        sequence: id.sequence,
        outcome,
    };
    lane.outcome(of, Seq(head), Instant::now())
}

/// What was refused, and why.
fn refused(effects: &[Effect<String>]) -> Vec<(&str, Reason)> {
    let refused = effects.iter().filter_map(|effect| match effect {
        Effect::Rejected { tag, rejection, .. } => Some((tag.as_str(), rejection.reason)),
        _ => None,
    });
    refused.collect()
}

/// What is in the room, and whether as a duplicate.
fn journaled(effects: &[Effect<String>]) -> Vec<(&str, u64, bool)> {
    let journaled = effects.iter().filter_map(|effect| match effect {
        Effect::Journaled {
            tag,
            seq,
            duplicate,
            ..
        } => Some((tag.as_str(), seq.0, *duplicate)),
        _ => None,
    });
    journaled.collect()
}

#[test]
fn what_comes_while_a_submission_is_on_its_way_goes_with_the_next_one() {
    let (mut lane, now) = (lane(), Instant::now());
    assert_eq!(lane.step(now, FORM), Step::Idle);
    say(&mut lane, 1, "a");
    let (first, ids) = submit(&mut lane, now);
    assert_eq!(ids, ["a"]);
    for (of, id) in [(2, "b"), (1, "c"), (2, "d")] {
        say(&mut lane, of, id);
    }
    assert_eq!(stored(&mut lane, first, now), ["a"]);
    let (second, ids) = submit(&mut lane, now);
    assert_eq!(ids, ["b", "c", "d"], "in the order in which they came");
    assert_eq!(second.sequence, first.sequence + 1);
    stored(&mut lane, second, now);
    assert_eq!(lane.step(now, FORM), Step::Wait(Some(now + PATIENCE)));
    assert_eq!(journaled(&seen(&mut lane, 1, 1, 7)), [("a", 7, false)]);
    for (of, number, seq) in [(2, 1, 8), (1, 2, 9), (2, 2, 10)] {
        assert_eq!(seen(&mut lane, of, number, seq).len(), 1);
    }
    assert_eq!(lane.step(now, FORM), Step::Idle);
}

#[test]
fn a_batch_is_bounded_and_a_large_message_goes_alone() {
    let (mut lane, now) = (lane(), Instant::now());
    for n in 0..Limits::BATCH + 1 {
        say(&mut lane, n as u64, &format!("m{n}"));
    }
    let (id, ids) = submit(&mut lane, now);
    assert_eq!(ids.len(), Limits::BATCH);
    stored(&mut lane, id, now);
    let (id, ids) = submit(&mut lane, now);
    assert_eq!(ids.len(), 1);
    stored(&mut lane, id, now);
    for (of, bytes) in [(1, 60_000), (2, 60_000), (3, 60_000), (4, 200_000), (5, 5)] {
        say_bytes(&mut lane, of, &format!("large-{of}"), bytes).unwrap();
    }
    let mut sizes = Vec::new();
    while sizes.iter().sum::<usize>() < 5 {
        let (id, ids) = submit(&mut lane, now);
        sizes.push(ids.len());
        stored(&mut lane, id, now);
    }
    assert_eq!(sizes, [2, 1, 1, 1]);
}

#[test]
fn a_session_may_have_only_so_much_without_an_answer() {
    let mut lane = lane();
    for n in 0..1024 {
        say(&mut lane, 1, &format!("m{n}"));
    }
    assert_eq!(say_bytes(&mut lane, 1, "more", 5), Err(Reason::Busy));
    assert_eq!(say_bytes(&mut lane, 2, "huge", 2_000_000), Ok(()));
    assert_eq!(say_bytes(&mut lane, 2, "more", 5), Err(Reason::Busy));
    let now = Instant::now();
    let (id, _) = submit(&mut lane, now);
    stored(&mut lane, id, now);
    seen(&mut lane, 1, 1, 1);
    assert_eq!(say_bytes(&mut lane, 1, "more", 5), Ok(()));
}

#[test]
fn a_batch_that_is_sent_again_is_the_same() {
    let (mut lane, mut now) = (lane(), Instant::now());
    say(&mut lane, 1, "a");
    say(&mut lane, 2, "b");
    let first = lane.step(now, FORM);
    let (id, _) = submit(&mut lane, now);
    say(&mut lane, 1, "c");
    for failure in [Failure::NotStored, Failure::Unknown, Failure::Full] {
        assert_eq!(lane.failed(id, failure, now, PAUSE), []);
        assert_eq!(
            lane.step(now, FORM),
            Step::Wait(Some(now + PAUSE)),
            "nothing overtakes it"
        );
        now += PAUSE;
        assert_eq!(lane.step(now, FORM), first);
    }
    stored(&mut lane, id, now);
    // An answer of one, and the end of another's session, change nothing of it either.
    seen(&mut lane, 1, 1, 3);
    let (next, _) = submit(&mut lane, now);
    stored(&mut lane, next, now);
    assert_eq!(
        lane.step(now + PATIENCE, FORM),
        first,
        "its answers are late"
    );
}

#[test]
fn the_number_of_a_batch_that_was_never_stored_is_free_again() {
    for (failure, reason) in [
        (Failure::Full, Reason::Busy),
        (Failure::TooLarge, Reason::Unavailable),
    ] {
        let (mut lane, now) = (lane(), Instant::now());
        say(&mut lane, 1, "a");
        let (id, _) = submit(&mut lane, now);
        let effects = lane.failed(id, failure, now, PAUSE);
        assert_eq!(refused(&effects), [("a", reason)]);
        say(&mut lane, 1, "b");
        assert_eq!(submit(&mut lane, now), (id, vec!["b".to_owned()]));
    }
}

#[test]
fn after_a_batch_that_may_be_stored_is_given_up_a_new_generation_begins() {
    for (failure, from) in [
        (Failure::TooLarge, 0),
        (Failure::NotStored, 15),
        (Failure::Unknown, 15),
    ] {
        let (mut lane, now) = (lane(), Instant::now());
        say(&mut lane, 1, "a");
        let (id, _) = submit(&mut lane, now);
        assert_eq!(lane.failed(id, Failure::Unknown, now, PAUSE), []);
        let later = now + Duration::from_secs(from);
        let effects = lane.failed(id, failure, later, PAUSE);
        assert_eq!(refused(&effects).len(), 1);
        say(&mut lane, 1, "b");
        let (next, _) = submit(&mut lane, later);
        assert!(next.generation > id.generation && next.sequence == 1);
    }
}

#[test]
fn a_batch_too_large_is_halved() {
    let (mut lane, now) = (lane(), Instant::now());
    ["a", "b", "c", "d"]
        .into_iter()
        .for_each(|id| say(&mut lane, 1, id));
    let (id, _) = submit(&mut lane, now);
    assert_eq!(lane.failed(id, Failure::TooLarge, now, PAUSE), []);
    assert_eq!(submit(&mut lane, now), (id, vec!["a".into(), "b".into()]));
    stored(&mut lane, id, now);
    assert_eq!(submit(&mut lane, now).1, ["c", "d"]);
}

/// The servers cut the connection at first, and then say why.
#[test]
fn one_that_is_too_large_refuses_no_other() {
    let (mut lane, now) = (lane(), Instant::now());
    for id in ["before", "large", "small"] {
        say(&mut lane, 1, id);
    }
    let (first, _) = submit(&mut lane, now);
    assert_eq!(lane.failed(first, Failure::Unknown, now, PAUSE), []);
    say(&mut lane, 1, "after");
    assert_eq!(lane.failed(first, Failure::TooLarge, now, PAUSE), []);
    let (mut last, mut kept, mut no) = (first, Vec::new(), Vec::new());
    while kept.len() < 3 {
        let (id, ids) = submit(&mut lane, now);
        assert!(id > last, "no number for two batches");
        last = id;
        if ids.iter().any(|id| id == "large") {
            let effects = lane.failed(id, Failure::TooLarge, now, PAUSE);
            let why = refused(&effects);
            no.extend(why.iter().map(|(id, reason)| ((*id).to_owned(), *reason)));
        } else {
            stored(&mut lane, id, now);
            kept.extend(ids);
        }
    }
    assert_eq!(kept, ["before", "small", "after"]);
    assert_eq!(no, [("large".to_owned(), Reason::Unavailable)]);
}

/// `busy` says that a message is not in the room.
#[test]
fn what_may_be_stored_in_a_larger_batch_is_never_refused_as_busy() {
    let (mut lane, now) = (lane(), Instant::now());
    ["a", "b"].into_iter().for_each(|id| say(&mut lane, 1, id));
    let (id, _) = submit(&mut lane, now);
    lane.failed(id, Failure::Unknown, now, PAUSE);
    lane.failed(id, Failure::TooLarge, now, PAUSE);
    let (half, ids) = submit(&mut lane, now);
    assert_eq!(ids, ["a"]);
    assert_eq!(lane.failed(half, Failure::Full, now, PAUSE), []);
}

/// The second of two batches waits for its answers when the first, which the bus lost, is given up.
#[test]
fn what_is_behind_a_batch_that_is_given_up_goes_on_without_it() {
    let (mut lane, now) = (lane(), Instant::now());
    let ids = ["a", "b"].map(|id| {
        say(&mut lane, 1, id);
        let (batch, _) = submit(&mut lane, now);
        stored(&mut lane, batch, now);
        batch
    });
    let effects = lane.failed(ids[0], Failure::TooLarge, now, PAUSE);
    assert_eq!(refused(&effects), [("a", Reason::Unavailable)]);
    let (next, what) = submit(&mut lane, now);
    assert!(next.generation > ids[1].generation && what == ["b"]);
}

/// The bus lost the first two of three.
#[test]
fn what_the_bus_lost_is_sent_again_in_order() {
    let (mut lane, now) = (lane(), Instant::now());
    let ids = ["a", "b", "c"].map(|id| {
        say(&mut lane, 1, id);
        let (batch, _) = submit(&mut lane, now);
        stored(&mut lane, batch, now);
        batch
    });
    say(&mut lane, 1, "d");
    let lost = BatchOutcome::OutOfOrder {
        expected: ids[0].sequence,
    };
    assert_eq!(outcome(&mut lane, ids[2], lost, 0), []);
    let later = Instant::now();
    for expected in ["a", "b", "c", "d"] {
        let (batch, ids) = submit(&mut lane, later);
        assert_eq!(ids, [expected]);
        stored(&mut lane, batch, later);
    }
}

/// The room wants a batch of which this lane has the answers: it has gone back.
#[test]
fn what_can_never_be_taken_is_refused_once_that_is_sure() {
    let (mut lane, now) = (lane(), Instant::now());
    say(&mut lane, 1, "a");
    let (first, _) = submit(&mut lane, now);
    stored(&mut lane, first, now);
    seen(&mut lane, 1, 1, 5);
    say(&mut lane, 1, "b");
    let (second, _) = submit(&mut lane, now);
    stored(&mut lane, second, now);
    let lost = || BatchOutcome::OutOfOrder {
        expected: first.sequence,
    };
    for _ in 0..2 {
        assert_eq!(
            outcome(&mut lane, second, lost(), 5),
            [],
            "it may be an old word"
        );
        let (again, _) = submit(&mut lane, Instant::now());
        assert_eq!(again, second);
        stored(&mut lane, again, now);
    }
    let effects = outcome(&mut lane, second, lost(), 5);
    assert_eq!(refused(&effects), [("b", Reason::Unavailable)]);
    say(&mut lane, 1, "c");
    let (third, _) = submit(&mut lane, now);
    assert!(third.generation > second.generation && third.sequence == 1);
}

#[test]
fn only_the_own_event_or_the_owner_answers() {
    let (mut lane, now) = (lane(), Instant::now());
    ["a", "b", "c", "d"]
        .into_iter()
        .for_each(|id| say(&mut lane, 1, id));
    let (id, _) = submit(&mut lane, now);
    stored(&mut lane, id, now);
    assert_eq!(seen(&mut lane, 2, 1, 4), [], "of another session");
    assert_eq!(seen(&mut lane, 1, 9, 5), [], "of another message");
    let repeated = Answered::Journaled {
        seq: Seq(3),
        epoch: Epoch(1),
        duplicate: true,
    };
    let no = Answered::Rejected(Rejection::new(Reason::KeyMismatch, "no"));
    let messages = vec![
        (0, MessageOutcome::Answered(repeated)),
        (2, MessageOutcome::Answered(no)),
        (3, MessageOutcome::DecidedBy(Seq(8))),
        (99, MessageOutcome::DecidedBy(Seq(8))),
    ];
    let effects = outcome(&mut lane, id, BatchOutcome::Messages(messages), 5);
    assert_eq!(journaled(&effects), [("a", 3, true)]);
    assert_eq!(refused(&effects), [("c", Reason::KeyMismatch)]);
    assert_eq!(journaled(&seen(&mut lane, 1, 2, 6)), [("b", 6, false)]);
    assert_eq!(lane.reached(Seq(7)), [], "its event may follow");
    assert_eq!(refused(&lane.reached(Seq(8))), [("d", Reason::Unavailable)]);
    assert_eq!(lane.step(now, FORM), Step::Idle);
}

#[test]
fn an_answer_for_another_generation_says_nothing() {
    let (mut lane, now) = (lane(), Instant::now());
    say(&mut lane, 1, "a");
    let (id, _) = submit(&mut lane, now);
    stored(&mut lane, id, now);
    let other = BatchId {
        generation: id.generation + 1,
        ..id
    };
    let no = BatchOutcome::Refused(Rejection::new(Reason::Unavailable, "no"));
    assert_eq!(outcome(&mut lane, other, no.clone(), 9), []);
    assert_eq!(refused(&outcome(&mut lane, id, no, 9)).len(), 1);
}

#[test]
fn a_message_that_is_sent_again_while_it_waits_is_one_message() {
    let (mut lane, now) = (lane(), Instant::now());
    ["a", "a", "b", "a"]
        .into_iter()
        .for_each(|id| say(&mut lane, 1, id));
    assert_eq!(submit(&mut lane, now).1, ["a", "b"]);
    let [Effect::Journaled { repeats: 2, .. }] = seen(&mut lane, 1, 1, 4)[..] else {
        panic!("answered three times")
    };
}

#[test]
fn a_session_that_left_gets_nothing_and_the_last_one_ends_the_numbers() {
    let (mut lane, now) = (lane(), Instant::now());
    say(&mut lane, 1, "a");
    say(&mut lane, 2, "b");
    assert!(!lane.is_stored(session(1)));
    let (id, _) = submit(&mut lane, now);
    stored(&mut lane, id, now);
    assert!(lane.is_stored(session(1)));
    say(&mut lane, 1, "c");
    assert!(!lane.is_stored(session(1)) && lane.is_stored(session(2)));
    lane.leave(session(1));
    assert_eq!(seen(&mut lane, 1, 1, 4), []);
    assert_eq!(journaled(&seen(&mut lane, 2, 1, 5)), [("b", 5, false)]);
    assert_eq!(
        lane.step(now, FORM),
        Step::Idle,
        "what it had not sent goes with it"
    );
    say(&mut lane, 2, "d");
    assert_eq!(submit(&mut lane, now).0.sequence, id.sequence + 1);
    lane.leave(session(2));
    say(&mut lane, 3, "e");
    let (after, _) = submit(&mut lane, now);
    assert!(after.generation > id.generation && after.sequence == 1);
}

#[test]
fn a_bus_that_keeps_nothing_refuses_everything() {
    let (mut lane, now) = (lane(), Instant::now());
    say(&mut lane, 1, "a");
    let (id, _) = submit(&mut lane, now);
    stored(&mut lane, id, now);
    ["b", "c"].into_iter().for_each(|id| say(&mut lane, 1, id));
    let effects = lane.give_up(&Rejection::new(Reason::Unavailable, "no"));
    let expected = ["a", "b", "c"].map(|id| (id, Reason::Unavailable));
    assert_eq!(refused(&effects), expected);
    assert_eq!(lane.step(now, FORM), Step::Idle);
}

/// As long as a node does not read batches: one message of a session at a time, and no batch before
/// the last of them is answered.
#[test]
fn nodes_of_before_get_single_messages() {
    let (mut lane, now) = (lane(), Instant::now());
    for (of, id) in [(1, "a"), (1, "b"), (2, "c")] {
        say(&mut lane, of, id);
    }
    let single = |lane: &mut Lane| match lane.step(now, SINGLE) {
        Step::Submit(id, Outgoing::Single(tag, message)) => {
            assert_eq!(Some(tag.as_str()), message.id.shown());
            lane.stored(id, now, PATIENCE);
            Some(tag)
        }
        _ => None,
    };
    let sent = [(); 3].map(|()| single(&mut lane));
    assert_eq!(sent, [Some("a".into()), Some("c".into()), None]);
    assert!(matches!(lane.step(now, FORM), Step::Wait(Some(_))));
    seen(&mut lane, 1, 1, 3);
    let answered = Answered::Journaled {
        seq: Seq(4),
        epoch: Epoch(1),
        duplicate: false,
    };
    assert_eq!(lane.answered(turn(2, 1), answered).len(), 1);
    assert_eq!(submit(&mut lane, now).1, ["b"]);
}
