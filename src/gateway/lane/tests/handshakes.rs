//! Handshakes in a lane: they hold up nobody but their own session.

use super::*;

/// Submits and stores what comes next; its ids, and the time after it.
fn pass(lane: &mut Lane, now: Instant) -> Vec<String> {
    let (id, ids) = submit(lane, now);
    stored(lane, id, now);
    ids
}

#[test]
fn a_handshake_ends_its_batch_and_what_others_say_goes_before_it() {
    let (mut lane, now) = (lane(), Instant::now());
    say(&mut lane, 1, "a");
    shake(&mut lane, 1, "h1");
    say(&mut lane, 1, "b");
    shake(&mut lane, 2, "h2");
    say(&mut lane, 3, "c");
    assert_eq!(pass(&mut lane, now), ["a", "c", "h1"]);
    say(&mut lane, 3, "d");
    assert_eq!(pass(&mut lane, now), ["b", "d", "h2"]);
    assert!(matches!(lane.step(now, FORM), Step::Wait(Some(_))));
}

/// Each has one under way until it is answered, and sessions take turns.
#[test]
fn whoever_floods_a_lane_with_handshakes_holds_up_itself() {
    let (mut lane, now) = (lane(), Instant::now());
    for n in 0..50 {
        for of in 1..9 {
            shake(&mut lane, of, &format!("h{of}-{n}"));
        }
    }
    say(&mut lane, 1, "behind");
    assert_eq!(pass(&mut lane, now), ["h1-0"]);
    say(&mut lane, 9, "hello");
    shake(&mut lane, 9, "h9");
    assert_eq!(pass(&mut lane, now), ["hello", "h2-0"]);
    // The eight have one under way each; then it is the turn of the ninth.
    for of in 3..9 {
        assert_eq!(pass(&mut lane, now), [format!("h{of}-0")]);
    }
    assert_eq!(pass(&mut lane, now), ["h9"]);
    assert!(matches!(lane.step(now, FORM), Step::Wait(Some(_))));
    assert!(!lane.is_stored(session(1)) && lane.is_stored(session(9)));
    seen(&mut lane, 3, 1, 7);
    assert_eq!(pass(&mut lane, now), ["h3-1"]);
}

/// A full batch leaves no space for it: then it is the next one, alone.
#[test]
fn messages_do_not_hold_up_a_handshake_for_ever() {
    let (mut lane, now) = (lane(), Instant::now());
    shake(&mut lane, 1, "h");
    for n in 0..3 * Limits::BATCH {
        say(&mut lane, 2 + n as u64 % 3, &format!("m{n}"));
    }
    assert_eq!(pass(&mut lane, now).len(), Limits::BATCH);
    assert_eq!(pass(&mut lane, now), ["h"]);
    assert_eq!(pass(&mut lane, now).len(), Limits::BATCH);
}

#[test]
fn what_goes_again_keeps_the_order_of_its_session() {
    let (mut lane, now) = (lane(), Instant::now());
    for id in ["a", "b"] {
        say(&mut lane, 1, id);
    }
    shake(&mut lane, 1, "h");
    say(&mut lane, 1, "c");
    let (id, ids) = submit(&mut lane, now);
    assert_eq!(ids, ["a", "b", "h"]);
    let effects = lane.failed(id, Failure::TooLarge, now, PAUSE);
    assert_eq!(effects, []);
    let mut said = Vec::new();
    while said.len() < 4 {
        let (id, ids) = submit(&mut lane, now);
        assert!(ids.len() < 3, "it was halved: {ids:?}");
        stored(&mut lane, id, now);
        said.extend(ids);
    }
    assert_eq!(said, ["a", "b", "h", "c"]);
}

/// It was stored although nobody said so, and halved because it is too large.
#[test]
fn what_is_behind_a_handshake_goes_on_when_that_is_answered_while_it_waits() {
    let (mut lane, now) = (lane(), Instant::now());
    say(&mut lane, 1, "a");
    shake(&mut lane, 1, "h");
    say(&mut lane, 1, "b");
    let (id, ids) = submit(&mut lane, now);
    assert_eq!(ids, ["a", "h"]);
    lane.failed(id, Failure::Unknown, now, PAUSE);
    let (id, _) = submit(&mut lane, now + PAUSE);
    lane.failed(id, Failure::TooLarge, now + PAUSE, PAUSE);
    let answered = seen(&mut lane, 1, 1, 4);
    assert_eq!(journaled(&answered), [("a", 4, false)]);
    let answered = seen(&mut lane, 1, 2, 5);
    assert_eq!(journaled(&answered), [("h", 5, false)]);
    assert_eq!(pass(&mut lane, now + PAUSE), ["b"]);
    shake(&mut lane, 1, "h2");
    assert_eq!(pass(&mut lane, now + PAUSE), ["h2"]);
}

#[test]
fn a_session_that_left_leaves_no_turn_behind() {
    let (mut lane, now) = (lane(), Instant::now());
    shake(&mut lane, 1, "h1");
    shake(&mut lane, 2, "h2");
    lane.leave(session(1));
    assert_eq!(pass(&mut lane, now), ["h2"]);
    shake(&mut lane, 2, "h3");
    let effects = lane.give_up(&Rejection::new(Reason::Unavailable, "no"));
    assert_eq!(refused(&effects).len(), 2);
    assert_eq!(lane.step(now, FORM), Step::Idle);
}
