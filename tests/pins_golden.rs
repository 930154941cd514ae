//! The stored forms of whose a name is: read and written as they always were. The golden files hold
//! the bytes in hex, made by an encoder that is not part of this project. They are never changed.

#[path = "support/golden.rs"]
mod golden;

use bytes::Bytes;
use prost::Message;
use safe_chat::{
    journal::codec,
    proto::journal::v1::StoredEvent,
    room::{Change, Event, Identity, Key, Kind, Millis, Pin, Seq, SessionId, State, UserId},
};

fn golden(name: &str) -> Bytes {
    golden::golden("journal", name)
}

fn user(name: &str) -> UserId {
    UserId::parse(name).unwrap()
}

fn key(name: &str) -> Key {
    Key::parse(name).unwrap()
}

#[test]
fn a_proven_key_and_one_that_was_taken_away_are_events_as_they_were() {
    let harry = user("harry");
    let pinned = Change::Pinned {
        user: harry.clone(),
        key: key("KEY-1"),
        identity: Identity::Proven,
    };
    let closed = Change::Closed {
        session: SessionId::from_slice(&[0x11; 16]).unwrap(),
    };
    let joined = Kind::Joined {
        user: harry.clone(),
    };
    let unpinned = |changed| Kind::Unpinned {
        user: harry.clone(),
        changed,
    };
    for (name, seq, kind, change) in [
        ("joined.v1.proven", 13, joined, pinned),
        ("unpinned.v1", 14, unpinned(false), closed.clone()),
        ("unpinned.v1.changed", 14, unpinned(true), closed),
    ] {
        let event = Event {
            seq: Seq(seq),
            at: Millis(1_795_465_200_123),
            kind,
            changes: vec![change],
        };
        let stored = StoredEvent::decode(golden(name)).unwrap();
        assert_eq!(codec::decode_event(stored).unwrap(), event, "{name}");
        let written = codec::encode_event(&event).encode_to_vec();
        assert_eq!(written, golden(name), "{name}");
    }
}

#[test]
fn a_snapshot_keeps_whose_names_are_proven_and_which_keys_were_taken_away() {
    let mut state = State {
        head: Seq(7),
        ..State::default()
    };
    for (name, key_of, identity) in [
        ("harry", "KEY-1", Identity::Proven),
        ("charly", "KEY-2", Identity::Claimed),
    ] {
        let key = key(key_of);
        state.pins.insert(user(name), Pin { key, identity });
    }
    let taken_away = Millis(1_795_465_200_000);
    state.unpinned.insert(user("charly"), taken_away);
    let golden = golden("snapshot.v1.pins");
    assert_eq!(codec::decode_snapshot(golden.clone()).unwrap(), state);
    assert_eq!(codec::encode_snapshot(&state), golden);
}

#[test]
fn a_snapshot_keeps_which_names_only_posts_came_with() {
    let mut state = State {
        head: Seq(7),
        ..State::default()
    };
    let pin = Pin {
        key: key("KEY-3"),
        identity: Identity::Posted,
    };
    state.pins.insert(user("dave"), pin);
    let golden = golden("snapshot.v1.posted");
    assert_eq!(codec::decode_snapshot(golden.clone()).unwrap(), state);
    assert_eq!(codec::encode_snapshot(&state), golden);
}
