//! Every form of a message on its way to its room that was ever stored can be read, and is written
//! as it always was. The golden files hold the bytes in hex, made by an encoder that is not part of
//! this project; the number in a name is the form (`bus::FORMATS`). They are never changed.

#[path = "support/golden.rs"]
mod golden;

use bytes::Bytes;
use safe_chat::{
    bus::{
        ReplyTo, ShardRecord, Submission,
        codec::{
            decode_command, decode_node, decode_shard, encode_command, encode_node, encode_shard,
        },
    },
    room::{
        Action, BatchMessage, Body, CommandId, DeviceId, Identity, Incarnation, Key, Policy,
        Producer, ProducerSeq, RequestId, Retention, RoomId, SessionId, Turn, UserId,
    },
};

fn golden(name: &str) -> Bytes {
    golden::golden("bus", name)
}

fn user(name: &str) -> UserId {
    UserId::parse(name).unwrap()
}

fn turn(number: u64) -> Turn {
    let session = SessionId::from_slice(&[0x11; 16]).unwrap();
    Turn { session, number }
}

fn hello() -> Body {
    Body::Text("Hello".into())
}

fn sealed() -> Body {
    Body::Sealed(Bytes::from_static(&[0, 1, 2, 255]))
}

/// File, what it stands for, and whether somebody waits for an answer.
fn commands() -> [(&'static str, Action, bool); 14] {
    let id = || CommandId::parse("m1").unwrap();
    let through = Action::Send {
        user: user("harry"),
        key: Key::parse("KEY-1").unwrap(),
        identity: Identity::Claimed,
        turn: Some(turn(300)),
        after: 299,
        request: None,
        id: id(),
        to: Some(user("charly")),
        body: hello(),
    };
    let posted = Action::Send {
        user: user("harry"),
        key: Key::parse("KEY-1").unwrap(),
        identity: Identity::Claimed,
        turn: None,
        after: 0,
        request: RequestId::from_slice(&[0x55; 16]),
        id: id(),
        to: None,
        body: sealed(),
    };
    let producer = Producer {
        gateway: Incarnation::from_slice(&[0x33; 16]).unwrap(),
        generation: 4,
    };
    let first = BatchMessage {
        turn: turn(300),
        user: user("harry"),
        id: id(),
        to: Some(user("charly")),
        body: hello(),
    };
    let second = BatchMessage {
        turn: turn(301),
        user: user("harry"),
        id: CommandId::Gateway(turn(301).session, 301),
        to: None,
        body: sealed(),
    };
    let batch = Action::Batch {
        from: ProducerSeq {
            producer,
            sequence: 300,
        },
        messages: [first, second].into(),
    };
    let proven = Action::Open {
        session: turn(1).session,
        user: user("harry"),
        key: Key::parse("KEY-1").unwrap(),
        identity: Identity::Proven,
        device: DeviceId::parse("phone").ok(),
        gateway: producer.gateway,
        policy: None,
        former: None,
    };
    let signed = Action::Send {
        user: user("harry"),
        key: Key::parse("KEY-1").unwrap(),
        identity: Identity::Proven,
        turn: None,
        after: 0,
        request: RequestId::from_slice(&[0x55; 16]),
        id: id(),
        to: None,
        body: hello(),
    };
    let vouched = Action::Open {
        session: turn(1).session,
        user: user("harry"),
        key: Key::vouched(),
        identity: Identity::Claimed,
        device: None,
        gateway: producer.gateway,
        policy: None,
        former: None,
    };
    let sealed_room = Action::Open {
        session: turn(1).session,
        user: user("harry"),
        key: Key::parse("KEY-1").unwrap(),
        identity: Identity::Proven,
        device: None,
        gateway: producer.gateway,
        policy: Some(Policy::Sealed),
        former: None,
    };
    let changed = Action::Open {
        session: turn(1).session,
        user: user("harry"),
        key: Key::parse("KEY-1").unwrap(),
        identity: Identity::Proven,
        device: None,
        gateway: producer.gateway,
        policy: None,
        former: Key::parse("KEY-2").ok(),
    };
    let handshake = Action::Batch {
        from: ProducerSeq {
            producer,
            sequence: 300,
        },
        messages: [BatchMessage {
            turn: turn(7),
            user: user("harry"),
            id: id(),
            to: None,
            body: Body::Handshake(Bytes::from_static(&[1, 5, 0, 0, 0, 0, 0, 0, 0, 3])),
        }]
        .into(),
    };
    let unpin = Action::Unpin {
        user: user("harry"),
    };
    let retain = Action::Retain {
        own: Some(Retention {
            age: Some(86_400),
            events: Some(100),
            bytes: Some(1),
        }),
    };
    let erase = Action::Erase {
        user: user("harry"),
    };
    [
        ("command.1.turn", through, true),
        ("command.1.request", posted, true),
        ("command.2.batch", batch, false),
        ("command.4.open", proven, true),
        ("command.4.vouched", vouched, true),
        ("command.4.request", signed, true),
        ("command.4.unpin", unpin, false),
        ("command.5.policy", sealed_room, true),
        ("command.5.handshake", handshake, false),
        ("command.5.retain", retain, false),
        ("command.5.default", Action::Retain { own: None }, false),
        ("command.5.purge", Action::Purge, false),
        ("command.7.erase", erase, false),
        ("command.8.former", changed, true),
    ]
}

#[test]
fn every_stored_form_is_read_and_written_as_it_was() {
    let room = RoomId::parse("lobby").unwrap();
    for (name, action, is_awaited) in commands() {
        let node = Incarnation::from_slice(&[0x77; 16]).unwrap();
        let submission = Submission {
            room: room.clone(),
            action,
            reply: is_awaited.then_some(ReplyTo { node, tag: 5 }),
        };
        let read = decode_command(&room, golden(name)).unwrap();
        assert_eq!(read, submission, "{name}");
        assert_eq!(encode_command(&submission), golden(name), "{name}");
    }
}

/// Its gateway gets no answers in forms that it does not know.
#[test]
fn a_node_of_before_reads_no_batches_and_one_of_now_does() {
    let id = "0123456789abcdef0123456789abcdef";
    let record = format!(
        r#"{{"incarnation":"{id}","name":"node-1","roles":["gateway"],"version":"1.0.0"}}"#
    );
    let mut node = decode_node(record.as_bytes()).unwrap();
    assert!(!node.reads_batches() && !node.reads_names() && !node.reads_unpins());
    assert!(!node.reads_policies() && !node.reads_retention());
    node.formats = safe_chat::bus::FORMATS;
    assert_eq!((node.keeps, &*node.commit), (None, ""));
    node.commit = "1f2e3d4c5b6a".into();
    node.keeps = Some(Retention {
        events: Some(10),
        ..Retention::default()
    });
    let (stored, kept) = (encode_node(&node), node.keeps);
    let node = decode_node(&stored).unwrap();
    assert_eq!((node.keeps, &*node.commit), (kept, "1f2e3d4c5b6a"));
    assert!(node.reads_batches() && node.reads_names() && node.reads_unpins());
    assert!(node.reads_policies() && node.reads_retention());
}

/// A node of before says of no room that something is being removed, and what it writes reads as
/// that; a node of now that is about nothing writes what one of before does.
#[test]
fn a_record_of_a_shard_names_rooms_that_are_unfinished_or_none() {
    let before = br#"{"owner":null,"epoch":4,"floor":17}"#;
    let mut record = decode_shard(before).unwrap();
    assert_eq!((record.epoch.0, record.floor.0), (4, 17));
    assert_eq!(record.unfinished, []);
    assert_eq!(encode_shard(&record), before[..]);
    let named = (0..100).map(|n| RoomId::parse(&format!("room-{n:02}")).unwrap());
    record.unfinished = named.collect();
    let most = ShardRecord::UNFINISHED;
    let read = decode_shard(&encode_shard(&record)).unwrap();
    assert_eq!(read.unfinished, record.unfinished[..most]);
    let odd = br#"{"owner":null,"epoch":4,"floor":17,"unfinished":["no name!","aaa"]}"#;
    assert_eq!(
        decode_shard(odd).unwrap().unfinished,
        [RoomId::parse("aaa").unwrap()],
        "what is none costs nobody the shard"
    );
}

#[test]
fn what_stands_for_a_token_is_no_key_that_an_older_gateway_may_pass_on() {
    let room = RoomId::parse("aaa").unwrap();
    let vouched = golden("command.4.vouched").to_vec();
    // The same without the word of the gateway, as one of before tokens would send it.
    let [said, unsaid] = [&[0x38, 1][..], &[0x38, 0][..]];
    let at = vouched.windows(2).position(|two| two == said).unwrap();
    let claimed = [&vouched[..at], unsaid, &vouched[at + 2..]].concat();
    assert!(decode_command(&room, claimed.into()).is_err());
}
