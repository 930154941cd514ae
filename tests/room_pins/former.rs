//! A key that signed that another one takes its place.

use super::{change, decided::Room, harry, key, open, post, session};
use safe_chat::room::{
    Action,
    Identity::{Claimed, Proven},
    Kind, Outcome, Reason, decide,
};

#[test]
fn a_key_that_its_former_one_signed_takes_the_name_and_the_room_sees_it() {
    let mut room = Room::default();
    room.take(open(1, 1, Proven));
    room.take(open(2, 1, Proven));
    assert_eq!(room.take(change(3, 1, 2)), Outcome::Done);
    assert_eq!(room.pin(), Some((key(2), Proven)));
    assert_eq!(room.state.sessions.of(&harry()), [session(3)]);
    assert_eq!(room.kinds(), ["joined", "left", "unpinned", "joined"]);
    let said = &room.events[2].kind;
    assert!(matches!(said, Kind::Unpinned { changed: true, .. }));
    // The former key is anybody's now, and takes nothing back.
    assert_eq!(room.refused(open(4, 1, Proven)), Reason::KeyMismatch);
    assert_eq!(room.refused(post(1, 1, Proven)), Reason::KeyMismatch);
    assert_eq!(room.take(open(5, 2, Proven)), Outcome::Done);
    // Signed once more, it is what it is.
    assert_eq!(room.take(change(6, 1, 2)), Outcome::Done);
    assert_eq!(room.kinds().len(), 4, "nothing new to see");
}

#[test]
fn nobody_takes_a_name_by_another_key_than_that_of_the_name_or_without_a_proof() {
    let mut room = Room::default();
    room.take(open(1, 1, Claimed));
    let before = room.state.clone();
    assert_eq!(room.refused(change(2, 3, 2)), Reason::KeyMismatch);
    let mut unproven = change(3, 1, 2);
    if let Action::Open { identity, .. } = &mut unproven {
        *identity = Claimed;
    }
    assert_eq!(room.refused(unproven), Reason::KeyMismatch);
    assert_eq!(room.pin(), Some((key(1), Claimed)));
    assert_eq!(room.state.sessions, before.sessions);
    // One that only claimed the name has it as well.
    assert_eq!(room.take(change(4, 1, 2)), Outcome::Done);
    assert_eq!(room.pin(), Some((key(2), Proven)));
}

#[test]
fn a_former_key_is_of_no_account_where_the_name_is_free_or_posted() {
    for before in [None, Some(post(1, 1, Claimed))] {
        let mut room = Room::default();
        before.into_iter().for_each(|post| drop(room.take(post)));
        assert_eq!(room.take(change(1, 1, 2)), Outcome::Done);
        assert_eq!(room.pin(), Some((key(2), Proven)));
        assert!(!room.kinds().contains(&"unpinned"));
    }
}

/// Its events may be in several commits, and the owner may die between two of them. Who goes on
/// may be of a version that knows nothing of former keys.
#[test]
fn a_change_of_a_key_that_was_half_journaled_is_finished_or_refused() {
    let mut room = Room::default();
    room.take(open(1, 1, Proven));
    let before = room.state.clone();
    room.take(change(2, 1, 2));
    let again = room.commands.last().unwrap().clone();
    let mut older = again.clone();
    if let Action::Open { former, .. } = &mut older.action {
        *former = None;
    }
    for journaled in 0..=3 {
        let mut state = before.clone();
        let events = room.events[1..=journaled].iter();
        events.for_each(|event| state.evolve(event));
        let mut of_older = state.clone();
        let decision = decide(&state, &again);
        let rest = state.apply_decision(&decision, &again);
        assert_eq!(rest[..], room.events[1 + journaled..], "{journaled}");
        assert_eq!(state, room.state, "{journaled}");

        let decision = decide(&of_older, &older);
        of_older.apply_decision(&decision, &older);
        let pin = of_older.pins.get(&harry()).map(|pin| pin.key.clone());
        let is_let_in = !of_older.sessions.of(&harry()).is_empty();
        match journaled {
            0 | 1 => assert!(matches!(decision.outcome, Outcome::Refused(_))),
            _ => assert_eq!((pin, is_let_in), (Some(key(2)), true)),
        }
    }
}

#[test]
fn a_message_that_was_refused_before_the_key_changed_stays_refused() {
    let mut room = Room::default();
    room.take(open(1, 1, Proven));
    assert_eq!(room.refused(post(1, 2, Proven)), Reason::KeyMismatch);
    let again = room.commands[1].clone();
    room.take(change(2, 1, 2));
    let decision = decide(&room.state, &again);
    assert!(matches!(decision.outcome, Outcome::Refused(_)));
    assert_eq!(room.take(post(2, 2, Proven)), Outcome::Done, "a new one");
}
