//! The stored forms of an erasure: read and written as they always were. The golden files hold the
//! bytes in hex, made by an encoder that is not part of this project. They are never changed.

#[path = "support/golden.rs"]
mod golden;

use bytes::Bytes;
use prost::Message;
use safe_chat::{
    journal::codec,
    proto::journal::v1::StoredEvent,
    room::{Body, CommandId, Erasure, Event, Kind, Millis, RequestId, Seq, State, UserId},
};

const AT: Millis = Millis(1_795_465_200_123);

fn golden(name: &str) -> Bytes {
    golden::golden("journal", name)
}

fn user(name: &str) -> UserId {
    UserId::parse(name).unwrap()
}

fn event(seq: u64, kind: Kind) -> Event {
    Event {
        seq: Seq(seq),
        at: AT,
        kind,
        changes: Vec::new(),
    }
}

fn is_stored_as(event: &Event, name: &str) {
    let read = StoredEvent::decode(golden(name)).unwrap();
    assert_eq!(codec::decode_event(read).unwrap(), *event, "{name}");
    let written = codec::encode_event(event).encode_to_vec();
    assert_eq!(written, golden(name), "{name}");
}

#[test]
fn an_erasure_is_an_event() {
    let (user, through) = (user("harry"), Seq(42));
    let erased = Kind::Erased { user, through };
    is_stored_as(&event(43, erased), "erased.v1");
}

/// The journal that it comes back into may have all of it still.
#[test]
fn an_event_that_says_that_an_erasure_is_done_says_nothing() {
    let stored = StoredEvent::decode(golden("left.v1.rewritten")).unwrap();
    assert_eq!(stored.changes.len(), 1);
    let user = user("harry");
    let left = event(44, Kind::Left { user });
    assert_eq!(codec::decode_event(stored).unwrap(), left);
}

/// In a snapshot it would be one that is done.
#[test]
fn an_erasure_of_nothing_is_none() {
    let erased = Kind::Erased {
        user: user("harry"),
        through: Seq::ZERO,
    };
    let stored = codec::encode_event(&event(1, erased));
    assert!(codec::decode_event(stored).is_err());
}

#[test]
fn a_message_without_its_content_is_a_message() {
    let said = Kind::Message {
        from: user("harry"),
        to: Some(user("charly")),
        body: Body::Text("hello".into()),
        id: CommandId::parse("m1"),
        device: None,
        turn: None,
        request: RequestId::from_slice(&[0x52; 16]),
    };
    let said = event(42, said);
    is_stored_as(&said.erased(), "text.v2.erased");
}

#[test]
fn a_snapshot_keeps_what_is_still_to_be_erased() {
    let mut state = State {
        head: Seq(50),
        ..State::default()
    };
    let erasure = Erasure {
        through: Seq(48),
        at: Millis(AT.0 + 5),
        bytes_since: 77,
    };
    state.erasures.pending.insert(user("charly"), erasure);
    state.erasures.done.insert(user("harry"), AT);
    let golden = golden("snapshot.v4.erasing");
    assert_eq!(codec::decode_snapshot(golden.clone()).unwrap(), state);
    assert_eq!(codec::encode_snapshot(&state), golden);
    assert_eq!(codec::snapshot_version(&state), 4);
    state.erasures.pending.clear();
    assert_eq!(codec::snapshot_version(&state), 1);
}
