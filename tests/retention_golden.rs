//! The stored forms of how much of a room's past is kept: read and written as they always were. The
//! golden files hold the bytes in hex, made by an encoder that is not part of this project. They
//! are never changed.

#[path = "support/golden.rs"]
mod golden;

use bytes::Bytes;
use prost::Message;
use safe_chat::{
    journal::codec,
    proto::journal::v1::StoredEvent,
    room::{Change, Event, Kept, Kind, Millis, Retention, Seq, State, UserId},
};

fn golden(name: &str) -> Bytes {
    golden::golden("journal", name)
}

#[test]
fn what_is_kept_and_what_goes_are_changes_as_they_were() {
    let own = Some(Retention {
        age: Some(2_592_000),
        events: None,
        bytes: Some(1_000_000),
    });
    let set = |own, at| Change::RetentionSet {
        own,
        at: Millis(at),
    };
    let trimmed = Change::Trimmed {
        start: Seq(5),
        since: Millis(1_795_465_100_000),
        bytes: 300,
    };
    let event = Event {
        seq: Seq(15),
        at: Millis(1_795_465_200_123),
        kind: Kind::Left {
            user: UserId::parse("harry").unwrap(),
        },
        changes: vec![
            set(own, 1_795_465_200_000),
            set(None, 1_795_465_200_001),
            trimmed,
        ],
    };
    let stored = golden("left.v1.retention");
    let read = StoredEvent::decode(stored.clone()).unwrap();
    assert_eq!(codec::decode_event(read).unwrap(), event);
    assert_eq!(codec::encode_event(&event).encode_to_vec(), stored);
}

#[test]
fn a_snapshot_keeps_what_is_kept() {
    let own = Retention {
        events: Some(100),
        ..Retention::default()
    };
    let state = State {
        head: Seq(7),
        kept: Kept {
            own: Some(own),
            said: Millis(1_795_465_200_000),
            start: Seq(5),
            since: Millis(1_795_465_100_000),
            bytes: 4096,
            counted: Seq(3),
            purge: None,
        },
        ..State::default()
    };
    let golden = golden("snapshot.v1.kept");
    assert_eq!(codec::decode_snapshot(golden.clone()).unwrap(), state);
    assert_eq!(codec::encode_snapshot(&state), golden);
}
