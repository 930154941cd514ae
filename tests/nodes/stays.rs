//! Why a room is not removed with its name, as operators see it.

use crate::{
    admin::shows,
    manage::{BOTH, ask, get},
    person::Person,
    support::{Cluster, Node, eventually},
};
use reqwest::Method;
use serde_json::{Value, json};

const DAY_MS: u64 = 86_400_000;

fn reasons(stays: &Value) -> Vec<&str> {
    let because = stays["because"].as_array().expect("reasons");
    because
        .iter()
        .map(|it| it["reason"].as_str().unwrap())
        .collect()
}

/// What keeps the room is this, once a moment has passed.
async fn is_kept_by(node: &Node, expected: &[&str]) -> Value {
    let what = format!("it is kept by {expected:?}");
    eventually(&what, async || {
        reasons(&get(node, "/rooms/aaa").await["stays"]) == expected
    })
    .await;
    get(node, "/rooms/aaa").await
}

/// How long after its last event it goes.
fn goes_after(room: &Value) -> Option<u64> {
    let at = room["last_commit"]["at"].as_u64().expect("a time");
    room["stays"]["until"].as_u64().map(|until| until - at)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_is_told_what_keeps_a_room_and_until_when() {
    let cluster = Cluster::new(4);
    let mut config = cluster.config("first", &BOTH);
    config.writer.keep_age_s = 160 * 86_400;
    let node = cluster.start(config).await.unwrap();
    node.ready().await;
    assert_eq!(get(&node, "/rooms/aaa").await["stays"], Value::Null);

    let harry = Person::joins(&node, "aaa", "harry", "").await;
    let room = is_kept_by(&node, &["members", "sessions", "keys", "events"]).await;
    assert_eq!(goes_after(&room), None);
    let shown = shows(&node, &["room", "aaa"]).await;
    for line in [
        "is kept by     members: users are in it",
        "               keys: names",
    ] {
        assert!(shown.contains(line), "{line}:\n{shown}");
    }
    drop(harry);
    is_kept_by(&node, &["keys", "events"]).await;
    ask(&node, Method::DELETE, "/rooms/aaa/users/harry/key").await;
    // Retention lets go what is a sixteenth older than it says, later than a room goes.
    let room = is_kept_by(&node, &["events"]).await;
    assert_eq!(goes_after(&room), Some(170 * DAY_MS));

    ask(&node, Method::PUT, "/rooms/aaa/retention?events=5").await;
    let room = is_kept_by(&node, &["events", "retention"]).await;
    assert_eq!(goes_after(&room), None);
    ask(&node, Method::DELETE, "/rooms/aaa/retention").await;
    ask(&node, Method::DELETE, "/rooms/aaa").await;
    let room = is_kept_by(&node, &[]).await;
    assert_eq!(goes_after(&room), Some(90 * DAY_MS));
    let shown = shows(&node, &["room", "aaa"]).await;
    assert!(shown.contains("goes with its name  from 2"), "{shown}");

    let beats = cluster.beats("before", 7);
    let room = is_kept_by(&node, &["old_node"]).await;
    assert_eq!(goes_after(&room), None);
    let why = &room["stays"]["because"][0]["message"];
    assert!(why.as_str().unwrap().contains("node before"), "{why}");
    beats.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_removes_no_rooms_says_so() {
    let cluster = Cluster::new(4);
    let mut config = cluster.config("first", &BOTH);
    config.writer.gone_after_s = 0;
    let node = cluster.start(config).await.unwrap();
    node.ready().await;
    drop(Person::joins(&node, "aaa", "harry", "").await);
    is_kept_by(&node, &["keys", "events", "never"]).await;
    ask(&node, Method::DELETE, "/rooms/aaa").await;
    let room = is_kept_by(&node, &["never"]).await;
    assert_eq!(room["stays"]["until"], json!(null));
}
