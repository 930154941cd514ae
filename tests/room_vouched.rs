//! Who comes with a token that a gateway has checked needs no key, and keeps none.

use safe_chat::room::{
    Action, Body, Change, Command, CommandId, Identity, Incarnation, Key, Millis, Outcome,
    SessionId, State, UserId, decide,
};
use uuid::Uuid;

const SESSIONS: bool = true;

fn harry() -> UserId {
    UserId::parse("harry").unwrap()
}

fn key(n: u8) -> Key {
    Key::parse(&format!("key-{n}")).unwrap()
}

/// A room to which harry comes, with a session or a message.
#[derive(Default)]
struct Room {
    state: State,
    last: u8,
}

impl Room {
    fn take(&mut self, action: Action) -> bool {
        self.last += 1;
        let at = Millis(u64::from(self.last));
        let command = Command { at, action };
        let decision = decide(&self.state, &command);
        self.state.apply_decision(&decision, &command);
        decision.outcome == Outcome::Done
    }

    /// Whether it is let in.
    fn comes(&mut self, opens: bool, key: Key, identity: Identity) -> bool {
        let n = self.last;
        let user = harry();
        self.take(match opens {
            true => Action::Open {
                session: SessionId::new(Uuid::from_u128(1 + u128::from(n))),
                user,
                key,
                identity,
                device: None,
                gateway: Incarnation::new(Uuid::from_u128(1000)),
                policy: None,
                former: None,
            },
            false => Action::Send {
                user,
                key,
                identity,
                turn: None,
                request: None,
                after: 0,
                id: CommandId::parse(&format!("m{n}")).unwrap(),
                to: None,
                body: Body::Text("hello".into()),
            },
        })
    }

    fn pinned(&self) -> Option<(Key, Identity)> {
        let pin = self.state.pins.get(&harry())?;
        Some((pin.key.clone(), pin.identity))
    }
}

use Identity::{Claimed, Proven};

#[test]
fn who_is_vouched_for_needs_no_key_and_pins_none() {
    for opens in [SESSIONS, !SESSIONS] {
        let mut room = Room::default();
        assert!(room.comes(opens, Key::vouched(), Claimed));
        assert_eq!(room.pinned(), None);
        assert!(room.comes(SESSIONS, key(1), Claimed), "it was free");
        assert!(room.comes(opens, Key::vouched(), Claimed));
        assert!(!room.comes(opens, key(2), Claimed));
        assert_eq!(room.pinned(), Some((key(1), Claimed)));
    }
}

#[test]
fn a_name_that_is_proven_stays_its_owners_whoever_is_vouched_for() {
    for opens in [SESSIONS, !SESSIONS] {
        let mut room = Room::default();
        assert!(room.comes(SESSIONS, key(1), Proven));
        for identity in [Claimed, Proven] {
            assert!(room.comes(opens, Key::vouched(), identity));
        }
        assert_eq!(room.pinned(), Some((key(1), Proven)));
        assert!(!room.comes(opens, key(1), Claimed));
        assert!(room.comes(opens, key(1), Proven));
    }
    // It ends nobody who has only claimed the name.
    let mut room = Room::default();
    assert!(room.comes(SESSIONS, key(1), Claimed));
    assert!(room.comes(SESSIONS, Key::vouched(), Proven));
    assert_eq!(room.state.sessions.of(&harry()).len(), 2);
    // A message of before is not refused because of a key that it did not need.
    assert!(room.take(Action::Unpin { user: harry() }));
    room.last -= 1;
    assert!(room.comes(!SESSIONS, Key::vouched(), Claimed));
}

#[test]
fn what_an_older_owner_took_for_a_key_belongs_to_nobody() {
    let mut state = State::default();
    let user = UserId::parse("harry").unwrap();
    state.change(Change::Pinned {
        user,
        key: Key::vouched(),
        identity: Claimed,
    });
    assert!(state.pins.is_empty());
}
