//! The stored forms of keys in records: read and written as they always were. The golden files hold
//! the bytes in hex, made by an encoder that is not part of this project. They are never changed.

#[path = "support/golden.rs"]
mod golden;

use bytes::Bytes;
use prost::Message;
use safe_chat::{
    journal::codec::{self, Record},
    proto::journal::v1::StoredEvent,
    room::{Away, Change, Epoch, Event, Identity, Key, Kind, Millis, Pin, Seq, State, UserId},
};

fn golden(name: &str) -> Bytes {
    golden::golden("journal", name)
}

fn user(name: &str) -> UserId {
    UserId::parse(name).unwrap()
}

fn key() -> Key {
    Key::parse("KEY-1").unwrap()
}

#[test]
fn a_snapshot_says_that_there_may_be_records() {
    let (key, identity) = (key(), Identity::Proven);
    let state = State {
        head: Seq(44),
        pins: [(user("harry"), Pin { key, identity })].into(),
        away: Away {
            is_used: true,
            count: 7,
            freed: [user("dave")].into(),
            stale: vec![Seq::ZERO, Seq(43)],
        },
        ..State::default()
    };
    let golden = golden("snapshot.v3.away");
    assert_eq!(codec::snapshot_version(&state), 3);
    assert_eq!(codec::decode_snapshot(golden.clone()).unwrap(), state);
    assert_eq!(codec::encode_snapshot(&state), golden);
}

#[test]
fn an_event_says_which_key_came_back() {
    let event = Event {
        seq: Seq(45),
        at: Millis(1_795_465_200_123),
        kind: Kind::Joined {
            user: user("harry"),
        },
        changes: vec![Change::Recalled {
            user: user("harry"),
            key: key(),
            identity: Identity::Proven,
        }],
    };
    let golden = golden("joined.v1.recalled");
    let read = StoredEvent::decode(golden.clone()).unwrap();
    assert_eq!(codec::decode_event(read).unwrap(), event);
    assert_eq!(codec::encode_event(&event).encode_to_vec(), golden);
}

#[test]
fn a_record_has_a_key_or_frees_a_name() {
    let (key, identity) = (key(), Identity::Posted);
    let pinned = Record {
        age: (Epoch(3), 9),
        user: user("harry"),
        pin: Some(Pin { key, identity }),
    };
    let free = Record {
        age: (Epoch(3), 300),
        user: user("dave"),
        pin: None,
    };
    for (record, golden) in [
        (pinned, golden("record.v1")),
        (free, golden("record.v1.free")),
    ] {
        assert_eq!(codec::decode_record(golden.clone()).unwrap(), record);
        assert_eq!(codec::encode_record(&record), golden);
    }
    assert!(codec::decode_record(Bytes::from_static(b"garbage")).is_err());
}
