//! What must never be in a log or a metric: what was said, keys, passwords. With everything logged that can be at level debug.

use crate::{
    cluster::{Cluster, eventually},
    person::{JSON, PROTO, Person, TEXT},
    support::unique,
};
use reqwest::Client;

pub(crate) async fn nothing_secret_is_logged(cluster: Cluster) {
    let [body, key, bus_password, journal_password] = [unique('b'), unique('k'), unique('p'), unique('q')];
    let nats = cluster.nats().replacen("nats://", &format!("nats://somebody:{bus_password}@"), 1);
    let cluster = cluster.with_nats_at(nats).with("SAFE_CHAT_LOG__LEVEL", "debug,safe_chat=trace");
    let cluster = cluster.with("CAS_USER", "somebody").with("CAS_PWS", &journal_password);
    let (mut first, mut second) = tokio::join!(cluster.node("first"), cluster.node_with("second", &["--log", "json"]));

    let mut harry = Person::joins(&first, "aaa", "harry", &key, TEXT).await;
    let mut charly = Person::joins(&second, "aaa", "charly", &key, JSON).await;
    let mut ivan = Person::joins(&second, "aaa", "ivan", &key, PROTO).await;
    harry.types(&format!("harry:charly:{body}")).await;
    charly.says("m1", &body).await;
    charly.events_until(5).await;
    ivan.says_in_proto("m1", &body).await;
    charly.events_until(6).await;
    // What is refused is not logged either: no frame, no sender, a field too long, a name that is none, another key.
    harry.types(&body).await;
    harry.types(&format!("{body}:*:{body}")).await;
    charly.types(&format!("{{\"type\":\"{body}\",\"id\":\"m2\"}}")).await;
    charly.types(&format!("{body}{{")).await;
    charly.says("m3", &body.repeat(2_000)).await;
    for (room, user, key) in [("aaa", "bad%20name", key.clone()), ("aaa", "harry", format!("{key}{key}"))] {
        let url = format!("{}/rooms/{room}/messages?user={user}&pub={key}", first.url());
        let answer = Client::new().post(url).body(format!("{{\"id\":\"m4\",\"text\":\"{body}\"}}")).send().await.expect("an answer");
        assert!(answer.status().is_client_error(), "{}", answer.status());
    }
    // A takeover reads and repairs; a stop says goodbye.
    first.kill().await;
    drop(harry);
    charly.says("m5", &body).await;
    charly.next("event").await;
    first.restart().await;
    let metrics = [first.metrics().await, second.metrics().await].concat();
    assert_eq!([first.stop().await.code(), second.stop().await.code()], [Some(0); 2]);
    eventually("both nodes logged", async || !first.logs().is_empty() && !second.logs().is_empty()).await;

    let all = [first.logs(), second.logs(), metrics].concat();
    assert!(all.contains("DEBUG"), "nothing was logged at level debug");
    for (what, secret) in [("a body", body), ("a key", key), ("a password", bus_password), ("a password", journal_password)] {
        let lines: Vec<_> = all.lines().filter(|line| line.contains(&secret)).collect();
        assert!(lines.is_empty(), "{what} is logged:\n{}", lines.join("\n"));
    }
}
