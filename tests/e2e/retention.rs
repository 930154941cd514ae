//! What a room is not to keep, goes, on either journal: who comes from before it is told so, and
//! nothing else is lost with it.

use crate::{
    cluster::{Cluster, eventually},
    http::post,
    node::Node,
    person::{JSON, Person},
};
use serde_json::{Value, json};
use tokio::process::Command;

const SAID: u64 = 60;
const KEPT: u64 = 10;

/// What an operator types.
pub(crate) async fn admin(node: &Node, words: &[&str]) -> Value {
    let at = node.internal_url().replacen("http://", "", 1);
    let mut admin = Command::new(env!("CARGO_BIN_EXE_safe-chat"));
    admin.args(["admin", "--json", "--at", &at]).args(words);
    let ended = admin.output().await.expect("the program");
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{words:?}: {said}");
    serde_json::from_slice(&ended.stdout).expect("JSON")
}

/// The places of a page of history, and whether it says that there are more before it.
async fn page(node: &Node, query: &str) -> (Vec<u64>, Value) {
    let url = format!("{}/rooms/aaa/history?{query}", node.url());
    let answer = reqwest::get(url).await.expect("an answer").text().await;
    let answer: Value = serde_json::from_str(&answer.expect("text")).expect("JSON");
    let events = answer["events"].as_array().cloned().unwrap_or_default();
    let places = events.iter().filter_map(|event| event["seq"].as_u64());
    (places.collect(), answer["more"].clone())
}

/// What a client gets that asks for everything after a place: whether that worked, and the frame
/// after the welcome.
async fn resumes(node: &Node, since: u64) -> (Value, Value) {
    let query = format!("key-{since}&since={since}");
    let name = format!("reader{since}");
    let mut reader = Person::joins(node, "aaa", &name, &query, JSON).await;
    let welcome = reader.json().await;
    (welcome["recovered"].clone(), reader.json().await)
}

pub(crate) async fn what_a_room_is_not_to_keep_goes(cluster: Cluster) {
    let cluster = cluster.with("SAFE_CHAT_WRITER__TRIM_MS", "300");
    let (mut first, second) = (cluster.node("first").await, cluster.node("second").await);
    let mut harry = Person::joins_in_json(&second, "aaa", "harry", "key-harry").await;
    for n in 1..=SAID {
        assert_eq!(post(&second, &format!("m{n}")).await["seq"], n + 1);
    }
    let head = SAID + 1;
    // The last one may be published a moment after it is journaled.
    eventually("all of the room is shown", async || {
        let (places, more) = page(&first, "limit=500").await;
        places.len() as u64 == head && more == false
    })
    .await;

    let events = KEPT.to_string();
    let said = admin(&first, &["retain", "aaa", "--events", &events]).await;
    assert_eq!(said["retention"]["events"], KEPT);
    let oldest = head + 1 - KEPT;
    eventually("the past of the room is gone", async || {
        page(&first, "limit=500").await.0.first() == Some(&oldest)
    })
    .await;
    let room = admin(&second, &["room", "aaa"]).await;
    assert_eq!(
        (&room["first"], &room["head"]),
        (&json!(oldest), &json!(head))
    );

    // The other node still has in memory what harry was shown.
    for when in ["at once", "after a restart"] {
        let (places, more) = page(&first, "limit=500").await;
        assert!(places[0] <= oldest && more == false, "{when}: {places:?}");
        // Further down a page says what is missing.
        let below = format!("limit=5&before={}", places[0]);
        assert_eq!(page(&first, &below).await, (vec![], json!(false)));
        let (recovered, then) = resumes(&first, oldest + 2).await;
        assert_eq!(recovered, true, "{when}: {then}");
        let (recovered, then) = resumes(&first, 3).await;
        assert_eq!(
            (&recovered, &then["type"]),
            (&json!(false), &json!("reset")),
            "{when}"
        );
        // Whose a name is, and which message was there, outlives the events.
        let (status, refused) = Person::refused(&first, "aaa", "harry", "another-key").await;
        assert_eq!(
            (status, &refused["error"]["reason"]),
            (403, &json!("key_mismatch"))
        );
        let again = post(&first, "m1").await;
        assert_eq!(
            (&again["seq"], &again["duplicate"]),
            (&json!(2), &json!(true))
        );
        first.kill().await;
        first.restart().await;
    }
    harry.says("last", "still here").await;
    harry.next("journaled").await;

    let said = admin(&first, &["retain", "aaa", "--default"]).await;
    assert_eq!(said["retention"], json!(null));
    drop((first, second));
    let verified = cluster.run(&["journal", "verify", "aaa"], &[]).await;
    assert_eq!(verified.code, Some(0), "{verified:?}");
    assert!(
        verified.stdout.contains("went by the room's retention"),
        "{}",
        verified.stdout
    );
}
