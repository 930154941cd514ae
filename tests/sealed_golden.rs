//! The stored forms of rooms with a policy: read and written as they always were. The golden files
//! hold the bytes in hex, made by an encoder that is not part of this project; that of a group was
//! made once by a group. They are never changed.

#[path = "support/golden.rs"]
mod golden;

use bytes::Bytes;
use prost::Message;
use safe_chat::{
    journal::codec,
    proto::journal::v1::StoredEvent,
    room::{
        Body, Change, CommandId, Event, Group, Identity, Key, Kind, Maker, Millis, Pin, Policy,
        Seq, SessionId, State, Turn, UserId,
    },
};

fn golden(name: &str) -> Bytes {
    golden::golden("journal", name)
}

fn harry() -> UserId {
    UserId::parse("harry").unwrap()
}

fn maker() -> Maker {
    Maker {
        key: Key::parse("KEY-1").unwrap(),
        at: Millis(1_795_465_200_123),
    }
}

#[test]
fn a_policy_and_a_handshake_are_events_as_they_were() {
    let joined = Kind::Joined { user: harry() };
    let set = |maker| Change::PolicySet {
        policy: Policy::Sealed,
        maker,
    };
    let handshake = Kind::Message {
        from: harry(),
        to: None,
        body: Body::Handshake(Bytes::from_static(&[1, 5, 0, 0, 0, 0, 0, 0, 0, 3])),
        id: CommandId::parse("m1"),
        device: None,
        turn: Some(Turn {
            session: SessionId::from_slice(&[0x11; 16]).unwrap(),
            number: 7,
        }),
        request: None,
    };
    for (name, seq, kind, changes) in [
        ("joined.v1.policy", 1, joined.clone(), vec![set(None)]),
        ("joined.v1.maker", 1, joined, vec![set(Some(maker()))]),
        ("handshake.v1", 14, handshake, Vec::new()),
    ] {
        let event = Event {
            seq: Seq(seq),
            at: Millis(1_795_465_200_123),
            kind,
            changes,
        };
        let stored = StoredEvent::decode(golden(name)).unwrap();
        assert_eq!(codec::decode_event(stored).unwrap(), event, "{name}");
        let written = codec::encode_event(&event).encode_to_vec();
        assert_eq!(written, golden(name), "{name}");
    }
}

#[test]
fn a_snapshot_keeps_the_policy_in_a_version_of_its_own() {
    let pin = Pin {
        key: Key::parse("KEY-1").unwrap(),
        identity: Identity::Proven,
    };
    let state = State {
        head: Seq(7),
        pins: [(harry(), pin)].into(),
        policy: Policy::Proven,
        ..State::default()
    };
    let made = State {
        policy: Policy::Sealed,
        maker: Some(maker()),
        ..state.clone()
    };
    for (name, state) in [("snapshot.v2", &state), ("snapshot.v2.maker", &made)] {
        let golden = golden(name);
        assert_eq!(codec::decode_snapshot(golden.clone()).unwrap(), *state);
        assert_eq!(codec::encode_snapshot(state), golden, "{name}");
    }
    assert_eq!(codec::snapshot_version(&state), 2);
    assert_eq!(codec::snapshot_version(&State::default()), 1);
    let read: Vec<_> = (0..5).filter(|it| codec::reads_snapshot(*it)).collect();
    assert_eq!(read, [1, 2, 3, 4]);
}

/// A group of harry and charly in its second epoch, where charly asked to leave.
#[test]
fn a_group_is_read_and_written_as_it_was() {
    let stored = golden("group.v1");
    let group = Group::restore(stored.clone(), Seq(6), false).unwrap();
    let reentry = group.reentry().unwrap();
    assert_eq!((reentry.epoch, reentry.made_at), (2, Seq(6)));
    let live = seal::Delivery::restore(&stored).unwrap();
    let names = |certificate: &seal::Certificate| certificate.user().to_string();
    assert_eq!(
        live.members().map(names).collect::<Vec<_>>(),
        ["harry", "charly"]
    );
    assert_eq!(live.leaving().map(names).collect::<Vec<_>>(), ["charly"]);
    assert_eq!(live.snapshot(), stored);
    // With an entry that was shut twice, and charly in since epoch 2.
    let with_door = golden("group.v2");
    let live = seal::Delivery::restore(&with_door).unwrap();
    assert_eq!(live.snapshot(), with_door);
    let state = State {
        head: Seq(7),
        policy: Policy::Sealed,
        group: Some(group),
        ..State::default()
    };
    let restored = codec::decode_snapshot(codec::encode_snapshot(&state)).unwrap();
    assert_eq!(restored, state);
    let other_form = [&[9], &stored[1..]].concat();
    assert!(Group::restore(other_form.into(), Seq(6), false).is_none());
}
