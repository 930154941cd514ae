//! Stored events, alone (a row) and together (a commit): what can be read is written and read again
//! as the same, can be shown in every protocol, and can be replayed.

use super::{shown, snapshot};
use prost::Message as _;
use safe_chat::{
    bus::Commit,
    journal::{Error, codec},
    proto::journal::v1::StoredEvent,
    room::{Event, Seq, State},
};

pub fn check(bytes: &[u8]) {
    if let Ok(stored) = StoredEvent::decode(bytes) {
        match codec::decode_event(stored) {
            Ok(event) => {
                assert_eq!(
                    codec::decode_event(codec::encode_event(&event)).expect("what was written"),
                    event
                );
                replayed(&[event]);
            }
            Err(error) => told(&error),
        }
    }
    match codec::decode_commit(bytes) {
        Ok(commit) => {
            let again = codec::encode_commit(&commit);
            assert_eq!(
                codec::decode_commit(&again).expect("what was written"),
                commit
            );
            let Commit { events, .. } = &commit;
            assert!(
                events
                    .windows(2)
                    .all(|pair| pair[0].seq.0 + 1 == pair[1].seq.0),
                "a commit is dense"
            );
            replayed(events);
        }
        Err(error) => told(&error),
    }
}

/// A room that ends before the events, and then has them.
fn replayed(events: &[Event]) {
    let Some(first) = events.first() else { return };
    let before = first.seq.0.checked_sub(1).expect("places begin at 1");
    let mut state = State {
        head: Seq(before),
        ..State::default()
    };
    for event in events {
        shown::event(event);
        state.evolve(event);
    }
    assert!(state.head.next() > state.head);
    snapshot::kept(&state);
}

/// What cannot be read is refused in one line, by what is stored and not by a failure of the
/// service.
fn told(error: &Error) {
    assert!(
        matches!(error, Error::Damaged(_) | Error::Unsupported { .. }),
        "{error:?}"
    );
    shown::is_one_line(&error.to_string());
}
