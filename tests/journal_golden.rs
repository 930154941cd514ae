//! Every stored version that was ever written can be read, and the current versions are written as
//! they always were. The golden files hold stored bytes in hex, made by an encoder that is not part
//! of this project. They are never changed.

#[path = "support/golden.rs"]
mod golden;

use bytes::Bytes;
use prost::Message;
use safe_chat::{
    bus::Commit,
    journal::{Error, codec},
    proto::journal::v1::StoredEvent,
    room::{
        Attempt, Body, Change, CommandId, DeviceId, Ended, Epoch, Event, Identity, Incarnation,
        Key, Kind, MessageKey, Millis, Pin, Producer, ProducerSeq, Reason, RequestId, Sent, Seq,
        Session, SessionId, State, Turn, UserId,
    },
};
use std::collections::{BTreeMap, VecDeque};

fn golden(name: &str) -> Bytes {
    golden::golden("journal", name)
}

fn user(name: &str) -> UserId {
    UserId::parse(name).unwrap()
}

fn claimed(key: &str) -> Pin {
    Pin {
        key: Key::parse(key).unwrap(),
        identity: Identity::Claimed,
    }
}

fn session(byte: u8) -> SessionId {
    SessionId::from_slice(&[byte; 16]).unwrap()
}

fn event(seq: u64, kind: Kind, changes: Vec<Change>) -> Event {
    Event {
        seq: Seq(seq),
        at: Millis(1_795_465_200_123),
        kind,
        changes,
    }
}

fn message(to: Option<&str>, body: Body, id: Option<CommandId>, device: Option<&str>) -> Kind {
    Kind::Message {
        from: user("harry"),
        to: to.map(user),
        body,
        id,
        device: device.map(|name| DeviceId::parse(name).unwrap()),
        turn: None,
        request: None,
    }
}

/// A message of a session, with its number there.
fn turn() -> Kind {
    let turn = Some(Turn {
        session: session(0x11),
        number: 300,
    });
    Kind::Message {
        from: user("harry"),
        to: None,
        body: Body::Text("Hello".into()),
        id: CommandId::parse("m1"),
        device: None,
        turn,
        request: None,
    }
}

/// A message that a request brought.
fn request() -> Kind {
    let Kind::Message {
        from, to, body, id, ..
    } = turn()
    else {
        unreachable!("a turn is a message")
    };
    Kind::Message {
        from,
        to,
        body,
        id,
        device: None,
        turn: None,
        request: RequestId::from_slice(&[0x55; 16]),
    }
}

/// A message of the window, of which is not stored by which attempt it came.
fn sent(seq: u64) -> Sent {
    Sent::new(Seq(seq), None)
}

fn batch(gateway: u8, generation: u64, sequence: u64) -> ProducerSeq {
    let gateway = Incarnation::from_slice(&[gateway; 16]).unwrap();
    let producer = Producer {
        gateway,
        generation,
    };
    ProducerSeq { producer, sequence }
}

fn taken(sequence: u64, repeats: Vec<(u32, Seq)>) -> Change {
    let from = batch(0x33, 4, sequence);
    Change::BatchTaken { from, repeats }
}

fn opened() -> Change {
    let gateway = Incarnation::from_slice(&[0x33; 16]).unwrap();
    Change::Opened {
        session: session(0x11),
        user: user("harry"),
        device: Some(DeviceId::parse("phone").unwrap()),
        gateway,
    }
}

