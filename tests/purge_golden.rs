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
        Attempt, Change, CommandId, Event, Holder, Kept, Kind, MessageKey, Millis, Policy, Purge,
        RequestId, Retention, Sent, Seq, SessionId, State, Turn, UserId,
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
    let sent = Sent::new(Seq(40), by);
    state.sent.insert(MessageKey::Digest([0x5a; 16]), sent);
    let golden = golden("snapshot.v1.purged");
    assert_eq!(codec::decode_snapshot(golden.clone()).unwrap(), state);
    assert_eq!(codec::encode_snapshot(&state), golden);
}

#[test]
fn a_snapshot_keeps_whose_messages_of_freed_names_were() {
    let request = |n: u8| RequestId::from_slice(&[n; 16]).map(Attempt::Request);
    let of = |seq, n, digest| Sent {
        holder: Some(Holder(digest)),
        ..Sent::new(Seq(seq), request(n))
    };
    let mut state = State {
        head: Seq(9),
        ..State::default()
    };
    let key = |id| {
        MessageKey::Named(
            UserId::parse("harry").unwrap(),
            CommandId::parse(id).unwrap(),
        )
    };
    state
        .sent
        .insert(key("m1"), of(5, 0x51, 0x0102_0304_0506_0708));
    let newest = Sent {
        former: vec![of(6, 0x52, 0x11), of(7, 0x53, 0x12)],
        ..Sent::new(Seq(8), request(0x54))
    };
    state.sent.insert(key("m2"), newest);
    let golden = golden("snapshot.v1.holders");
    assert_eq!(codec::decode_snapshot(golden.clone()).unwrap(), state);
    assert_eq!(codec::encode_snapshot(&state), golden);
}
