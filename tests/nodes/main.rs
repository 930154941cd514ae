//! Whole nodes in one process, over memory adapters: what people at different gateways see, and how nodes come and go.

mod support;

use safe_chat::bus::Role;
use std::time::Duration;
use support::{Cluster, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_share_the_shards_and_one_hands_its_own_over_when_it_stops() {
    let cluster = Cluster::new(16);
    let (first, second) = (cluster.node("first", &[Role::Gateway, Role::Writer]).await, cluster.node("second", &[Role::Writer]).await);
    first.ready().await;
    second.ready().await;
    eventually("both nodes own shards", async || {
        let owners = cluster.owners().await;
        owners.len() == 16 && [&first, &second].iter().all(|node| owners.contains(&node.incarnation()))
    })
    .await;

    let (internal, gone) = (second.internal_address(), second.incarnation());
    second.drain().await;
    let owners = cluster.owners().await;
    assert!(!owners.contains(&gone), "a drained node still owns shards");
    assert!(reqwest::get(format!("http://{internal}/live")).await.is_err(), "the internal port still answers");
    eventually("the first node owns all shards", async || cluster.owners().await == vec![first.incarnation(); 16]).await;
}

#[tokio::test]
async fn a_node_with_another_number_of_shards_refuses_to_start() {
    let cluster = Cluster::new(16);
    cluster.node("first", &[Role::Writer]).await.ready().await;
    let error = cluster.start(Cluster::new(32).config("second", &[Role::Writer])).await.err().expect("it started");
    assert!(error.to_string().contains("the cluster has 16 shards, this node is configured with 32"), "{error}");
}

#[tokio::test]
async fn a_drain_is_bounded() {
    let cluster = Cluster::new(4);
    let mut config = cluster.config("stuck", &[Role::Writer]);
    config.node.drain_timeout_ms = 200;
    let node = cluster.start(config).await.unwrap();
    node.ready().await;
    cluster.cut_all();
    let since = tokio::time::Instant::now();
    node.drain().await;
    assert!(since.elapsed() < Duration::from_secs(2), "{:?}", since.elapsed());
}