/// File, the event that it stands for, whether it is the version that is written now.
fn events() -> Vec<(&'static str, Event, bool)> {
    let pinned = Change::Pinned {
        user: user("harry"),
        key: Key::parse("KEY-1").unwrap(),
        identity: Identity::Claimed,
    };
    let refused = Change::Refused {
        session: session(0x22),
        reason: Reason::KeyMismatch,
    };
    let abandoned = Change::Abandoned {
        gateway: Incarnation::from_slice(&[0x33; 16]).unwrap(),
        at: Millis(1_795_465_200_000),
    };
    let closed = Change::Closed {
        session: session(0x11),
    };
    let said = Change::DuplicateRecorded {
        turn: Turn {
            session: session(0x11),
            number: 300,
        },
        seq: Seq(5),
    };
    let (greeting, hello) = (
        || Body::Text("Hallo, Grüße".into()),
        || Body::Text("Hello".into()),
    );
    let by_client = || CommandId::parse("m1");
    vec![
        (
            "joined.v1",
            event(
                1,
                Kind::Joined {
                    user: user("harry"),
                },
                vec![pinned, opened()],
            ),
            true,
        ),
        (
            "left.v1",
            event(
                2,
                Kind::Left {
                    user: user("harry"),
                },
                vec![refused, closed],
            ),
            true,
        ),
        (
            "left.v1.abandoned",
            event(
                8,
                Kind::Left {
                    user: user("harry"),
                },
                vec![abandoned],
            ),
            true,
        ),
        (
            "text.v1",
            event(3, message(Some("charly"), greeting(), None, None), vec![]),
            false,
        ),
        (
            "text.v1.all",
            event(4, message(None, hello(), None, None), vec![]),
            false,
        ),
        (
            "text.v2",
            event(
                5,
                message(Some("charly"), greeting(), by_client(), Some("phone")),
                vec![],
            ),
            true,
        ),
        (
            "text.v2.all",
            event(
                6,
                message(
                    None,
                    hello(),
                    Some(CommandId::Gateway(session(0x11), 300)),
                    None,
                ),
                vec![],
            ),
            true,
        ),
        (
            "text.v2.sealed",
            event(
                7,
                message(
                    None,
                    Body::Sealed(Bytes::from_static(&[0, 1, 2, 255])),
                    by_client(),
                    None,
                ),
                vec![],
            ),
            true,
        ),
        (
            "left.v1.said",
            event(
                10,
                Kind::Left {
                    user: user("harry"),
                },
                vec![said],
            ),
            true,
        ),
        (
            "left.v1.batch",
            event(
                12,
                Kind::Left {
                    user: user("harry"),
                },
                vec![taken(300, vec![(0, Seq(5)), (255, Seq(9))])],
            ),
            true,
        ),
        ("text.v2.turn", event(9, turn(), vec![]), true),
        ("text.v2.request", event(11, request(), vec![]), true),
    ]
}

fn state() -> State {
    let mut state = State {
        head: Seq(7),
        ..State::default()
    };
    state.members.extend([user("charly"), user("harry")]);
    let Change::Opened {
        session: id,
        user: name,
        device,
        gateway,
    } = opened()
    else {
        unreachable!()
    };
    state.sessions.insert(
        id,
        Session {
            user: name,
            device,
            gateway,
            last: 0,
            repeats: BTreeMap::new(),
            skipped: VecDeque::new(),
        },
    );
    state.pins.insert(user("harry"), claimed("KEY-1"));
    state.pins.insert(user("charly"), claimed("KEY-2"));
    state.sent.insert(
        MessageKey::Named(user("charly"), CommandId::Gateway(session(0x11), 300)),
        sent(5),
    );
    let key = MessageKey::Named(user("harry"), CommandId::parse("m1").unwrap());
    state.sent.insert(key, sent(7));
    state
        .ended
        .insert(session(0x22), Ended::Refused(Reason::KeyMismatch));
    state.ended.insert(session(0x44), Ended::Closed);
    state.unjournaled.push(Change::Closed {
        session: session(0x44),
    });
    state
}

#[test]
fn every_stored_version_leads_to_its_event() {
    for (name, expected, _) in events() {
        let stored = StoredEvent::decode(golden(name)).unwrap();
        assert_eq!(codec::decode_event(stored).unwrap(), expected, "{name}");
    }
}

