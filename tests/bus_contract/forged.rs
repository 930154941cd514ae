//! What others say in somebody's place, or with numbers that nobody can have, by a plain client of
//! NATS: it is as if it had not been said.

use crate::{
    strays::World,
    things::*,
    world::{SHARDS, shard_of},
};
use async_nats::HeaderMap;
use bytes::Bytes;
use futures::StreamExt;
use safe_chat::{
    bus::{
        Ask, Commands, Direct, FORMATS, Feed, Live, NodeRecord, NodeSeen, Position, Registry,
        ReplyTo, Role, ShardSeen, Submission, codec, nats::Nats,
    },
    journal::codec::encode_commit,
    room::{Action, Epoch, Identity, Incarnation, ShardId},
};
use std::time::Duration;
use uuid::Uuid;

/// The most that a number on the bus may be.
const MOST: u64 = i64::MAX as u64;

fn run_of(name: &str) -> Incarnation {
    Incarnation::of_node(name, Uuid::now_v7())
}

fn beat(incarnation: Incarnation, name: &str, roles: &[Role]) -> NodeRecord {
    NodeRecord {
        incarnation,
        name: name.into(),
        roles: roles.into(),
        draining: false,
        version: "0".into(),
        commit: "".into(),
        address: "127.0.0.1:8558".into(),
        unreachable: Vec::new(),
        formats: FORMATS,
        keeps: None,
        gone_after_s: None,
    }
}

fn open(gateway: Incarnation, reply: Option<Incarnation>) -> Submission {
    Submission {
        room: room("lobby"),
        action: Action::Open {
            session: session(),
            user: user("harry"),
            key: key(),
            identity: Identity::Claimed,
            device: None,
            gateway,
            policy: None,
            former: None,
        },
        reply: reply.map(|node| ReplyTo { node, tag: 7 }),
    }
}

/// Until the bus knows of all nodes what they read.
async fn knows_nodes(bus: &Nats) {
    let mut nodes = bus.nodes().await.unwrap();
    while next(&mut nodes).await != NodeSeen::Current {}
}

#[tokio::test]
async fn a_gateway_says_nothing_in_the_place_of_another() {
    let Some(world) = World::new("forged commands").await else {
        return;
    };
    let shard = shard_of(&room("lobby"));
    let [one, two] = ["one", "two"].map(run_of);
    let close = |gateway| Submission {
        action: Action::Close {
            session: session(),
            gateway,
        },
        ..open(one, None)
    };
    let own = open(one, Some(one));
    for (node, said) in [
        ("two", open(one, None)),
        ("two", open(two, Some(one))),
        ("one", close(Some(two))),
        ("one", close(None)),
        ("one", own.clone()),
    ] {
        let subject = format!("pre.cmd.{shard}.lobby.{node}");
        world.store(&subject, codec::encode_command(&said)).await;
    }
    let mut commands = world.bus.commands(shard, Position::ZERO).await.unwrap();
    assert_eq!(next(&mut commands).await.submission, own);

    // What a node says is stored under its name once all owners read that.
    let mine = run_of("unnamed");
    world.bus.submit(&open(mine, None)).await.unwrap();
    knows_nodes(&world.bus).await;
    world.bus.submit(&open(mine, Some(mine))).await.unwrap();
    world.bus.submit(&open(two, None)).await.unwrap();
    for said in [open(mine, None), open(mine, Some(mine)), open(two, None)] {
        let heard = next(&mut commands).await.submission;
        assert_eq!(heard.reply, said.reply);
    }
    let stored = world.subjects("CMD").await;
    let under = |end: &str| stored.iter().filter(|it| it.ends_with(end)).count();
    assert_eq!(
        (under(".lobby"), under(".lobby.unnamed")),
        (1, 1),
        "{stored:?}"
    );
    world
        .bus
        .beat(&beat(one, "one", &[Role::Gateway]))
        .await
        .unwrap();
    for (role, subject, why) in [
        (
            Role::Gateway,
            "pre.cmd.*.lobby.unnamed",
            "it reads no commands",
        ),
        (
            Role::Writer,
            "pre.cmd.*.lobby",
            "an old owner reads no names",
        ),
    ] {
        let before = NodeRecord {
            formats: 2,
            ..beat(node(), "before", &[role])
        };
        world.bus.beat(&before).await.unwrap();
        knows_nodes(&world.bus).await;
        let again = open(mine, Some(mine));
        world.bus.submit(&again).await.unwrap();
        let last = next(&mut commands).await;
        let newest = world.last("CMD", subject).await;
        assert_eq!(newest, last.position.0, "{why}");
    }
}

