//! What tests share: names of their own, and the servers that a run may have.

#![allow(dead_code)] // Each test binary uses its part.

use uuid::Uuid;

/// The value of an environment variable that names a server; says what is left out when there is
/// none.
pub(crate) fn server(variable: &str, left_out: &str) -> Option<String> {
    let value = std::env::var(variable)
        .ok()
        .filter(|value| !value.is_empty());
    if value.is_none() {
        println!("left out: {left_out} ({variable} is not set)");
    }
    value
}

/// A name that no other test has, usable as prefix, room or keyspace: 13 characters of a-z 0-9.
pub(crate) fn unique(letter: char) -> String {
    let id = Uuid::now_v7().simple().to_string();
    // The end is random; the beginning is the time, the same for tests that start together.
    format!("{letter}{}", &id[20..])
}

/// Makes the stream of events as clusters of before have it, where an operator may delete some.
pub(crate) async fn let_events_go(servers: &str, prefix: &str) {
    let upper = prefix.to_uppercase();
    let definition = include_str!("../../nats/evt.json")
        .replace("CHAT_", &format!("{upper}_"))
        .replace("chat.", &format!("{prefix}."))
        .replace("\"deny_delete\": true", "\"deny_delete\": false")
        .replace("\"deny_purge\": true", "\"deny_purge\": false");
    let servers: Vec<&str> = servers.split(',').collect();
    let client = async_nats::connect(servers).await.expect("a connection");
    let call = format!("$JS.API.STREAM.CREATE.{upper}_EVT");
    let made = client.request(call, definition.into()).await;
    let made = made.expect("an answer of JetStream").payload;
    let text = String::from_utf8_lossy(&made);
    assert!(!text.contains("\"error\""), "{text}");
}
