//! Rooms of which an operator deleted or purged events, while nodes run and over their death.

use crate::{
    cluster::{Cluster, PATIENCE},
    http::{Events, post},
    node::Node,
    person::{JSON, Person},
};
use serde_json::{Value, json};

const SAID: u64 = 40;

async fn page(node: &Node, query: &str) -> Value {
    let url = format!("{}/rooms/aaa/history?{query}", node.url());
    let page: Value = reqwest::Client::new()
        .get(url)
        .timeout(PATIENCE)
        .send()
        .await
        .expect("an answer")
        .json()
        .await
        .expect("JSON");
    let seqs = page["events"].as_array().expect("events").iter();
    let seqs: Vec<_> = seqs.map(|event| event["seq"].clone()).collect();
    json!([seqs.first(), seqs.last(), page["more"], page["missing"]])
}

/// Places up to `last`: those of events, and those of resets as negative ones.
fn place(frame: &Value) -> Option<i64> {
    match frame["type"].as_str() {
        Some("event") => frame["seq"].as_i64(),
        Some("reset") => frame["seq"].as_i64().map(|seq| -seq),
        _ => None,
    }
}

/// Whoever reads gets everything but 12 to 15.
async fn is_served_around_the_hole(node: &Node) {
    assert_eq!(
        page(node, "before=14").await,
        json!([1, 11, false, [12, 13]])
    );
    assert_eq!(
        page(node, "before=30&limit=9").await,
        json!([21, 29, true, null])
    );
    assert_eq!(
        page(node, "before=30&limit=50").await,
        json!([16, 29, true, null])
    );
    assert_eq!(
        page(node, "before=16").await,
        json!([1, 11, false, [12, 15]])
    );
    let head = SAID as i64;
    let expected: Vec<i64> = (1..=11).chain([-16]).chain(16..=head).collect();
    let mut reader = Person::joins(node, "aaa", "reader", "key&since=0", JSON).await;
    assert_eq!(reader.json().await["recovered"], true);
    let mut seen = Vec::new();
    while seen.last() != Some(&head) {
        seen.extend(place(&reader.json().await));
    }
    assert_eq!(seen, expected);
    let mut stream = Events::of(node, Some("0")).await;
    let mut seen = Vec::new();
    while seen.last() != Some(&head) {
        seen.extend(place(&stream.data().await));
    }
    assert_eq!(seen, expected);
}

/// Harry's next message; its place.
async fn says(node: &Node, id: &str) -> u64 {
    post(node, id).await["seq"].as_u64().expect("a place")
}

pub(crate) async fn a_room_with_a_hole_is_served_and_goes_on(cluster: Cluster) {
    cluster.let_events_go().await;
    let mut node = cluster.node("first").await;
    for n in 1..=SAID {
        assert_eq!(says(&node, &format!("m{n}")).await, n);
    }
    cluster.lose("aaa", 12, 15).await;
    is_served_around_the_hole(&node).await;
    let verified = cluster.run(&["journal", "verify", "aaa"], &[]).await;
    assert_eq!(verified.code, Some(1), "{verified:?}");
    let is_on_bus = cluster.cassandra_address().is_none();
    let verdict = match is_on_bus {
        true => "error: room aaa is not complete: 4 events are gone, and it goes on\n",
        false => "error: room aaa lacks 4 events that the bus still has\n",
    };
    assert!(verified.stderr.ends_with(verdict), "{verified:?}");
    let named = verified.stdout.contains("hole: events 12 to 15 are gone\n");
    assert!(named, "{verified:?}");

    node.kill().await;
    let mut other = cluster.node("second").await;
    let head = other.head("aaa").await;
    assert!(head >= SAID, "a reader may have come and gone: {head}");
    let next = says(&other, "after-the-hole").await;
    assert!(next > SAID);
    // What Cassandra lost the bus has still: it is there again.
    let said = match is_on_bus {
        true => "events of the room are gone",
        false => "they were written back",
    };
    assert_eq!(other.logs().matches(said).count(), 1, "{}", other.logs());

    // The end, and then everything.
    for (first, last) in [(next - 1, next), (1, next + 1_000)] {
        cluster.lose("aaa", first, last).await;
        other.kill().await;
        other.restart().await;
        let again = says(&other, &format!("after-{first}")).await;
        assert!(again > next, "{again} was given before");
        if !is_on_bus {
            continue;
        }
        let since = format!("key&since={}&history=5", next - 2);
        let mut reader = Person::joins(&other, "aaa", "reader", &since, JSON).await;
        assert_eq!(reader.json().await["recovered"], false);
        assert_eq!(reader.json().await["type"], "reset");
    }
}

pub(crate) async fn a_purged_room_begins_with_what_is_left(cluster: Cluster) {
    cluster.let_events_go().await;
    let mut node = cluster.node("first").await;
    for n in 1..=SAID {
        says(&node, &format!("m{n}")).await;
    }
    let mut live = Person::joins_in_json(&node, "aaa", "live", "key").await;
    cluster.keep(10).await;
    assert_eq!(says(&node, "while-it-runs").await, SAID + 2);
    live.events_until(SAID + 2).await;
    drop(live);
    node.kill().await;
    node.restart().await;
    let next = says(&node, "after-it").await;
    assert!(next > SAID + 2, "{next}");
    let page = page(&node, "limit=500").await;
    assert_eq!(
        (&page[0], &page[2]),
        (&json!(SAID - 8), &json!(false)),
        "{page}"
    );
    let mut reader = Person::joins(&node, "aaa", "reader", "other&since=1", JSON).await;
    assert_eq!(reader.json().await["recovered"], false);
    assert_eq!(reader.json().await["seq"], SAID - 8);
}
