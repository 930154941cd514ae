//! Commands that NATS stores together, and those of streams that take no batches.

use crate::{commands::submit_at_once, support, world::nats_config};
use async_nats::jetstream;
use safe_chat::bus::nats::{Config, Nats};
use serde_json::{Value, json};

/// Says whether the stream of commands takes batches.
async fn let_batches(config: &Config, takes: bool) {
    let client = async_nats::connect(&config.servers[0]).await.unwrap();
    let streams = jetstream::new(client);
    let name = format!("{}_CMD", config.prefix.to_uppercase());
    let info: Value = streams
        .request(format!("STREAM.INFO.{name}"), &())
        .await
        .unwrap();
    let mut definition = info["config"].clone();
    definition["allow_atomic"] = takes.into();
    let updated: Value = streams
        .request(format!("STREAM.UPDATE.{name}"), &definition)
        .await
        .unwrap();
    assert_eq!(updated["config"]["allow_atomic"] == json!(true), takes);
}

/// How many of the stored commands came in batches.
async fn batched(config: &Config) -> usize {
    let client = async_nats::connect(&config.servers[0]).await.unwrap();
    let name = format!("{}_CMD", config.prefix.to_uppercase());
    let stream = jetstream::new(client).get_stream(&name).await.unwrap();
    let mut count = 0;
    for position in 1..=stream.cached_info().state.last_sequence {
        let message = stream.get_raw_message(position).await.unwrap();
        count += usize::from(message.headers.get("Nats-Batch-Id").is_some());
    }
    count
}

#[tokio::test]
async fn what_comes_at_once_is_stored_in_batches_where_the_stream_takes_them() {
    let Some(server) = support::server("SAFE_CHAT_TEST_NATS", "batches of commands on NATS") else {
        return;
    };
    let config = nats_config(&server);
    let bus = Nats::connect(&config).await.unwrap();
    let outcomes = submit_at_once(&bus, 150).await;
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    assert!(batched(&config).await > 100, "most came while others went");

    // While nodes run, and before they start.
    let_batches(&config, false).await;
    let before = batched(&config).await;
    for bus in [bus, Nats::connect(&config).await.unwrap()] {
        let outcomes = submit_at_once(&bus, 150).await;
        assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    }
    assert_eq!(batched(&config).await, before);
}
