//! A room that was purged, and that nobody comes to, goes with its name on either journal; who
//! comes back finds an empty one.

use crate::{
    cluster::{Cluster, eventually},
    http::Events,
    person::{JSON, Person},
    retention::admin,
};
use safe_chat::{
    bus::{Blobs, Feed, Position},
    room::RoomId,
};
use serde_json::{Value, json};

pub(crate) async fn a_room_that_is_gone_goes_with_its_name(cluster: Cluster) {
    let cluster = cluster
        .with("SAFE_CHAT_WRITER__TRIM_MS", "20")
        .with("SAFE_CHAT_WRITER__IDLE_MS", "1000")
        .with("SAFE_CHAT_WRITER__GONE_AFTER_S", "3");
    let (first, second) = (cluster.node("first").await, cluster.node("second").await);
    for room in ["aaa", "bbb"] {
        let mut harry = Person::joins_in_json(&second, room, "harry", "key-harry").await;
        harry.says("m1", "Hello").await;
        harry.next("journaled").await;
    }
    let left = 3;
    eventually("nobody is there", async || first.head("aaa").await == left).await;
    let mut reader = Events::of(&first, Some("3")).await;
    let purged = admin(&first, &["purge", "aaa", "--yes"]).await["seq"].clone();
    assert_eq!(purged, left + 1);
    assert_eq!(reader.data().await["kind"], "purged");

    let rooms = async || {
        let request = reqwest::Client::new().get(first.internal_url() + "/rooms");
        let answer = request.basic_auth("admin", Some("safe-chat")).send().await;
        let page: Value = answer.expect("an answer").json().await.expect("JSON");
        // Who asks often is told to ask later.
        page["rooms"].as_array().cloned().unwrap_or_default()
    };
    eventually("only the other room is listed", async || {
        let listed = rooms().await;
        listed.iter().map(|room| &room["room"]).eq([&json!("bbb")])
    })
    .await;
    let (bus, name) = (cluster.bus_of_it().await, RoomId::parse("aaa").unwrap());
    let left = bus.stored(&name, Position::ZERO, 9).await.unwrap();
    assert!(left.is_empty(), "{left:?}");
    for under in ["snapshot.aaa", "pin.aaa", "copies.aaa"] {
        let left = bus.names_under(under).await.unwrap();
        assert!(left.is_empty(), "{left:?}");
    }
    let removed = async |node: &crate::node::Node| {
        let metrics = node.metrics().await;
        metrics.contains("safechat_rooms_removed_total 1")
    };
    assert!(removed(&first).await || removed(&second).await);

    // Somebody who was there before everything was purged.
    let query = "key-harry&since=3";
    let mut harry = Person::joins(&second, "aaa", "harry", query, JSON).await;
    let welcome = harry.json().await;
    assert_eq!(welcome["recovered"], false, "{welcome}");
    let reset = harry.json().await;
    assert_eq!(reset["type"], "reset", "{reset}");
    let joined = harry.next("event").await;
    let begins = match cluster.cassandra_address() {
        None => json!(1),
        Some(_) => json!(purged.as_u64().expect("a place") + 1),
    };
    assert_eq!(
        (&joined["kind"], &joined["seq"]),
        (&json!("joined"), &begins)
    );
    eventually("both are listed", async || rooms().await.len() == 2).await;

    // Somebody who read it all that time.
    if cluster.cassandra_address().is_none() {
        let reset = reader.data().await;
        assert_eq!((&reset["type"], &reset["seq"]), (&json!("reset"), &begins));
        assert!(!first.logs().contains("has gone back"));
        // A browser comes back with the id of that.
        reader = Events::of(&first, Some("0")).await;
    }
    let shown = reader.data().await;
    assert_eq!((&shown["kind"], &shown["seq"]), (&json!("joined"), &begins));
}
