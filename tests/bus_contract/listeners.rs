//! Who listens to everything on the bus, as a person with the nats CLI does, changes nothing: the
//! server takes a listener for somebody who may answer, so that nothing may rest on its saying that
//! nobody does.

use crate::{things::*, world::nats_config};
use async_nats::Subscriber;
use safe_chat::bus::{Direct, Error, Feed, nats::Nats};
use std::time::Duration;

async fn listened_to(claim: &str, subject: &str) -> Option<(Nats, Subscriber)> {
    let server = crate::support::server("SAFE_CHAT_TEST_NATS", claim)?;
    let mut config = nats_config(&server);
    config.probe_deadline = Duration::from_secs(1);
    let listener = async_nats::connect(&config.servers[0]).await.unwrap();
    let subject = subject.replace("pre", &config.prefix);
    let listening = listener.subscribe(subject).await.unwrap();
    listener.flush().await.unwrap();
    Some((Nats::connect(&config).await.unwrap(), listening))
}

#[tokio::test]
async fn who_listens_to_everything_keeps_nobody_from_subscribing() {
    let claim = "a listener to everything";
    let Some((bus, _listening)) = listened_to(claim, ">").await else {
        return;
    };
    let node = node();
    drop(bus.inbox(node).await.unwrap());
    drop(bus.heads().await.unwrap());
    let guard = bus.answer_probes(node).await.unwrap();
    assert!(bus.probe(node).await.unwrap());
    drop(guard);
    // Gone, or silent: nobody can tell, and time will.
    soon(async { while matches!(bus.probe(node).await, Ok(true)) {} }).await;
    assert!(matches!(bus.probe(node).await, Err(Error::Unknown(_))));
}

#[tokio::test]
async fn who_listens_to_all_below_the_prefix_does_not_hide_that_a_node_is_gone() {
    let claim = "a listener below the prefix";
    let Some((bus, _listening)) = listened_to(claim, "pre.>").await else {
        return;
    };
    let node = node();
    assert!(!bus.probe(node).await.unwrap());
    let guard = bus.answer_probes(node).await.unwrap();
    assert!(bus.probe(node).await.unwrap());
    drop(guard);
    soon(async { while bus.probe(node).await.unwrap_or(true) {} }).await;
}
