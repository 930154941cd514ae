//! Whose a command of a session is: its user's and its gateway's. Whoever else may store commands
//! says nothing in their place, and ends nothing of theirs.

use safe_chat::room::{
    Action, Body, Command, CommandId, DeviceId, Event, Identity, Incarnation, Key, Kind, Millis,
    Outcome, Reason, Seq, SessionId, State, Turn, UserId, decide,
};
use uuid::Uuid;

const HARRYS: SessionId = SessionId::new(Uuid::from_u128(1));

fn gateway(n: u128) -> Incarnation {
    Incarnation::new(Uuid::from_u128(n))
}

fn user(name: &str) -> UserId {
    UserId::parse(name).unwrap()
}

fn key(name: &str) -> Key {
    Key::parse(&format!("key-{name}")).unwrap()
}

fn open(session: SessionId, name: &str, device: Option<&str>, gateway: Incarnation) -> Action {
    Action::Open {
        session,
        user: user(name),
        key: key(name),
        identity: Identity::Claimed,
        device: device.map(|device| DeviceId::parse(device).unwrap()),
        gateway,
        policy: None,
        former: None,
    }
}

fn send(name: &str, number: u64, id: &str) -> Action {
    Action::Send {
        user: user(name),
        key: key(name),
        identity: Identity::Claimed,
        turn: Some(Turn {
            session: HARRYS,
            number,
        }),
        after: 0,
        request: None,
        id: CommandId::parse(id).unwrap(),
        to: None,
        body: Body::Text("hello".into()),
    }
}

fn close(gateway: Option<Incarnation>) -> Action {
    let session = HARRYS;
    Action::Close { session, gateway }
}

fn apply(state: &mut State, action: Action) -> (Vec<Event>, Outcome) {
    let at = Millis(1);
    let command = Command { at, action };
    let decision = decide(state, &command);
    (state.apply_decision(&decision, &command), decision.outcome)
}

/// harry is here through gateway 1, charly through gateway 2.
fn room() -> State {
    let mut state = State::default();
    let charlys = SessionId::new(Uuid::from_u128(2));
    apply(&mut state, open(HARRYS, "harry", Some("phone"), gateway(1)));
    apply(&mut state, open(charlys, "charly", None, gateway(2)));
    state
}

fn is_refused(state: &State, action: Action) {
    let mut after = state.clone();
    let (events, outcome) = apply(&mut after, action.clone());
    let refused = matches!(&outcome, Outcome::Refused(why) if why.reason == Reason::NotMember);
    assert!(refused && events.is_empty(), "{action:?}: {outcome:?}");
    assert_eq!(after, *state, "nothing changes: {action:?}");
}

#[test]
fn nobody_speaks_through_another_users_session() {
    let mut state = room();
    is_refused(&state, send("charly", 1, "m1"));
    is_refused(&state, send("stranger", 1, "m1"));
    let (events, outcome) = apply(&mut state, send("harry", 1, "m1"));
    let Kind::Message { from, device, .. } = &events[0].kind else {
        panic!("no message: {events:?}");
    };
    assert_eq!((from, outcome), (&user("harry"), Outcome::Done));
    assert_eq!(*device, DeviceId::parse("phone").ok());
    // Nor is anything said of what another one sent.
    is_refused(&state, send("charly", 1, "m1"));
    let again = apply(&mut state, send("harry", 1, "m1")).1;
    assert_eq!(again, Outcome::Redelivered(Seq(3)));
}

#[test]
fn nobody_ends_a_session_of_another_gateway() {
    let mut state = room();
    is_refused(&state, close(Some(gateway(2))));
    let (events, outcome) = apply(&mut state, close(Some(gateway(1))));
    assert_eq!((events.len(), outcome), (1, Outcome::Done));
    // Whatever came of it before, it stays so.
    assert_eq!(apply(&mut state, close(Some(gateway(2)))).0, []);
    // A gateway of an older version does not say whose it is.
    let mut state = room();
    assert_eq!(apply(&mut state, close(None)).0.len(), 1);
}

#[test]
fn nobody_opens_a_session_that_is_another_ones() {
    let mut state = room();
    is_refused(&state, open(HARRYS, "charly", Some("phone"), gateway(1)));
    is_refused(&state, open(HARRYS, "harry", Some("phone"), gateway(2)));
    is_refused(&state, open(HARRYS, "harry", None, gateway(1)));
    let again = apply(&mut state, open(HARRYS, "harry", Some("phone"), gateway(1)));
    assert_eq!(again, (Vec::new(), Outcome::Repeated(Seq(2))));
}
