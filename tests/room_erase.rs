//! What an erasure takes out of a room: the content of one user's messages before it, and nothing
//! else; and that a command of one that is read again takes no more. Each claim is shown on the
//! decisions alone.

#[path = "support/decided.rs"]
mod decided;

use decided::Room;
use safe_chat::room::{
    Action, Body, CommandId, Identity, Key, Kind, Limits, Millis, Outcome, Reason, RequestId, Seq,
    UserId,
};
use uuid::Uuid;

const DAY: u64 = 24 * 60 * 60 * 1000;

fn user(name: &str) -> UserId {
    UserId::parse(name).unwrap()
}

fn post_of(id: u32, name: &str, body: Body) -> Action {
    Action::Send {
        user: user(name),
        key: Key::parse("key").unwrap(),
        identity: Identity::Claimed,
        turn: None,
        after: 0,
        request: Some(RequestId::new(Uuid::from_u128(id.into()))),
        id: CommandId::parse(&format!("m{id}")).unwrap(),
        to: Some(user("kim")),
        body,
    }
}

fn post(id: u32, name: &str) -> Action {
    post_of(id, name, Body::Text("hello".into()))
}

fn erase(name: &str) -> Action {
    Action::Erase { user: user(name) }
}

impl Room {
    /// With so many messages of harry and of charly, in turns.
    fn with(messages: u32) -> Self {
        let mut room = Self::default();
        for id in 0..messages {
            let name = if id % 2 == 0 { "harry" } else { "charly" };
            assert_eq!(room.take(post(id, name)), Outcome::Done);
        }
        room
    }

    /// Places whose content is to go.
    fn hidden(&self) -> Vec<u64> {
        let erasing = self.state.erasures.erasing();
        let hidden = self.events.iter().filter(|event| erasing.hides(event));
        hidden.map(|event| event.seq.0).collect()
    }

    /// The owner has copied and removed everything.
    fn is_rewritten(&mut self) {
        let erasing = self.state.erasures.erasing();
        let through = erasing.last();
        erasing.apply(&mut self.events);
        let first = self.state.kept.first();
        let left = self.events.iter();
        let left = left.filter(|event| (first..=through).contains(&event.seq));
        let bytes = left.map(|event| event.size() as u64).sum();
        self.state.rewritten(through, bytes);
    }
}

#[test]
fn what_a_user_said_before_it_goes_and_nothing_else() {
    let mut room = Room::with(4);
    room.take(post_of(4, "harry", Body::Sealed(vec![1, 2].into())));
    assert_eq!(room.take(erase("harry")), Outcome::Done);
    assert_eq!(room.take(post(5, "harry")), Outcome::Done);
    let last = &room.events[5];
    let (user, through) = (user("harry"), Seq(5));
    assert_eq!(last.kind, Kind::Erased { user, through });
    assert_eq!(room.hidden(), [1, 3, 5]);
    let before = room.events[0].clone();
    room.is_rewritten();
    let Kind::Message { from, to, body, .. } = &room.events[0].kind else {
        panic!("it is a message still");
    };
    assert_eq!((from.as_str(), body), ("harry", &Body::Erased));
    assert_eq!(to.as_ref().map(UserId::as_str), Some("kim"));
    assert_eq!(room.events[0], before.erased());
    assert_eq!(room.hidden(), [0; 0], "it is done");
    assert_eq!(room.state.kept.bytes, 3 * 5, "two of charly, one since");
}

#[test]
fn a_command_that_is_read_again_takes_nothing_that_came_since() {
    let mut room = Room::with(3);
    room.take(erase("harry"));
    let first = room.commands.last().unwrap().at;
    room.take(post(3, "harry"));
    let again = |room: &mut Room| room.take_at(first, erase("harry"));
    assert_eq!(again(&mut room), Outcome::Repeated(Seq(5)));
    room.is_rewritten();
    assert_eq!(again(&mut room), Outcome::Repeated(Seq(5)));
    // Two users in the same millisecond are two commands.
    assert_eq!(room.take_at(first, erase("charly")), Outcome::Done);
    room.is_rewritten();
    // Nobody reads it again after a day, and then nothing says whose content it was.
    room.take_at(Millis(first.0 + DAY), post(4, "kim"));
    assert_eq!(room.state.erasures.len(), 2);
    room.take_at(Millis(first.0 + DAY + 1), post(5, "kim"));
    assert!(room.state.erasures.is_empty());
}

#[test]
fn a_second_erasure_takes_what_came_since_and_the_first_one_does_not_end_it() {
    let mut room = Room::with(2);
    room.take(erase("harry"));
    let early = room.state.erasures.erasing().last();
    room.take(post(2, "harry"));
    room.take(erase("harry"));
    assert_eq!(room.hidden(), [1, 4]);
    // Its owner had begun before the second one came.
    room.state.rewritten(early, 5);
    assert_eq!(room.hidden(), [1, 4]);
    room.is_rewritten();
    assert_eq!(room.hidden(), [0; 0]);
    assert_eq!(room.state.kept.bytes, 5);
}

#[test]
fn a_purge_leaves_nothing_to_erase() {
    let mut room = Room::with(2);
    room.take(erase("harry"));
    let (first, before) = (room.commands.last().unwrap().at, room.state.head);
    room.take(Action::Purge);
    assert!(room.state.erasures.is_empty());
    assert_eq!(
        room.take_at(first, erase("harry")),
        Outcome::Repeated(before.next())
    );
    // A trim that went further than what is erased does not make the room larger again.
    room.take(post(9, "harry"));
    let bytes = room.state.kept.bytes;
    room.state.rewritten(before, 1000);
    assert_eq!(room.state.kept.bytes, bytes);
}

#[test]
fn an_empty_room_stays_empty_and_one_that_erases_enough_refuses_more() {
    let mut room = Room::default();
    assert_eq!(room.take(erase("harry")), Outcome::Done);
    assert_eq!(room.state.head, Seq::ZERO);
    room.take(post(0, "harry"));
    let again = room.take_at(Millis(1), erase("harry"));
    assert_eq!(
        again,
        Outcome::Repeated(Seq(1)),
        "it came before all that is there"
    );
    for n in 0..Limits::ERASING {
        assert_eq!(room.take(erase(&format!("user{n}"))), Outcome::Done);
    }
    assert_eq!(
        room.take(erase("user0")),
        Outcome::Done,
        "it goes on further"
    );
    let Outcome::Refused(why) = room.take(erase("harry")) else {
        panic!("it erases enough");
    };
    assert_eq!(why.reason, Reason::Busy);
    assert!(why.retry_after_ms.is_some());
}
