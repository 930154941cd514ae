//! An operator's own bounds on the stream that is the journal: what they drop is gone as the
//! protocol promises, and nothing else is.

use crate::{
    changed::{Scene, count, gets_in},
    cluster::eventually,
    http::post,
    node::Node,
    person::{JSON, Person},
};
use serde_json::{Value, json};

/// As many messages as the operator keeps, of all rooms.
const KEPT: u64 = 10;

/// What a client gets that asks for everything after a place: whether that worked, and the frame
/// after the welcome.
async fn resumes(node: &Node, room: &str, since: u64) -> (Value, Value) {
    let query = format!("key-{since}&since={since}");
    let name = format!("reader{since}");
    let mut reader = Person::joins(node, room, &name, &query, JSON).await;
    let welcome = reader.json().await;
    (welcome["recovered"].clone(), reader.json().await)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bounds_of_an_operator_drop_old_events_and_nothing_else() {
    let Some(mut scene) = Scene::new("an operator's bounds").await else {
        return;
    };
    // Rooms that nobody uses are saved at once.
    scene.cluster = scene
        .cluster
        .clone()
        .with("SAFE_CHAT_WRITER__IDLE_MS", "500");
    let mut node = scene.cluster.node("only").await;
    let mut harry = Person::joins_in_json(&node, "old", "harry", "key-harry").await;
    assert_eq!(gets_in(&mut harry, "m1").await, 2);
    drop(harry);
    let (snapshots, saved) = (
        scene.bucket("SNAPSHOTS"),
        scene.key("SNAPSHOTS", "snapshot.old.>"),
    );
    eventually("the room is saved", async || {
        // A snapshot, beside the mark that it is written.
        scene.operator.count(&snapshots, &saved).await >= 2 && node.head("old").await == 3
    })
    .await;
    let last = 2 * KEPT;
    for n in 1..=last {
        assert_eq!(
            post(&node, &format!("m{n}")).await["seq"],
            n,
            "in the room aaa"
        );
    }
    let stream = scene.stream("EVT");
    let bound = json!({ "max_msgs": KEPT });
    scene.operator.edit(&stream, &bound).await;
    let (first, end) = scene.operator.range(&stream).await;
    assert_eq!(end - first + 1, KEPT);

    for when in ["at once", "after a restart"] {
        // It stays ready: such a bound is the operator's.
        node.ready().await;
        let (recovered, then) = resumes(&node, "aaa", last - 2).await;
        assert_eq!(recovered, true, "{when}: {then}");
        let (recovered, then) = resumes(&node, "aaa", 1).await;
        assert_eq!(
            (&recovered, &then["type"]),
            (&json!(false), &json!("reset")),
            "{when}"
        );
        // Whose a name is outlives its events.
        let (status, refused) = Person::refused(&node, "old", "harry", "another-key").await;
        assert_eq!(
            (status, &refused["error"]["reason"]),
            (403, &json!("key_mismatch"))
        );
        node.kill().await;
        node.restart().await;
    }
    // What was given is not given again, though nothing of it is left.
    let (recovered, _) = resumes(&node, "old", 1).await;
    assert_eq!(recovered, false);
    let mut harry = Person::joins_in_json(&node, "old", "harry", "key-harry").await;
    assert!(gets_in(&mut harry, "m2").await > 4);
    let said = node.logs();
    assert_eq!(count(&said, "messages were removed"), 0, "{said}");
    assert!(said.contains("drops old events (max_msgs 10)"), "{said}");
}