#[test]
fn events_are_written_as_they_always_were() {
    for (name, event, _) in events().into_iter().filter(|(_, _, current)| *current) {
        assert_eq!(
            codec::encode_event(&event).encode_to_vec(),
            golden(name),
            "{name}"
        );
    }
}

#[test]
fn every_version_that_can_be_read_has_a_golden_file() {
    for mapping in codec::schema() {
        for version in &mapping.reads {
            golden(&format!("{}.v{version}", mapping.name));
        }
    }
    let shown: Vec<String> = codec::schema().iter().map(ToString::to_string).collect();
    assert_eq!(
        shown,
        [
            "Joined -> joined@1",
            "Left -> left@1",
            "Message -> text@2",
            "Unpinned -> unpinned@1",
            "Handshake -> handshake@1",
            "Purged -> purged@1",
            "Erased -> erased@1"
        ]
    );
}

#[test]
fn a_commit_of_old_events_can_be_read() {
    let expected = events()
        .into_iter()
        .filter(|(name, ..)| name.starts_with("text.v1"))
        .map(|(_, event, _)| event)
        .collect();
    assert_eq!(
        codec::decode_commit(&golden("commit.v1")).unwrap(),
        Commit {
            epoch: Epoch(9),
            events: expected
        }
    );
}

#[test]
fn a_commit_with_a_gap_is_refused() {
    let events = [1, 3].map(|seq| {
        event(
            seq,
            Kind::Left {
                user: user("harry"),
            },
            vec![],
        )
    });
    let bytes = codec::encode_commit(&Commit {
        epoch: Epoch(1),
        events: events.into(),
    });
    assert!(matches!(
        codec::decode_commit(&bytes),
        Err(Error::Damaged(_))
    ));
}

#[test]
fn a_snapshot_is_read_and_written_as_it_always_was() {
    assert_eq!(
        codec::decode_snapshot(golden("snapshot.v1")).unwrap(),
        state()
    );
    assert_eq!(codec::encode_snapshot(&state()), golden("snapshot.v1"));

    let mut state = state();
    state.abandoned.insert(
        (
            Incarnation::from_slice(&[0x33; 16]).unwrap(),
            Millis(1_795_465_200_000),
        ),
        (),
    );
    assert_eq!(
        codec::decode_snapshot(golden("snapshot.v1.abandoned")).unwrap(),
        state
    );
    assert_eq!(
        codec::encode_snapshot(&state),
        golden("snapshot.v1.abandoned")
    );
}

#[test]
fn a_snapshot_keeps_how_far_a_session_has_come() {
    let mut state = state();
    let mut at_300 = state.sessions.get(session(0x11)).unwrap().clone();
    at_300.repeats.insert(299, Seq(5));
    at_300.last = 300;
    state.sessions.remove(session(0x11));
    state.sessions.insert(session(0x11), at_300);
    assert_eq!(
        codec::decode_snapshot(golden("snapshot.v1.turn")).unwrap(),
        state
    );
    assert_eq!(codec::encode_snapshot(&state), golden("snapshot.v1.turn"));
}

#[test]
fn a_snapshot_keeps_what_a_session_has_passed_over() {
    let mut state = state();
    for number in [3, 4, 9] {
        let session = session(0x11);
        state.sessions.said(Turn { session, number });
    }
    let skipped = &state.sessions.get(session(0x11)).unwrap().skipped;
    assert_eq!(*skipped, [(1, 2), (5, 8)]);
    let stored = codec::encode_snapshot(&state);
    assert_eq!(codec::decode_snapshot(stored).unwrap(), state);
}

#[test]
fn a_snapshot_keeps_how_far_each_gateway_has_come() {
    let mut state = State {
        head: Seq(7),
        ..State::default()
    };
    let repeats = [(299, 0, Seq(5)), (300, 255, Seq(6))];
    state.producers.restore(batch(0x33, 4, 300), repeats);
    state.producers.restore(batch(0x66, 1, 7), []);
    let golden = golden("snapshot.v1.producers");
    assert_eq!(codec::decode_snapshot(golden.clone()).unwrap(), state);
    assert_eq!(codec::encode_snapshot(&state), golden);
}

