//! A stored state: read, written and read again it is the same, and every command can be decided on
//! it.

use super::shown;
use bytes::Bytes;
use safe_chat::{
    journal::{Error, codec},
    room::{
        Action, Body, Change, Command, CommandId, Identity, Key, Limits, Millis, SessionId, State,
        UserId, decide,
    },
};

pub fn check(bytes: &[u8]) {
    match codec::decode_snapshot(Bytes::copy_from_slice(bytes)) {
        Ok(state) => {
            kept(&state);
            decided(&state);
        }
        Err(error) => {
            assert!(matches!(error, Error::Damaged(_)), "{error:?}");
            shown::is_one_line(&error.to_string());
        }
    }
}

/// Within its bounds, and the same after it was stored.
pub(super) fn kept(state: &State) {
    assert!(
        state.sent.len() <= Limits::WINDOW
            && state.ended.len() <= Limits::ENDED_SESSIONS
            && state.abandoned.len() <= Limits::ABANDONS
    );
    let written = codec::encode_snapshot(state);
    let read = codec::decode_snapshot(written.clone()).expect("what was written");
    assert!(read == *state, "a state is not what it was");
    assert_eq!(codec::encode_snapshot(&read), written);
}

/// What a room may be asked, by those who are in the state and by those who are not.
fn decided(state: &State) {
    // No room gets there; what reads a place beyond it refuses.
    if state.head.0 > Limits::NUMBER - 1000 {
        return;
    }
    let mut state = state.clone();
    let stranger = SessionId::from_slice(&[7; 16]).expect("16 bytes");
    let sessions: Vec<_> = state
        .sessions
        .iter()
        .take(3)
        .map(|(id, session)| (id, session.clone()))
        .collect();
    let user = state
        .members
        .first()
        .cloned()
        .unwrap_or_else(|| UserId::parse("harry").expect("a user"));
    let key = state
        .pins
        .get(&user)
        .map(|pin| pin.key.clone())
        .unwrap_or_else(|| Key::parse("key").expect("a key"));
    let mut actions = vec![
        Action::Send {
            user: user.clone(),
            key: key.clone(),
            identity: Identity::Claimed,
            turn: None,
            request: None,
            after: 0,
            id: CommandId::Gateway(stranger, 1),
            to: None,
            body: Body::Text("x".into()),
        },
        Action::Close {
            session: stranger,
            gateway: None,
        },
    ];
    for (session, described) in sessions {
        let (gateway, device) = (described.gateway, described.device.clone());
        actions.push(Action::Open {
            session: stranger,
            user: described.user,
            key: key.clone(),
            identity: Identity::Claimed,
            device,
            gateway,
            policy: None,
            former: None,
        });
        actions.push(Action::Close {
            session,
            gateway: Some(gateway),
        });
        actions.push(Action::Abandon { gateway });
    }
    for action in actions {
        let command = Command {
            at: Millis(1),
            action,
        };
        let decision = decide(&state, &command);
        let head = state.head;
        let events = state.apply_decision(&decision, &command);
        assert_eq!(state.head.0, head.0 + events.len() as u64);
        assert!(decision.changes.iter().all(|change| !matches!(change, Change::Closed { session } if state.sessions.contains(*session))));
        // Decided again it changes nothing more.
        assert!(
            decide(&state, &command).kinds.is_empty(),
            "the second time is not the first"
        );
    }
    kept(&state);
}
