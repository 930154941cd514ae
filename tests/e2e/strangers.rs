//! What reaches the owner of one shard about a room of another: whoever else speaks to the bus may
//! send it, by mistake or not. It costs nothing of what was acknowledged, and nothing of it
//! happens.

use crate::cluster::{Cluster, PATIENCE, eventually};
use crate::node::Node;
use async_nats::{Client, jetstream};
use reqwest::StatusCode;
use safe_chat::{
    bus::{Ask, Head, Submission, codec},
    room::{Action, Body, CommandId, Epoch, Identity, Incarnation, Key, RoomId, Seq, UserId},
};
use serde_json::{Value, json};
use uuid::Uuid;

const ROOM: &str = "hroom2";

pub(crate) async fn what_comes_to_a_wrong_shard_undoes_nothing(cluster: Cluster) {
    let (mut first, mut second) = tokio::join!(cluster.node("first"), cluster.node("second"));
    let nats = async_nats::connect(cluster.nats()).await.unwrap();
    posts(&first, 1..=3).await;
    astray(&cluster, &nats, "one").await;
    posts(&second, 4..=6).await;
    astray(&cluster, &nats, "two").await;
    posts(&first, 7..=9).await;

    is_sound(&cluster, 9).await;
    // Commands are stored; a question may come while a shard changes hands, and nobody is asked
    // then.
    let wrong = u64::from(cluster.shards().count() - 1);
    eventually("all that went astray was dropped", async || {
        let metrics = first.metrics().await + &second.metrics().await;
        let dropped = |what| {
            sum(
                &metrics,
                &format!("safechat_bus_stray_total{{what=\"{what}\"}}"),
            )
        };
        dropped("ask") >= wrong && dropped("command") >= 2 * wrong
    })
    .await;
    for node in [&first, &second] {
        let told = node.logs().matches("skipped; more of its kind").count();
        assert!(told <= 4, "{told} lines for one episode of each kind");
    }
    tokio::join!(first.kill(), second.kill());
    tokio::join!(first.restart(), second.restart());
    posts(&second, 10..=10).await;
    let url = format!("{}/rooms/{ROOM}/history?limit=100", first.url());
    let all: Vec<_> = (1..=10).map(|n| json!(format!("text {n}"))).collect();
    // The other node may say `journaled` a moment before this one can see the event.
    eventually("every text is there once, in order", async || {
        let page: Value = reqwest::get(&url).await.unwrap().json().await.unwrap();
        let events = page["events"].as_array().unwrap().iter();
        let texts: Vec<_> = events.map(|event| event["text"].clone()).collect();
        assert!(all.starts_with(&texts), "{texts:?}");
        texts == all
    })
    .await;
    is_sound(&cluster, 10).await;
}

/// Questions, heads, marks and commands about the room, at every shard but its own.
async fn astray(cluster: &Cluster, nats: &Client, what: &str) {
    let (shards, prefix) = (cluster.shards(), cluster.prefix());
    let room = RoomId::parse(ROOM).unwrap();
    let ask = codec::encode_ask(&Ask::room(room.clone()));
    let head = Head {
        room: room.clone(),
        epoch: Epoch(99),
        seq: Seq(1_000),
    };
    let heads = codec::encode_heads(&[head]);
    let stream = jetstream::new(nats.clone());
    for shard in shards.all().filter(|shard| *shard != shards.of(&room)) {
        let (subject, reply) = (format!("{prefix}.ask.{shard}"), nats.new_inbox());
        nats.publish_with_reply(subject, reply, ask.clone())
            .await
            .unwrap();
        nats.publish(format!("{prefix}.head.{shard}"), heads.clone())
            .await
            .unwrap();
        let id = format!("stray-{what}-{shard}");
        let command = Submission {
            room: room.clone(),
            action: Action::Send {
                user: UserId::parse("harry").unwrap(),
                key: Key::parse("key-harry").unwrap(),
                identity: Identity::Claimed,
                turn: None,
                request: None,
                after: 0,
                id: CommandId::parse(&id).unwrap(),
                to: None,
                body: Body::Text(id.into()),
            },
            reply: None,
        };
        let subject = format!("{prefix}.cmd.{shard}.{room}");
        let stored = stream
            .publish(subject, codec::encode_command(&command))
            .await;
        stored.unwrap().await.unwrap();
        let node = Incarnation::new(Uuid::now_v7());
        let key = format!(
            "$KV.{}_SESSIONS.{node}.{shard}.{room}",
            prefix.to_uppercase()
        );
        stream.publish(key, "".into()).await.unwrap().await.unwrap();
    }
    nats.flush().await.unwrap();
}

/// Each is sent once and journaled at its place.
async fn posts(node: &Node, numbers: std::ops::RangeInclusive<u64>) {
    for n in numbers {
        let url = format!(
            "{}/rooms/{ROOM}/messages?user=harry&pub=key-harry",
            node.url()
        );
        let message = json!({"id": format!("m{n}"), "text": format!("text {n}")});
        let request = reqwest::Client::new()
            .post(url)
            .json(&message)
            .timeout(PATIENCE);
        let answer = request.send().await.unwrap();
        let (status, body) = (answer.status(), answer.json::<Value>().await.unwrap());
        assert_eq!(status, StatusCode::OK, "{body}");
        assert_eq!(
            (&body["seq"], &body["duplicate"]),
            (&json!(n), &json!(false)),
            "{body}"
        );
    }
}

async fn is_sound(cluster: &Cluster, head: u64) {
    let verified = cluster.run(&["journal", "verify", ROOM], &[]).await;
    println!("{}{}", verified.stdout, verified.stderr);
    let sound = format!("sound: {head} events");
    assert!(
        verified.code == Some(0) && verified.stdout.contains(&sound),
        "{verified:?}"
    );
}

fn sum(metrics: &str, name: &str) -> u64 {
    let of = |line: &str| line.strip_prefix(name)?.trim().parse::<u64>().ok();
    metrics.lines().filter_map(of).sum()
}