#[tokio::test]
async fn the_record_of_a_node_says_of_itself_whose_it_is() {
    let Some(world) = World::new("forged records of nodes").await else {
        return;
    };
    let [one, two] = ["one", "two"].map(run_of);
    let own = beat(one, "one", &[Role::Gateway]);
    for (key, record) in [
        // Another one's run, name, or a role that the key does not give.
        (format!("gateway.two.{one}"), own.clone()),
        (
            format!("gateway.one.{two}"),
            beat(two, "one", &[Role::Gateway]),
        ),
        (
            format!("gateway.one.{one}"),
            beat(one, "two", &[Role::Gateway]),
        ),
        (
            format!("gateway.one.{one}"),
            beat(one, "one", &[Role::Writer]),
        ),
        (format!("writer.one.{one}"), own.clone()),
    ] {
        let key = format!("$KV.PRE_NODES.{key}");
        world.store(&key, codec::encode_node(&record)).await;
    }
    world.bus.beat(&own).await.unwrap();
    let mut nodes = world.bus.nodes().await.unwrap();
    match next(&mut nodes).await {
        NodeSeen::Beat { node, .. } => assert_eq!(node, own),
        other => panic!("{other:?}"),
    }
    assert_eq!(next(&mut nodes).await, NodeSeen::Current);
    // Others may not forget it either, and its own end is told.
    let mut headers = HeaderMap::new();
    headers.insert("KV-Operation", "DEL");
    let key = format!("$KV.PRE_NODES.gateway.two.{one}");
    world.store_with(&key, headers, Bytes::new()).await;
    world.bus.forget(one).await.unwrap();
    assert_eq!(next(&mut nodes).await, NodeSeen::Forgotten(one));
    assert_eq!(world.count("NODES", &format!("*.one.{one}")).await, 2);
}