/// What goes into one message is bounded by this.
#[test]
fn an_event_takes_no_more_bytes_than_it_is_thought_to() {
    let mut all: Vec<Event> = events().into_iter().map(|(_, event, _)| event).collect();
    let changes = vec![
        opened(),
        Change::Closed {
            session: session(1),
        },
        Change::Refused {
            session: session(1),
            reason: Reason::TooManySessions,
        },
        Change::Abandoned {
            gateway: Incarnation::from_slice(&[1; 16]).unwrap(),
            at: Millis(u64::MAX),
        },
        Change::DuplicateRecorded {
            turn: Turn {
                session: session(1),
                number: u64::MAX,
            },
            seq: Seq(u64::MAX),
        },
        taken(u64::MAX, vec![(u32::MAX, Seq(u64::MAX)); 3]),
        Change::Pinned {
            user: user(&"u".repeat(64)),
            key: Key::parse(&"k".repeat(128)).unwrap(),
            identity: Identity::Proven,
        },
    ];
    for event in all.clone() {
        all.push(Event {
            seq: Seq(u64::MAX),
            at: Millis(u64::MAX),
            changes: changes.clone(),
            ..event
        });
    }
    for event in all {
        let thought = codec::size_of_event(&event.kind, &event.changes);
        let commit = |events| Commit {
            epoch: Epoch(1),
            events,
        };
        let empty = codec::encode_commit(&commit(Vec::new())).len();
        let taken = codec::encode_commit(&commit(vec![event.clone()])).len() - empty;
        let spare = 128 + 32 * event.changes.len();
        assert!(
            (taken..=taken + spare).contains(&thought),
            "{thought} for {taken}: {event:?}"
        );
    }
}

#[test]
fn a_snapshot_keeps_by_which_attempts_its_messages_came() {
    let turn = Turn {
        session: session(0x11),
        number: 300,
    };
    let request = RequestId::from_slice(&[0x55; 16]).unwrap();
    let mut state = State {
        head: Seq(7),
        ..State::default()
    };
    for (name, id, seq, by) in [
        ("charly", "m1", 5, Some(Attempt::Turn(turn))),
        ("harry", "m1", 6, Some(Attempt::Request(request))),
        ("harry", "m2", 7, None),
    ] {
        let sent = Sent::new(Seq(seq), by);
        let key = MessageKey::Named(user(name), CommandId::parse(id).unwrap());
        state.sent.insert(key, sent);
    }
    let golden = golden("snapshot.v1.attempts");
    assert_eq!(codec::decode_snapshot(golden.clone()).unwrap(), state);
    assert_eq!(codec::encode_snapshot(&state), golden);
}

#[test]
fn a_name_or_version_that_is_not_known_is_refused_by_name() {
    for (name, version) in [("text", 3), ("text", 0), ("reaction", 1)] {
        let stored = StoredEvent {
            seq: 8,
            name: name.into(),
            version,
            ..StoredEvent::default()
        };
        match codec::decode_event(stored) {
            Err(Error::Unsupported {
                seq,
                name: refused,
                version: at,
            }) => assert_eq!((seq, refused.as_str(), at), (Seq(8), name, version)),
            other => panic!("{name} {version}: {other:?}"),
        }
    }
}

#[test]
fn damaged_content_is_refused_without_showing_it() {
    let payload = Bytes::from_static(b"\x0a\x09not valid");
    let stored = StoredEvent {
        seq: 8,
        name: "joined".into(),
        version: 1,
        payload,
        ..StoredEvent::default()
    };
    let Err(Error::Damaged(why)) = codec::decode_event(stored) else {
        panic!("a user's name with a space was accepted")
    };
    assert_eq!(
        why,
        "event 8 (`joined` version 1): user must be 1 to 64 characters of A-Z a-z 0-9 _ -"
    );
}
