//! Who comes with a token that a gateway has checked needs no key, and keeps none.

use safe_chat::room::{
    Action, Body, Command, CommandId, Incarnation, Key, Millis, Outcome, SessionId, State, UserId,
    decide,
};
use uuid::Uuid;

fn session(n: u8) -> SessionId {
    SessionId::new(Uuid::from_u128(u128::from(n)))
}

fn gateway(n: u8) -> Incarnation {
    Incarnation::new(Uuid::from_u128(1000 + u128::from(n)))
}

fn user(n: u8) -> UserId {
    UserId::parse(&format!("user-{n}")).unwrap()
}

fn key(n: u8) -> Key {
    Key::parse(&format!("key-{n}")).unwrap()
}

/// A gateway that has checked a token says who somebody is, whatever keys there were.
#[test]
fn who_is_vouched_for_needs_no_key_and_pins_none() {
    let mut state = State::default();
    let mut next = 0;
    let mut enact = |key: Key, user: UserId, opens: bool| {
        next += 1;
        let action = match opens {
            true => Action::Open {
                session: session(next),
                user,
                key,
                device: None,
                gateway: gateway(0),
            },
            false => Action::Send {
                user,
                key,
                turn: None,
                request: None,
                after: 0,
                id: CommandId::parse(&format!("m{next}")).unwrap(),
                to: None,
                body: Body::Text("hello".into()),
            },
        };
        let at = Millis(u64::from(next));
        let command = Command { at, action };
        let decision = decide(&state, &command);
        state.apply_decision(&decision, &command);
        let is_done = decision.outcome == Outcome::Done;
        (is_done, state.keys.contains_key(&user_of(&command.action)))
    };
    for opens in [true, false] {
        let (vouched, keyed) = (user(u8::from(opens)), user(2 + u8::from(opens)));
        assert_eq!(enact(Key::vouched(), vouched.clone(), opens), (true, false));
        assert_eq!(enact(key(1), keyed.clone(), opens), (true, true));
        assert_eq!(enact(Key::vouched(), keyed.clone(), opens), (true, true));
        assert_eq!(enact(key(2), keyed, opens), (false, true));
        assert_eq!(
            enact(key(1), vouched.clone(), opens),
            (true, true),
            "it was free"
        );
    }
}

fn user_of(action: &Action) -> UserId {
    match action {
        Action::Open { user, .. } | Action::Send { user, .. } => user.clone(),
        other => panic!("{other:?}"),
    }
}
