//! Content that is erased, as operators ask for it and as people in the room see it, at whichever
//! node.

use crate::{
    admin::{shows, types},
    manage::{ask, get, two},
    members::settled,
    person::Person,
    support::{Cluster, Node, eventually},
};
use reqwest::Method;
use serde_json::{Value, json};

/// A page of history.
async fn page(node: &Node, query: &str) -> Vec<Value> {
    let address = node.client_address().expect("a gateway");
    let url = format!("http://{address}/rooms/aaa/history?{query}");
    let page: Value = reqwest::get(url).await.unwrap().json().await.unwrap();
    page["events"].as_array().expect("events").clone()
}

/// Whose messages these are, with what they say, and whether they are marked.
fn said(events: &[Value]) -> Vec<(String, String, bool)> {
    let messages = events.iter().filter(|event| event["kind"] == "text");
    let word = |value: &Value| value.as_str().expect("a string").to_owned();
    messages
        .map(|event| {
            (
                word(&event["from"]),
                word(&event["text"]),
                event["erased"] == true,
            )
        })
        .collect()
}

/// That nothing of harry's up to a place is told, and everything else is.
fn is_without(events: &[Value], through: u64) {
    assert!(!said(events).is_empty());
    for event in events.iter().filter(|event| event["kind"] == "text") {
        let goes = event["from"] == "harry" && event["seq"].as_u64() <= Some(through);
        let found = (&event["text"], event.get("erased"));
        match goes {
            true => assert_eq!(found, (&json!(""), Some(&json!(true)))),
            false => assert_eq!(found, (&json!("Hello"), None)),
        }
    }
}

/// The next events that somebody is told, so many.
async fn told(person: &mut Person, count: usize) -> Vec<Value> {
    let mut events = Vec::new();
    while events.len() < count {
        let frame = person.frame().await;
        if frame["type"] == "event" {
            events.push(frame);
        }
    }
    events
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_told_what_somebody_said_and_everything_else_stays() {
    let cluster = Cluster::new(4);
    let (first, second) = two(&cluster).await;
    let mut harry = Person::joins(&first, "aaa", "harry", "").await;
    let mut charly = Person::joins(&second, "aaa", "charly", "").await;
    for n in 1..=20 {
        harry.says(&format!("h{n}"), "Hello").await;
        charly.says(&format!("c{n}"), "Hello").await;
    }
    let _ = (harry.reads_until(42).await, charly.reads_until(42).await);

    let (status, answer) = ask(&second, Method::DELETE, "/rooms/aaa/users/harry/messages").await;
    assert_eq!(status, 200, "{answer}");
    let expected = json!({"room": "aaa", "user": "harry", "seq": 43});
    assert_eq!(answer, expected);
    for person in [&mut harry, &mut charly] {
        let last = told(person, 1).await.remove(0);
        let shown = [&last["seq"], &last["kind"], &last["from"]];
        assert_eq!(shown, [&json!(43), &json!("erased"), &json!("harry")]);
    }
    harry.says("h21", "Hello").await;
    harry.reads_until(44).await;
    // From the recent events of a replica, from the journal, and by whoever comes back.
    for node in [&first, &second] {
        let all = page(node, "limit=500").await;
        assert_eq!(all.len(), 44, "nothing has gone");
        is_without(&all, 43);
        is_without(&page(node, "before=20").await, 43);
    }
    for (node, user, since) in [(&first, "tom", 3), (&second, "kim", 41)] {
        let (mut late, welcome) =
            Person::comes(node, "aaa", user, &format!("&since={since}")).await;
        assert_eq!(welcome["recovered"], true, "{welcome}");
        is_without(&told(&mut late, 44 - since).await, 43);
    }
    // A replica that starts now hears of it from the owner, or finds it done.
    let third = cluster.node("node-3", &crate::manage::BOTH).await;
    third.ready().await;
    let (mut late, _) = Person::comes(&third, "aaa", "max", "&history=100").await;
    is_without(&told(&mut late, 44).await, 43);
    eventually("what was said is removed", async || {
        let stored = cluster.texts("aaa").await;
        let of_harry = stored.iter().filter(|(from, _)| from == "harry");
        of_harry.filter(|(_, text)| !text.is_empty()).count() == 1
    })
    .await;
    let stored = cluster.texts("aaa").await;
    let of_charly = stored
        .iter()
        .filter(|(from, text)| from == "charly" && text == "Hello");
    assert_eq!((of_charly.count(), stored.len()), (20, 41));
    is_without(&page(&first, "limit=500").await, 43);

    // Who said it is here still, and can say the same once only.
    let room = get(&first, "/rooms/aaa").await;
    assert!(
        room["members"]
            .as_array()
            .unwrap()
            .contains(&json!("harry"))
    );
    harry.says("h1", "Hello").await;
    let answer = loop {
        let frame = harry.frame().await;
        if frame["type"] == "journaled" && frame["id"] == "h1" {
            break frame;
        }
    };
    assert_eq!(answer["duplicate"], true, "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_types_the_name_of_the_user_or_says_yes() {
    let cluster = Cluster::new(4);
    let (first, second) = two(&cluster).await;
    let mut harry = Person::joins(&first, "aaa", "harry", "").await;
    harry.says("m1", "Hello").await;
    harry.reads_until(2).await;
    let refused = types(&second, &["erase", "aaa", "harry"], "aaa\n").await;
    let why = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1));
    assert!(why.contains("nothing was removed"), "{why}");
    assert_eq!(get(&first, "/rooms/aaa").await["head"], 2);

    let done = types(&second, &["--json", "erase", "aaa", "harry"], "harry\n").await;
    let said: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(said, json!({"room": "aaa", "user": "harry", "seq": 3}));
    let said = shows(&first, &["erase", "aaa", "harry", "--yes"]).await;
    let begins = "what harry said in room aaa before event 4 is told to nobody";
    assert!(said.starts_with(begins), "{said}");
    let path = "/rooms/never/users/harry/messages";
    let (status, why) = ask(&first, Method::DELETE, path).await;
    let found = (status, &why["error"]["reason"]);
    assert_eq!(found, (404, &json!("not_found")));
}

/// A node of before would refuse the whole room.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_erased_while_a_node_of_before_is_there() {
    let cluster = Cluster::new(4);
    let (first, second) = two(&cluster).await;
    let mut harry = Person::joins(&first, "aaa", "harry", "").await;
    harry.says("m1", "Hello").await;
    harry.reads_until(2).await;
    let old = cluster.beats("old", 6);
    settled(&second, 3).await;
    let erase = || ask(&second, Method::DELETE, "/rooms/aaa/users/harry/messages");
    let (status, why) = erase().await;
    let message = "node old is of a version that cannot read that what somebody said was erased: \
                   upgrade it first";
    assert_eq!((status, &why["error"]["reason"]), (409, &json!("old_node")));
    assert_eq!(why["message"], message);
    assert_eq!(get(&first, "/rooms/aaa").await["head"], 2);
    old.abort();
    settled(&second, 2).await;
    let (status, answer) = erase().await;
    assert_eq!((status, &answer["seq"]), (200, &json!(3)), "{answer}");
}
