//! A room of which everything was purged, or let go by retention, and that nobody comes to, goes
//! with its name on either journal; who comes back finds an empty one.

use crate::{
    cluster::{Cluster, eventually},
    http::Events,
    node::Node,
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

    eventually("only the other room is listed", async || {
        listed(&first).await.is_some_and(|rooms| rooms == ["bbb"])
    })
    .await;
    nothing_is_on_the_bus_of(&cluster, "aaa").await;
    let removed = async |node: &Node| {
        let metrics = node.metrics().await;
        metrics.contains("safechat_rooms_removed_total 1")
    };
    assert!(removed(&first).await || removed(&second).await);

    // The bus knows nothing of it any more, Cassandra how far it went.
    let (code, told) = match cluster.cassandra_address() {
        None => (Some(1), "room aaa does not exist"),
        Some(_) => (
            Some(0),
            "removed: nothing of it is stored but how far it went, event",
        ),
    };
    for command in ["verify", "inspect"] {
        let ended = cluster.run(&["journal", command, "aaa"], &[]).await;
        let said = format!("{}{}", ended.stdout, ended.stderr);
        assert!(ended.code == code && said.contains(told), "{ended:?}");
    }
    let ended = cluster.run(&["journal", "export", "aaa"], &[]).await;
    let is_told = ended.code == Some(1) && ended.stderr.contains(told);
    assert!(is_told, "{ended:?}");

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
    eventually("both are listed", async || {
        listed(&first).await.is_some_and(|rooms| rooms.len() == 2)
    })
    .await;

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

/// Nobody purges it: that somebody left, and that a key was taken away, goes by age as what was
/// said.
pub(crate) async fn a_room_whose_past_is_let_go_goes_with_its_name(cluster: Cluster) {
    let cluster = cluster
        .with("SAFE_CHAT_WRITER__TRIM_MS", "20")
        .with("SAFE_CHAT_WRITER__IDLE_MS", "1000")
        .with("SAFE_CHAT_WRITER__KEEP_AGE_S", "1")
        .with("SAFE_CHAT_WRITER__GONE_AFTER_S", "3");
    let node = cluster.node("first").await;
    let mut harry = Person::joins_in_json(&node, "aaa", "harry", "key-harry").await;
    harry.says("m1", "Hello").await;
    harry.next("journaled").await;
    drop(harry);
    eventually("nobody is there", async || node.head("aaa").await == 3).await;
    eventually("all of it is let go", async || {
        admin(&node, &["room", "aaa"]).await["first"] == json!(4)
    })
    .await;
    eventually("it stays, since a name of it has a key", async || {
        listed(&node).await.is_some_and(|rooms| rooms == ["aaa"])
    })
    .await;
    admin(&node, &["unpin", "aaa", "harry"]).await;
    eventually("no room is listed", async || {
        listed(&node).await.is_some_and(|rooms| rooms.is_empty())
    })
    .await;
    nothing_is_on_the_bus_of(&cluster, "aaa").await;
    let url = format!("{}/rooms/aaa/history?limit=9", node.url());
    let page = reqwest::get(url).await.expect("an answer");
    let page: Value = page.json().await.expect("JSON");
    let told = (&page["events"], &page["missing"]);
    assert_eq!(told, (&json!([]), &Value::Null), "nothing of it is lost");
    let mut harry = Person::joins_in_json(&node, "aaa", "harry", "another-key").await;
    harry.says("m1", "Hello again").await;
    assert_eq!(harry.next("journaled").await["duplicate"], false);
}

/// The names of the rooms that a node lists; `None`: it refuses to say for now, as when it is asked
/// too often.
async fn listed(node: &Node) -> Option<Vec<String>> {
    let request = reqwest::Client::new().get(node.internal_url() + "/rooms");
    let request = request.basic_auth("admin", Some("safe-chat"));
    let answer = request.send().await.expect("an answer");
    if !answer.status().is_success() {
        return None;
    }
    let page: Value = answer.json().await.expect("JSON");
    let rooms = page["rooms"].as_array().expect("a page of rooms");
    let name = |room: &Value| Some(room["room"].as_str()?.to_owned());
    Some(rooms.iter().filter_map(name).collect())
}

async fn nothing_is_on_the_bus_of(cluster: &Cluster, room: &str) {
    let (bus, name) = (cluster.bus_of_it().await, RoomId::parse(room).unwrap());
    let left = bus.stored(&name, Position::ZERO, 9).await.unwrap();
    assert!(left.is_empty(), "{left:?}");
    for kind in ["snapshot", "pin", "copies"] {
        let left = bus.names_under(&format!("{kind}.{room}")).await.unwrap();
        assert!(left.is_empty(), "{left:?}");
    }
}
