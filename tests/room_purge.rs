//! What a purge leaves of a room: nothing that was said, and nobody's name but of those who are
//! here; what it was set to, and that nothing happens twice. Each claim is shown on the decisions
//! alone.

#[path = "support/decided.rs"]
mod decided;

use decided::Room;
use prost::Message;
use safe_chat::{
    journal::codec,
    room::{
        Action, Body, CommandId, Identity, Incarnation, Key, Kind, Limits, Millis, Outcome, Policy,
        Reason, RequestId, Retention, Seq, SessionId, State, UserId,
    },
};
use uuid::Uuid;

const DAY: u64 = 24 * 60 * 60 * 1000;

fn user(name: &str) -> UserId {
    UserId::parse(name).unwrap()
}

fn open_with(session: u128, name: &str, key: &str) -> Action {
    Action::Open {
        session: SessionId::new(Uuid::from_u128(session)),
        user: user(name),
        key: Key::parse(key).unwrap(),
        identity: Identity::Proven,
        device: None,
        gateway: Incarnation::new(Uuid::from_u128(1)),
        policy: Some(Policy::Proven),
        former: None,
    }
}

fn open(session: u128, name: &str) -> Action {
    open_with(session, name, &format!("key-of-{name}"))
}

fn close(session: u128) -> Action {
    Action::Close {
        session: SessionId::new(Uuid::from_u128(session)),
        gateway: None,
    }
}

fn post_with(id: u32, name: &str, identity: Identity, request: u128) -> Action {
    Action::Send {
        user: user(name),
        key: Key::parse(&format!("key-of-{name}")).unwrap(),
        identity,
        turn: None,
        after: 0,
        request: Some(RequestId::new(Uuid::from_u128(request))),
        id: CommandId::parse(&format!("m{id}")).unwrap(),
        to: Some(user("kim")),
        body: Body::Text("hello".into()),
    }
}

fn post(id: u32, name: &str) -> Action {
    post_with(id, name, Identity::Proven, id.into())
}

impl Room {
    /// What is stored of it behind the purge: the snapshot, and the events from there on.
    fn stored(&self) -> Vec<u8> {
        let first = self.state.kept.first();
        let kept = self.events.iter().filter(|event| event.seq >= first);
        let events = kept.map(|event| codec::encode_event(event).encode_to_vec());
        let mut all: Vec<u8> = events.flatten().collect();
        all.extend_from_slice(&codec::encode_snapshot(&self.state));
        all
    }

    fn holds(&self, what: &str) -> bool {
        let stored = self.stored();
        stored
            .windows(what.len())
            .any(|part| part == what.as_bytes())
    }
}

/// harry is here; charly was, and posted; sue's name was freed.
fn room() -> Room {
    let mut room = Room::default();
    for action in [
        open(1, "harry"),
        open(2, "charly"),
        open(3, "sue"),
        post(1, "charly"),
        post(2, "harry"),
        Action::Unpin { user: user("sue") },
        Action::Retain {
            own: Some(Retention {
                events: Some(1000),
                ..Retention::default()
            }),
        },
        close(2),
        // Its opening waits for an event to carry it.
        open(4, "harry"),
    ] {
        room.take(action);
    }
    room
}

#[test]
fn nothing_that_was_said_is_left_and_nobodys_name_who_is_not_here() {
    let mut room = room();
    let words = ["hello", "charly", "sue", "kim", "m1", "m2"];
    assert!(words.into_iter().all(|word| room.holds(word)));
    assert_eq!(room.take(Action::Purge), Outcome::Done);
    let left: Vec<_> = words.into_iter().filter(|word| room.holds(word)).collect();
    assert_eq!(left, [""; 0]);
    assert!(room.holds("harry") && room.holds("key-of-harry"));
}

#[test]
fn the_room_goes_on_with_who_is_here_and_what_it_is_set_to() {
    let mut room = room();
    let before = room.state.clone();
    room.take(Action::Purge);
    let (after, last) = (&room.state, room.events.last().unwrap());
    assert_eq!((&last.kind, last.seq), (&Kind::Purged, before.head.next()));
    assert_eq!(
        (&after.members, &after.sessions),
        (&before.members, &before.sessions)
    );
    assert_eq!(
        (after.policy, after.kept.own),
        (Policy::Proven, before.kept.own)
    );
    assert_eq!(after.kept.first(), last.seq);
    // Also for whoever has nothing but this event.
    let mut bare = State::default();
    bare.skip_to(before.head);
    bare.evolve(last);
    assert_eq!(
        (bare.policy, bare.kept.own),
        (Policy::Proven, before.kept.own)
    );
    // A name of before is free, that of who is here is not.
    let refused = room.take(open_with(9, "harry", "another"));
    assert!(matches!(refused, Outcome::Refused(why) if why.reason == Reason::KeyMismatch));
    let comes = room.take(open_with(10, "charly", "another"));
    assert_eq!(comes, Outcome::Done);
}

