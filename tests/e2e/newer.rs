//! What a newer version wrote is left to it: a program that was away while others went on to newer
//! forms passes nothing that it cannot read, hands over and ends.

use crate::{
    belonging::settings,
    changed::{Scene, gets_in},
    cluster::eventually,
    person::Person,
};
use async_nats::HeaderMap;
use safe_chat::{
    bus::{
        Commit, FORMATS, NodeRecord, Role, Submission,
        codec::{encode_command, encode_node},
    },
    journal::codec::encode_commit,
    room::{Action, Body, Epoch, Event, Incarnation, Kind, Millis, RoomId, Seq, UserId},
};
use serde_json::Value;
use std::time::Duration;
use uuid::Uuid;

/// Kinds that this version does not know, where the settings say that there are such.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_newer_version_wrote_is_not_settled() {
    let Some(scene) = Scene::new("a newer version").await else {
        return;
    };
    let mut node = scene.cluster.node("only").await;
    let mut harry = Person::joins_in_json(&node, "aaa", "harry", "key-harry").await;
    gets_in(&mut harry, "m1").await;
    node.stop().await;
    write_event(&scene, "aaa").await;
    let mut node = scene.cluster.node("only").await;

    let mut noted = settings(&scene).await;
    noted["format"] = (FORMATS + 1).into();
    let key = scene.key("SHARDS", "settings");
    let store = async |settings: &Value| {
        let settings = settings.to_string();
        scene
            .operator
            .store(&key, HeaderMap::new(), &settings)
            .await
    };
    store(&noted).await;
    let unpin = encode_command(&Submission {
        room: RoomId::parse("aaa").unwrap(),
        action: Action::Unpin {
            user: UserId::parse("harry").unwrap(),
        },
        reply: None,
    });
    let of_later: &[u8] = &[0xfa, 0x07, 0x00]; // field 127, of which nothing is known
    for (room, command) in [("aaa", &*unpin), ("bbb", of_later)] {
        let subject = scene.commands_of(room);
        let operator = &scene.operator;
        operator
            .store_bytes(&subject, HeaderMap::new(), command.to_vec().into())
            .await;
    }
    for line in [
        "a room is left to a newer version",
        "a command is left to a newer version",
    ] {
        eventually(line, async || node.logs().contains(line)).await;
    }
    assert_eq!(node.unready().await.matches("forms up to").count(), 1);

    let beats = async {
        loop {
            beat(&scene).await;
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    tokio::select! {
        () = beats => {}
        ended = node.ended() => assert!(ended.success(), "{ended:?}"),
    }
    assert!(
        node.logs().contains("hands over to them and ends"),
        "{}",
        node.logs()
    );
    for room in ["aaa", "bbb"] {
        let subject = scene.commands_of(room);
        assert_eq!(
            scene.operator.count(&scene.stream("CMD"), &subject).await,
            1,
            "{room}"
        );
        let shard = scene.cluster.shards().of(&RoomId::parse(room).unwrap());
        let key = scene.key("SHARDS", &shard.to_string());
        let record = scene.operator.last(&scene.bucket("SHARDS"), &key).await;
        let record: Value = serde_json::from_str(&record).unwrap();
        let floor = record["floor"].as_u64().expect("where to read on");
        let (_, newest) = scene.operator.range(&scene.stream("CMD")).await;
        assert!(floor + 1 < newest, "{room}: {record}, of {newest} commands");
    }

    // Where no newer forms are stored, it is nothing that anybody will read.
    noted["format"] = FORMATS.into();
    store(&noted).await;
    let node = scene.cluster.node("only").await;
    let mut harry = Person::joins_in_json(&node, "bbb", "harry", "key-harry").await;
    gets_in(&mut harry, "m2").await;
}

/// As the owner of a room would write an event that came with a later version.
async fn write_event(scene: &Scene, room: &str) {
    let kind = Kind::Message {
        from: UserId::parse("harry").unwrap(),
        to: None,
        body: Body::Text("Hello".into()),
        id: None,
        device: None,
        turn: None,
        request: None,
    };
    let (stream, subject) = (scene.stream("EVT"), scene.events_of(room));
    let last = async |header| scene.operator.number(&stream, &subject, header).await;
    let (seq, epoch) = (Seq(last("Chat-Seq").await + 1), last("Chat-Epoch").await);
    let event = Event {
        seq,
        at: Millis(1),
        kind,
        changes: Vec::new(),
    };
    let commit = Commit {
        epoch: Epoch(epoch),
        events: vec![event],
    };
    let mut payload = encode_commit(&commit).to_vec();
    let name = payload
        .windows(4)
        .position(|part| part == b"text")
        .expect("its name");
    payload[name..name + 4].copy_from_slice(b"next");
    let mut headers = HeaderMap::new();
    headers.insert("Chat-Seq", seq.0.to_string());
    headers.insert("Chat-Epoch", epoch.to_string());
    scene
        .operator
        .store_bytes(&subject, headers, payload.into())
        .await;
}

/// A node that reads newer forms is there.
async fn beat(scene: &Scene) {
    let incarnation = Incarnation::of_node("later", Uuid::from_u128(7));
    let node = NodeRecord {
        incarnation,
        name: "later".into(),
        roles: vec![Role::Gateway],
        draining: false,
        version: "99.0.0".into(),
        commit: "".into(),
        address: "127.0.0.1:1".into(),
        unreachable: Vec::new(),
        formats: FORMATS + 1,
        keeps: None,
        gone_after_s: None,
    };
    let key = scene.key("NODES", &format!("gateway.later.{incarnation}"));
    scene
        .operator
        .store_bytes(&key, HeaderMap::new(), encode_node(&node))
        .await;
}