#[tokio::test]
async fn an_epoch_that_nobody_can_have_counts_as_not_there() {
    let Some(world) = World::new("forged epochs").await else {
        return;
    };
    let lobby = room("lobby");
    let true_one = commit(1, 1, 2);
    let first = world.bus.publish(&lobby, &true_one, Position::ZERO);
    let first = first.await.unwrap();
    let mut live = world.bus.live(&lobby).await.unwrap();
    let subject = format!("pre.evt.{}.lobby", shard_of(&lobby));
    for (kind, forged) in [("commit", commit(MOST, 3, 3)), ("claim", claim(MOST))] {
        let payload = encode_commit(&forged);
        world
            .store_with(&subject, written(kind, 3, MOST), payload)
            .await;
    }
    let last = world.bus.last(&lobby).await.unwrap().unwrap();
    assert_eq!((last.epoch.0, last.seq.0), (1, 2));
    assert!(last.position > first, "what comes next passes them");
    let stored = world.bus.stored(&lobby, Position::ZERO, 10).await.unwrap();
    assert_eq!(stored.len(), 1);
    // The next owner goes on as if it were not there.
    let next_one = commit(2, 3, 3);
    let after = world.bus.publish(&lobby, &next_one, last.position);
    after.await.unwrap();
    match next(&mut live).await {
        Live::Commit(heard) => assert_eq!(*heard, commit(2, 3, 3)),
        other => panic!("{other:?}"),
    }

    let shard = ShardId(1);
    let revision = world.bus.set_shard(shard, &record(None, 3, 0), 0).await;
    let mut shards = world.bus.shards().await.unwrap();
    while next(&mut shards).await != ShardSeen::Current {}
    let forged = codec::encode_shard(&record(None, MOST, 0));
    world.store("$KV.PRE_SHARDS.1", forged).await;
    assert_eq!(world.bus.shard(shard).await.unwrap(), None);
    let owned = record(None, 4, 0);
    let again = world.bus.set_shard(shard, &owned, 0).await.unwrap();
    assert!(again > revision.unwrap());
    match next(&mut shards).await {
        ShardSeen::Stored { record, .. } => assert_eq!(record, owned),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn nothing_is_shown_that_the_stream_did_not_publish() {
    let Some(world) = World::new("forged live events").await else {
        return;
    };
    let lobby = room("lobby");
    let mut live = world.bus.live(&lobby).await.unwrap();
    let subject = format!("{}.live.{}.lobby", world.prefix, shard_of(&lobby));
    let forged = encode_commit(&commit(1, 1, 1));
    let said = world
        .stranger
        .publish_with_headers(subject, written("commit", 1, 1), forged);
    said.await.unwrap();
    world.stranger.flush().await.unwrap();
    let true_one = commit(1, 1, 2);
    world
        .bus
        .publish(&lobby, &true_one, Position::ZERO)
        .await
        .unwrap();
    match next(&mut live).await {
        Live::Commit(heard) => assert_eq!(*heard, true_one),
        other => panic!("{other:?}"),
    }
}

/// The server sends an answer to wherever its asker wants it: also to where the asker may not
/// speak.
#[tokio::test]
async fn an_answer_of_the_server_is_nobodys_word() {
    let Some(world) = World::new("answers as words").await else {
        return;
    };
    let (lobby, shard) = (room("lobby"), shard_of(&room("lobby")));
    let own = run_of("one");
    let said = codec::encode_command(&open(own, None));
    let subject = format!("{}.cmd.{shard}.lobby.one", world.prefix);
    world
        .store(&format!("pre.cmd.{shard}.lobby.one"), said)
        .await;
    // As if it had been said by somebody who needs no name; and as an event.
    let ask = format!(
        "$JS.API.DIRECT.GET.{}_CMD.{subject}",
        world.prefix.to_uppercase()
    );
    for to in [format!("cmd.{shard}.lobby"), format!("evt.{shard}.lobby")] {
        let to = format!("{}.{to}", world.prefix);
        let asked = world
            .stranger
            .publish_with_reply(ask.clone(), to, Bytes::new());
        asked.await.unwrap();
    }
    world.stranger.flush().await.unwrap();
    soon(async {
        while world.subjects("CMD").await.len() < 2 || world.subjects("EVT").await.is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    world.bus.submit(&send("lobby", 3)).await.unwrap();
    let mut commands = world.bus.commands(shard, Position::ZERO).await.unwrap();
    assert_eq!(
        next(&mut commands).await.submission,
        open_of(own, &world).await
    );
    assert_eq!(next(&mut commands).await.submission, send("lobby", 3));
    assert_eq!(
        world.bus.stored(&lobby, Position::ZERO, 10).await.unwrap(),
        []
    );

    // Nor does a node answer to anywhere but where somebody waits.
    let mut questions = world.bus.questions(shard).await.unwrap();
    let ask = codec::encode_ask(&Ask::room(lobby));
    let subject = format!("{}.ask.{shard}", world.prefix);
    for reply in ["$KV.PRE_SHARDS.1".to_owned(), world.stranger.new_inbox()] {
        let reply = reply.replace("PRE", &world.prefix.to_uppercase());
        let asked = world
            .stranger
            .publish_with_reply(subject.clone(), reply, ask.clone());
        asked.await.unwrap();
    }
    drop(next(&mut questions).await);
    let more = tokio::time::timeout(Duration::from_millis(1), questions.next());
    assert!(more.await.is_err(), "the first of them was dropped");
}

/// The command that is stored under the name of node one.
async fn open_of(own: Incarnation, world: &World) -> Submission {
    let shard = shard_of(&room("lobby"));
    let stored = world
        .payload("CMD", &format!("pre.cmd.{shard}.lobby.one"))
        .await;
    let submission = codec::decode_command(&room("lobby"), stored).unwrap();
    assert!(matches!(submission.action, Action::Open { gateway, .. } if gateway == own));
    submission
}

/// A gateway may not purge.
#[tokio::test]
async fn a_note_of_sessions_ends_by_itself_when_its_node_takes_it_back() {
    let Some(world) = World::new("notes of sessions").await else {
        return;
    };
    let (lobby, mine) = (room("lobby"), run_of("unnamed"));
    let shard = shard_of(&lobby);
    world.bus.mark(mine, &lobby).await.unwrap();
    knows_nodes(&world.bus).await;
    world.bus.mark(mine, &lobby).await.unwrap();
    assert_eq!(
        world.bus.marks(shard).await.unwrap(),
        [(mine, lobby.clone())]
    );
    let named = format!("unnamed.{mine}.{shard}.lobby");
    assert_eq!(world.count("SESSIONS", &named).await, 1);
    world.bus.unmark(mine, &lobby).await.unwrap();
    soon(async {
        while !world.bus.marks(shard).await.unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    // Who forges one of another node's makes nobody look for it.
    let other = run_of("other");
    let forged = format!("$KV.PRE_SESSIONS.unnamed.{other}.{shard}.lobby");
    world.store(&forged, Bytes::new()).await;
    assert_eq!(world.bus.marks(shard).await.unwrap(), []);
    assert!(shard.0 < SHARDS);
}

fn claim(epoch: u64) -> safe_chat::bus::Commit {
    safe_chat::bus::Commit {
        epoch: Epoch(epoch),
        events: Vec::new(),
    }
}

/// The headers of what an owner writes.
fn written(kind: &str, seq: u64, epoch: u64) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("Chat-Seq", seq.to_string().as_str());
    headers.insert("Chat-Epoch", epoch.to_string().as_str());
    headers.insert("Chat-Type", kind);
    headers
}
