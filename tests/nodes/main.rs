//! Whole nodes in one process, over memory adapters: what people at different gateways see, and how
//! nodes come and go.

mod admin;
mod client;
mod dashboard;
mod erase;
mod manage;
mod members;
mod metrics;
mod person;
mod purge;
mod stays;
mod support;

use person::Person;
use safe_chat::bus::{JournalKind, Role};
use std::time::Duration;
use support::{Cluster, eventually};

const BOTH: [Role; 2] = [Role::Gateway, Role::Writer];

#[tokio::test(flavor = "multi_thread")]
async fn two_people_at_two_gateways_read_the_same() {
    let cluster = Cluster::new(16);
    let (first, second) = (
        cluster.node("first", &BOTH).await,
        cluster.node("second", &BOTH).await,
    );
    first.ready().await;
    second.ready().await;
    let mut harry = Person::joins(&first, "aaa", "harry", "").await;
    let mut charly = Person::joins(&second, "aaa", "charly", "").await;
    for n in 0..20 {
        harry.says(&format!("h{n}"), "from harry").await;
        charly.says(&format!("c{n}"), "from charly").await;
    }
    let (of_harry, of_charly) = (harry.reads_until(42).await, charly.reads_until(42).await);
    assert_eq!(of_harry, of_charly);
    assert_eq!(
        of_harry.iter().map(|event| event.seq).collect::<Vec<_>>(),
        (1..=42).collect::<Vec<_>>()
    );
    let ids = |letter: char| {
        of_harry
            .iter()
            .filter_map(|event| event.id.clone())
            .filter(|id| id.starts_with(letter))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        ids('h'),
        (0..20).map(|n| format!("h{n}")).collect::<Vec<_>>()
    );
    assert_eq!(
        ids('c'),
        (0..20).map(|n| format!("c{n}")).collect::<Vec<_>>()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_without_writer_and_a_writer_without_gateway_work_together() {
    let cluster = Cluster::new(4);
    let (gateway, writer) = (
        cluster.node("gateway", &[Role::Gateway]).await,
        cluster.node("writer", &[Role::Writer]).await,
    );
    gateway.ready().await;
    writer.ready().await;
    assert!(writer.client_address().is_none());
    let mut harry = Person::joins(&gateway, "aaa", "harry", "").await;
    harry.says("m1", "Hello").await;
    assert_eq!(
        harry.reads_until(2).await.last().unwrap().id.as_deref(),
        Some("m1")
    );
    assert_eq!(cluster.owners().await, vec![writer.incarnation(); 4]);
}

#[tokio::test(flavor = "multi_thread")]
async fn asking_for_made_up_rooms_stores_nothing() {
    let cluster = Cluster::new(4);
    let node = cluster.node("first", &BOTH).await;
    node.ready().await;
    let address = node.client_address().unwrap();
    for n in 0..100 {
        for _ in 0..2 {
            let page = reqwest::get(format!("http://{address}/rooms/made-up-{n}/history"))
                .await
                .unwrap();
            assert_eq!(
                page.text().await.unwrap(),
                r#"{"type":"history","events":[],"more":false}"#
            );
        }
    }
    assert_eq!(cluster.rooms().await, Vec::<String>::new());
    let mut harry = Person::joins(&node, "made-up-7", "harry", "").await;
    harry.says("m1", "Hello").await;
    harry.reads_until(2).await;
    assert_eq!(cluster.rooms().await, ["made-up-7"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_a_node_that_drains_are_told_to_come_back_and_miss_nothing() {
    let cluster = Cluster::new(16);
    let (first, second) = (
        cluster.node("first", &BOTH).await,
        cluster.node("second", &BOTH).await,
    );
    first.ready().await;
    second.ready().await;
    let mut harry = Person::joins(&first, "aaa", "harry", "").await;
    let mut charly = Person::joins(&second, "aaa", "charly", "").await;
    harry.reads_until(2).await;
    let draining = tokio::spawn(first.drain());
    let delay = harry.is_told_to_come_back().await;
    assert!((500..=30_000).contains(&delay), "{delay}");
    charly.reads_until(3).await;
    charly.says("m1", "while harry is away").await;
    charly.reads_until(4).await;
    draining.await.unwrap();

    let mut harry = Person::joins(&second, "aaa", "harry", "&since=2").await;
    let missed = harry.reads_until(5).await;
    assert_eq!(
        missed
            .iter()
            .map(|event| (event.seq, event.kind.as_str()))
            .collect::<Vec<_>>(),
        [(3, "left"), (4, "text"), (5, "joined")]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_share_the_shards_and_one_hands_its_own_over_when_it_stops() {
    let cluster = Cluster::new(16);
    let (first, second) = (
        cluster.node("first", &[Role::Gateway, Role::Writer]).await,
        cluster.node("second", &[Role::Writer]).await,
    );
    first.ready().await;
    second.ready().await;
    eventually("both nodes own shards", async || {
        let owners = cluster.owners().await;
        owners.len() == 16
            && [&first, &second]
                .iter()
                .all(|node| owners.contains(&node.incarnation()))
    })
    .await;

    let (internal, gone) = (second.internal_address(), second.incarnation());
    second.drain().await;
    let owners = cluster.owners().await;
    assert!(!owners.contains(&gone), "a drained node still owns shards");
    assert!(
        reqwest::get(format!("http://{internal}/live"))
            .await
            .is_err(),
        "the internal port still answers"
    );
    eventually("the first node owns all shards", async || {
        cluster.owners().await == vec![first.incarnation(); 16]
    })
    .await;
}

#[tokio::test]
async fn a_node_with_another_number_of_shards_refuses_to_start() {
    let cluster = Cluster::new(16);
    cluster.node("first", &[Role::Writer]).await.ready().await;
    let error = cluster
        .start(Cluster::new(32).config("second", &[Role::Writer]))
        .await
        .err()
        .expect("it started");
    assert!(
        error
            .to_string()
            .contains("the cluster has 16 shards, this node is configured with 32"),
        "{error}"
    );
}

#[tokio::test]
async fn a_node_that_would_keep_rooms_elsewhere_refuses_to_start() {
    let cluster = Cluster::new(16);
    cluster.node("first", &[Role::Writer]).await.ready().await;
    let mut config = cluster.config("second", &[Role::Writer]);
    config.journal.kind = JournalKind::Cassandra;
    let error = cluster.start(config).await.err().expect("it started");
    assert!(
        error
            .to_string()
            .contains("this cluster keeps its rooms on the bus"),
        "{error}"
    );
}

/// Its marks were removed with its sessions, so who comes then would stay a member for ever once
/// the node really ends.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_others_took_for_dead_marks_its_rooms_again() {
    let cluster = Cluster::new(4);
    let far = cluster.node("far", &[Role::Gateway]).await;
    let near = cluster.node("near", &BOTH).await;
    near.ready().await;
    far.ready().await;
    let harry = Person::joins(&far, "aaa", "harry", "").await;
    assert_eq!(cluster.marks("aaa").await, 1);
    cluster.cut(0);
    eventually("its sessions are ended", async || {
        cluster.marks("aaa").await == 0
    })
    .await;
    cluster.restore(0);
    eventually("it marks the room again", async || {
        cluster.marks("aaa").await == 1
    })
    .await;
    drop(harry);
}

#[tokio::test]
async fn a_drain_without_a_bus_gives_up_what_does_not_get_on() {
    let cluster = Cluster::new(64);
    let node = cluster.node("stuck", &BOTH).await;
    node.ready().await;
    let mut harry = Person::joins(&node, "aaa", "harry", "").await;
    harry.reads_until(1).await;
    cluster.cut_all();
    // From here on the time is virtual.
    tokio::time::pause();
    let since = tokio::time::Instant::now();
    node.drain().await;
    let took = since.elapsed();
    assert!(
        took < Duration::from_secs(6),
        "docker stop waits 10 s: {took:?}"
    );
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
    assert!(
        since.elapsed() < Duration::from_secs(2),
        "{:?}",
        since.elapsed()
    );
}
