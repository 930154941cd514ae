//! A room with very many members: it is entered, told part by part, and taken over, over servers
//! that take messages of 1 MiB.

use crate::{
    cluster::Cluster,
    node::Node,
    person::{JSON, Person},
};
use safe_chat::{
    bus::{Commit, Registry, Settings, ShardRecord},
    journal::{Journal, Limits, bus::OnBus},
    room::{Change, Epoch, Event, Incarnation, Kind, Millis, RoomId, Seq, SessionId, UserId},
};
use serde_json::{Value, json};
use std::{sync::Arc, time::Instant};
use uuid::Uuid;

const MEMBERS: u64 = 100_000;

fn name(n: u64) -> String {
    format!("somebody-from-far-away-{n:06}")
}

/// Writes a room that so many have joined, as an owner that is gone did.
async fn write(cluster: &Cluster, room: &RoomId) {
    let (bus, shard) = (
        Arc::new(cluster.bus_of_it().await),
        cluster.shards().of(room),
    );
    let settings = Settings::of_shards(cluster.shards().count());
    bus.settings(&settings).await.expect("settings");
    let journal = OnBus::new(bus.clone(), cluster.shards());
    let nobody = Incarnation::new(Uuid::from_u128(1));
    let claim = journal
        .claim(shard, nobody, Epoch(1))
        .await
        .expect("a claim");
    journal.open(room, claim).await.expect("an empty room");
    // At a node that nobody has seen, and nobody takes for gone.
    let gateway = Incarnation::new(Uuid::from_u128(2));
    let joined = |n: u64| {
        let user = UserId::parse(&name(n)).expect("a name");
        let opened = Change::Opened {
            session: SessionId::new(Uuid::from_u128(n.into())),
            user: user.clone(),
            device: None,
            gateway,
        };
        Event {
            seq: Seq(n),
            at: Millis(n),
            kind: Kind::Joined { user },
            changes: vec![opened],
        }
    };
    let all: Vec<u64> = (1..=MEMBERS).collect();
    for part in all.chunks(Limits::EVENTS) {
        let commit = Commit {
            epoch: claim.epoch(),
            events: part.iter().copied().map(joined).collect(),
        };
        journal
            .append(room, claim, &commit)
            .await
            .expect("appended");
    }
    let (record, revision) = bus
        .shard(shard)
        .await
        .expect("an answer")
        .expect("a record");
    let released = ShardRecord {
        owner: None,
        ..record
    };
    bus.set_shard(shard, &released, revision)
        .await
        .expect("released");
}

/// Harry joins, and asks for all members part by part; how many parts.
async fn enters(node: &Node, others: u64, id: &str) -> usize {
    let begun = Instant::now();
    let mut harry = Person::joins(node, "aaa", "harry", "key-harry&history=0", JSON).await;
    let welcome = harry.json().await;
    eprintln!("{others} others: entered after {:?}", begun.elapsed());
    assert_eq!(welcome["type"], "welcome", "{welcome}");
    let told = welcome["members"].as_array().map_or(0, Vec::len);
    let counts = json!([welcome["more_members"], welcome["member_count"]]);
    assert_eq!(
        counts,
        json!([true, others + 1]),
        "{told} told, head {}",
        welcome["seq"]
    );
    let names = |frame: &Value| -> Vec<String> {
        let names = frame["members"].as_array().expect("names").iter();
        names
            .map(|name| name.as_str().expect("a name").to_owned())
            .collect()
    };
    let mut all = names(&welcome);
    let mut parts = 1;
    loop {
        let after = all.last().expect("at least one");
        let question = json!({ "type": "members", "id": "q", "after": after });
        harry.types(&question.to_string()).await;
        let part = harry.next("members").await;
        all.extend(names(&part));
        parts += 1;
        if part["more"] != true {
            break;
        }
    }
    let mut expected: Vec<String> = (1..=others).map(name).collect();
    expected.push("harry".into());
    expected.sort();
    assert_eq!(all.len(), expected.len());
    assert!(all == expected, "every one of them once, by name");
    // The room goes on.
    harry.says(id, "Hello").await;
    assert_eq!(harry.next("event").await["from"], "harry");
    parts
}

pub(crate) async fn a_room_of_100_000_members_is_entered_and_told_part_by_part(cluster: Cluster) {
    let room = RoomId::parse("aaa").expect("a name");
    write(&cluster, &room).await;
    let mut first = cluster.node("first").await;
    let parts = enters(&first, MEMBERS, "m1").await;
    assert!(parts > 10, "{parts} parts");
    // Another node takes it over.
    let second = cluster.node("second").await;
    first.stop().await;
    enters(&second, MEMBERS, "m2").await;
}
