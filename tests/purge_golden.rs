//! The stored forms of a purge: read and written as they always were. The golden files hold the
//! bytes in hex, made by an encoder that is not part of this project. They are never changed.

#[path = "support/golden.rs"]
mod golden;

use bytes::Bytes;
use prost::Message;
use safe_chat::{
    journal::codec,
    proto::journal::v1::StoredEvent,
    room::{
        Attempt, Change, Event, Kept, Kind, MessageKey, Millis, Policy, Purge, Retention, Sent,
        Seq, SessionId, State, Turn,
    },
};

const AT: Millis = Millis(1_795_465_200_123);

fn golden(name: &str) -> Bytes {
    golden::golden("journal", name)
}

#[test]
fn a_purge_is_an_event_that_says_what_the_room_is_set_to() {
    let own = Some(Retention {
        events: Some(100),
        ..Retention::default()
    });
    let event = Event {
        seq: Seq(43),
        at: AT,
        kind: Kind::Purged,
        changes: vec![
            Change::PolicySet {
                maker: None,
                policy: Policy::Sealed,
            },
            Change::RetentionSet {
                own,
                at: Millis(1_795_465_200_000),
            },
        ],
    };
    let read = StoredEvent::decode(golden("purged.v1")).unwrap();
    assert_eq!(codec::decode_event(read).unwrap(), event);
    assert_eq!(
        codec::encode_event(&event).encode_to_vec(),
        golden("purged.v1")
    );
}

#[test]
fn a_snapshot_keeps_when_the_room_was_purged_and_digests_of_messages() {
    let mut state = State {
        head: Seq(44),
        kept: Kept {
            start: Seq(43),
            since: AT,
            purge: Some(Purge {
                seq: Seq(43),
                at: AT,
            }),
            ..Kept::default()
        },
        ..State::default()
    };
    let session = SessionId::from_slice(&[0x11; 16]).unwrap();
    let by = Some(Attempt::Turn(Turn {
        session,
        number: 300,
    }));
    let sent = Sent { seq: Seq(40), by };
    state.sent.insert(MessageKey::Digest([0x5a; 16]), sent);
    let golden = golden("snapshot.v1.purged");
    assert_eq!(codec::decode_snapshot(golden.clone()).unwrap(), state);
    assert_eq!(codec::encode_snapshot(&state), golden);
}
