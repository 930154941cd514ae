//! A purge, as operators ask for it and as people in the room see it, at whichever node.

use crate::{
    admin::{shows, types},
    manage::{ask, get, two},
    person::{Event, Person},
    support::{Cluster, Node, eventually},
};
use reqwest::Method;
use serde_json::{Value, json};

/// A page of history.
async fn page(node: &Node, query: &str) -> Value {
    let address = node.client_address().expect("a gateway");
    let url = format!("http://{address}/rooms/aaa/history?{query}");
    let answer = reqwest::get(url).await.unwrap();
    answer.json().await.unwrap()
}

fn places(page: &Value) -> Vec<u64> {
    let events = page["events"].as_array().unwrap();
    events
        .iter()
        .map(|it| it["seq"].as_u64().unwrap())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_told_anything_of_before_and_everybody_stays() {
    let cluster = Cluster::new(4);
    let (first, second) = two(&cluster).await;
    let mut harry = Person::joins(&first, "aaa", "harry", "").await;
    let mut charly = Person::joins(&second, "aaa", "charly", "").await;
    for n in 1..=20 {
        harry.says(&format!("m{n}"), "Hello").await;
    }
    let _ = (harry.reads_until(22).await, charly.reads_until(22).await);
    // Somebody who has gone, and whose name is free behind it.
    drop(Person::joins(&second, "aaa", "sue", "").await);
    charly.reads_until(24).await;

    let (status, answer) = ask(&second, Method::DELETE, "/rooms/aaa").await;
    assert_eq!((status, &answer["room"]), (200, &json!("aaa")), "{answer}");
    let purged = answer["seq"].as_u64().unwrap();
    assert_eq!(purged, 25);
    for person in [&mut harry, &mut charly] {
        let told = person.reads_until(purged).await;
        let last = told.last().unwrap();
        let Event { kind, from, .. } = last;
        assert_eq!((kind.as_str(), from.as_str()), ("purged", "*"));
    }
    for node in [&first, &second] {
        let all = page(node, "limit=500").await;
        assert_eq!((places(&all), &all["more"]), (vec![purged], &json!(false)));
        let before = page(node, &format!("before={purged}")).await;
        assert_eq!((places(&before), &before["more"]), (vec![], &json!(false)));
        assert_eq!(before["missing"], json!([1, purged - 1]));
    }
    for (node, user, since) in [(&first, "tom", 3), (&second, "kim", purged - 2)] {
        let (mut late, welcome) =
            Person::comes(node, "aaa", user, &format!("&since={since}")).await;
        assert_eq!(welcome["recovered"], false, "since {since}: {welcome}");
        let reset = late.frame().await;
        assert_eq!(
            (&reset["type"], &reset["seq"]),
            (&json!("reset"), &json!(purged))
        );
        assert_eq!(late.frame().await["kind"], "purged");
    }
    let since = format!("&since={}", purged - 1);
    let (mut next, welcome) = Person::comes(&first, "aaa", "max", &since).await;
    assert_eq!(welcome["recovered"], true, "{welcome}");
    assert_eq!(next.frame().await["kind"], "purged");

    // They are here still, and can say the same once only.
    let room = get(&first, "/rooms/aaa").await;
    let members = room["members"].as_array().unwrap();
    assert!(members.contains(&json!("harry")) && members.contains(&json!("charly")));
    assert_eq!(room["first"], purged);
    harry.says("m1", "Hello").await;
    let answer = loop {
        let frame = harry.frame().await;
        if frame["type"] == "journaled" {
            break frame;
        }
    };
    let told = (&answer["duplicate"], &answer["seq"]);
    assert!(told.0 == true && told.1.as_u64() < Some(purged), "{answer}");
    eventually("what was before is removed", async || {
        cluster.places("aaa").await.first() == Some(&purged)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_types_the_name_of_the_room_or_says_yes() {
    let cluster = Cluster::new(4);
    let (first, second) = two(&cluster).await;
    let mut harry = Person::joins(&first, "aaa", "harry", "").await;
    harry.says("m1", "Hello").await;
    harry.reads_until(2).await;
    let refused = types(&second, &["purge", "aaa"], "aab\n").await;
    let why = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1));
    assert!(why.contains("nothing was removed"), "{why}");
    let room = get(&first, "/rooms/aaa").await;
    assert_eq!((&room["first"], &room["head"]), (&json!(1), &json!(2)));

    let done = types(&second, &["--json", "purge", "aaa"], "aaa\n").await;
    let said: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(said, json!({"room": "aaa", "seq": 3}));
    let said = shows(&first, &["purge", "aaa", "--yes"]).await;
    assert!(said.starts_with("room aaa goes on with event 4:"), "{said}");
    let (status, why) = ask(&first, Method::DELETE, "/rooms/never").await;
    assert_eq!(
        (status, &why["error"]["reason"]),
        (404, &json!("not_found"))
    );
}