#[test]
fn what_was_said_before_is_not_said_again_by_whoever_repeats_it() {
    let mut room = room();
    let head = room.state.head;
    let unproven = post_with(3, "stranger", Identity::Claimed, 3);
    assert!(matches!(room.take(unproven), Outcome::Refused(_)));
    room.take(Action::Purge);
    assert_eq!(room.state.head, head.next());
    // All of it is read again by the next owner.
    let (commands, before) = (room.commands.clone(), room.state.clone());
    for command in commands {
        room.take_at(command.at, command.action);
    }
    assert_eq!(room.state, before);
    // A gateway that lost the answer submits the same again, later; a client sends it again.
    assert_eq!(room.take(post(1, "charly")), Outcome::Redelivered(Seq(4)));
    let again = post_with(2, "harry", Identity::Proven, 99);
    assert_eq!(room.take(again), Outcome::Repeated(Seq(5)));
    assert_eq!(room.state, before);
}

#[test]
fn who_gets_a_name_that_a_purge_freed_uses_the_ids_of_before() {
    let mut room = room();
    let of_another = |id, name: &str, request| {
        let mut action = post_with(id, name, Identity::Proven, request);
        if let Action::Send { key, .. } = &mut action {
            *key = Key::parse("another").unwrap();
        }
        action
    };
    room.take(Action::Purge);
    room.take(open_with(10, "charly", "another"));
    let head = room.state.head;
    assert_eq!(room.take(of_another(1, "charly", 90)), Outcome::Done);
    let again = Outcome::Repeated(head.next());
    assert_eq!(room.take(of_another(1, "charly", 91)), again);
    assert_eq!(room.take(post(1, "charly")), Outcome::Redelivered(Seq(4)));
    // harry stayed, and his messages are his, until another one gets his name.
    let repeated = post_with(2, "harry", Identity::Proven, 92);
    assert_eq!(room.take(repeated.clone()), Outcome::Repeated(Seq(5)));
    room.take(Action::Unpin {
        user: user("harry"),
    });
    assert_eq!(room.take(repeated), Outcome::Repeated(Seq(5)));
    room.take(Action::Unpin {
        user: user("harry"),
    });
    room.take(open_with(11, "harry", "another"));
    assert_eq!(room.take(of_another(2, "harry", 93)), Outcome::Done);
    // Both of an id are known behind the next purge.
    room.take(Action::Purge);
    assert_eq!(room.take(post(1, "charly")), Outcome::Redelivered(Seq(4)));
    assert_eq!(room.take(of_another(1, "charly", 94)), again);
}

#[test]
fn messages_of_before_are_known_for_a_day() {
    let mut room = room();
    room.take(Action::Purge);
    let purged = room.commands.last().unwrap().at.0;
    assert_eq!(room.state.sent.len(), 2);
    room.take_at(Millis(purged + DAY), post(8, "harry"));
    assert_eq!(room.state.sent.len(), 3);
    room.take_at(Millis(purged + DAY + 1), post(9, "harry"));
    assert_eq!(room.state.sent.len(), 2, "those that were said since");
    assert!(room.state.sent.len() < Limits::WINDOW);
}

#[test]
fn a_second_purge_forgets_what_came_in_between_and_an_empty_room_stays_empty() {
    let mut room = room();
    room.take(Action::Purge);
    room.take(post(5, "late"));
    assert!(room.holds("late"));
    room.take(Action::Purge);
    assert!(!room.holds("late"));
    assert_eq!(room.state.kept.first(), room.state.head);
    let mut empty = Room::default();
    assert_eq!(empty.take(Action::Purge), Outcome::Done);
    assert_eq!(empty.state, State::default());
}

#[test]
fn a_purge_of_nothing_takes_nothing_that_came_since_when_it_is_read_again() {
    let mut room = Room::default();
    room.take(Action::Purge);
    let purge = room.commands.last().unwrap().at;
    room.take(post(1, "harry"));
    let before = room.state.clone();
    let again = room.take_at(purge, Action::Purge);
    assert_eq!(again, Outcome::Repeated(before.head));
    assert_eq!(room.state, before);
}
