//! What nodes that die or stop cost: time, but no message, no order and no repeat.

use crate::{
    cluster::{Cluster, PATIENCE, eventually},
    node::Node,
    person::Person,
};
use loadtest::run::{Outcome, Plan, run};
use std::collections::BTreeMap;
use tokio::task::JoinHandle;

const CLIENTS: usize = 20;
/// After so many events of a load something happens to a node.
const UNDER_WAY: u64 = 200;

pub(crate) async fn killed_nodes_cost_no_message_and_no_order(cluster: Cluster) {
    let (mut first, mut second) = tokio::join!(cluster.node("first"), cluster.node("second"));
    let load = under_way("killed-owner", &first, &second).await;
    let (owner, other) = owner_and_other(&cluster, "killed-owner", &mut first, &mut second).await;
    owner.kill().await;
    nothing_is_missing("the owner killed", load).await;
    owner.restart().await;

    let load = under_way("killed-other", owner, other).await;
    let (_, other) = owner_and_other(&cluster, "killed-other", &mut first, &mut second).await;
    other.kill().await;
    nothing_is_missing("the other one killed", load).await;
}

pub(crate) async fn a_node_that_is_stopped_under_load_ends_well_and_costs_nothing(
    cluster: Cluster,
) {
    let (mut first, mut second) = tokio::join!(cluster.node("first"), cluster.node("second"));
    let load = under_way("stopped", &first, &second).await;
    let (owner, _) = owner_and_other(&cluster, "stopped", &mut first, &mut second).await;
    assert_eq!(
        owner.stop().await.code(),
        Some(0),
        "a stop that was asked for is no failure"
    );
    nothing_is_missing("the owner stopped", load).await;
}

async fn owner_and_other<'a>(
    cluster: &Cluster,
    room: &str,
    first: &'a mut Node,
    second: &'a mut Node,
) -> (&'a mut Node, &'a mut Node) {
    let owner = cluster.owner(room).await;
    assert!(
        first.is(owner) != second.is(owner),
        "one of two nodes is {owner}"
    );
    if first.is(owner) {
        (first, second)
    } else {
        (second, first)
    }
}

pub(crate) async fn after_all_nodes_were_killed_a_room_is_complete_and_nobody_is_left_behind(
    cluster: Cluster,
) {
    let (mut first, mut second) = tokio::join!(cluster.node("first"), cluster.node("second"));
    let mut harry = Person::joins_in_json(&first, "aaa", "harry", "key-harry").await;
    let mut charly = Person::joins_in_json(&second, "aaa", "charly", "key-charly").await;
    for n in 0..10 {
        harry.says(&format!("h{n}"), "Hello").await;
        charly.says(&format!("c{n}"), "Hello").await;
    }
    let before = harry.events_until(22).await;
    tokio::join!(first.kill(), second.kill());
    tokio::join!(first.restart(), second.restart());

    let mut ivan = Person::joins_in_json(&second, "aaa", "ivan", "key-ivan&since=0").await;
    let after = ivan.events_until(25).await;
    assert_eq!(after[..22], before);
    let rest = after[22..]
        .iter()
        .map(|event| format!("{} {}", event["from"], event["kind"]).replace('"', ""));
    // The nodes of harry and charly are found dead one by one, and ivan may come between.
    let rest: BTreeMap<_, _> = rest.map(|what| (what, 1)).collect();
    assert_eq!(
        rest.into_keys().collect::<Vec<_>>(),
        ["charly left", "harry left", "ivan joined"]
    );
}

/// 200 messages per second from 20 clients at both nodes, for 4 seconds; returns when it is well
/// under way.
async fn under_way(room: &str, first: &Node, second: &Node) -> JoinHandle<anyhow::Result<Outcome>> {
    let plan = Plan {
        urls: vec![first.url(), second.url()],
        room: room.into(),
        clients: CLIENTS,
        messages: 40,
        rate: Some(200.0),
        window: 100,
        bytes: 100,
        settle: PATIENCE,
    };
    let load = tokio::spawn(async move { run(&plan).await });
    eventually("a load is under way", async || {
        second.head(room).await >= UNDER_WAY
    })
    .await;
    load
}

async fn nothing_is_missing(what: &str, load: JoinHandle<anyhow::Result<Outcome>>) {
    let outcome = load
        .await
        .expect("a load that does not panic")
        .expect("clients that can connect");
    println!("{what}:\n{outcome}");
    let violations: Vec<_> = outcome.violations.iter().map(ToString::to_string).collect();
    assert_eq!(violations, [""; 0]);
    let all = CLIENTS * 40;
    assert_eq!(
        (
            outcome.sent,
            outcome.journaled,
            outcome.seen,
            outcome.rejected
        ),
        (all, all, all, 0)
    );
}
