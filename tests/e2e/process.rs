//! A node as a process among others: what becomes of its stderr, its terminal or its servers must
//! neither stop it nor keep it from ending.

use crate::{
    cluster::{Cluster, eventually},
    node::Node,
    person::Person,
    proxy::Proxy,
};
use std::{
    fs::File,
    io::{BufRead, BufReader, PipeReader, Read, pipe},
    process::Stdio,
    time::Duration,
};
use tokio::time::timeout;

/// What `docker stop` waits before it kills.
const DOCKER_STOP: Duration = Duration::from_secs(10);

/// Lines of the log that a node lost.
async fn lost(node: &Node) -> u64 {
    let metrics = node.metrics().await;
    let line = metrics
        .lines()
        .find_map(|line| line.strip_prefix("safechat_log_lines_dropped_total "));
    line.expect("the metric").parse().expect("a number")
}

async fn ends_well(node: &mut Node) {
    let ended = timeout(DOCKER_STOP, node.stop()).await;
    assert_eq!(ended.expect("an end in time").code(), Some(0));
}

pub(crate) async fn a_node_without_a_reader_of_its_log_works_and_ends_as_any(cluster: Cluster) {
    let gone = || {
        let (reader, writer) = pipe().expect("a pipe");
        drop(reader);
        Stdio::from(writer)
    };
    let full = || Stdio::from(File::create("/dev/full").expect("a device"));
    for stderr in [gone(), full()] {
        let mut node = cluster.launch_to("unread", stderr);
        node.ready().await;
        // Each logs that the other comes and goes.
        let mut other = cluster.node("other").await;
        let mut harry = Person::joins_in_json(&node, "aaa", "harry", "key").await;
        harry.says("m1", "Hello").await;
        harry.next("journaled").await;
        other.kill().await;
        eventually("lines are lost", async || lost(&node).await > 0).await;
        harry.says("m2", "still here").await;
        harry.next("journaled").await;
        ends_well(&mut node).await;
    }
}

pub(crate) async fn a_reader_that_stops_stops_nobody_and_is_told_what_it_missed(cluster: Cluster) {
    let (reader, writer) = pipe().expect("a pipe");
    let cluster = cluster.with("SAFE_CHAT_LOG__LEVEL", "trace,async_nats=trace");
    let mut node = cluster.launch_to("stuck", writer.into());
    node.ready().await;
    let mut harry = Person::joins_in_json(&node, "aaa", "harry", "key").await;
    for n in 0.. {
        harry.says(&format!("m{n}"), "Hello").await;
        harry.next("journaled").await;
        // Its pipe is full by then, and the queue before it.
        if n % 100 == 0 && lost(&node).await > 0 {
            break;
        }
    }
    let reading = tokio::task::spawn_blocking(|| reads_until_told(reader));
    let mut rest = reading.await.expect("a line that says so");
    harry.says("last", "Hello").await;
    harry.next("journaled").await;
    // Nobody reads again: even so it ends.
    ends_well(&mut node).await;
    assert!(rest.read(&mut [0; 1]).is_ok());
}

/// Reads a log until it says that lines are missing.
fn reads_until_told(log: PipeReader) -> BufReader<PipeReader> {
    let mut log = BufReader::new(log);
    let mut line = Vec::new();
    loop {
        line.clear();
        assert!(
            log.read_until(b'\n', &mut line).expect("a log") > 0,
            "nobody told"
        );
        if String::from_utf8_lossy(&line).contains("lines of the log were lost") {
            return log;
        }
    }
}

pub(crate) async fn a_stop_without_nats_is_soon(cluster: Cluster) {
    let nats = cluster.nats().trim_start_matches("nats://").to_owned();
    let proxy = Proxy::to(&nats).await;
    let cluster = cluster.with_nats_at(format!("nats://{}", proxy.address()));
    let mut node = cluster.node("only").await;
    let mut harry = Person::joins_in_json(&node, "aaa", "harry", "key").await;
    harry.says("m1", "before").await;
    harry.next("journaled").await;
    proxy.close();
    harry.says("m2", "after").await;
    node.unready().await;
    ends_well(&mut node).await;
    assert!(
        node.logs().contains("not all sessions ended in time"),
        "{}",
        node.logs()
    );
}

pub(crate) async fn a_stop_without_cassandra_is_soon(cluster: Cluster) {
    let proxy = Proxy::to(cluster.cassandra_address().expect("it is the journal")).await;
    let cluster = cluster.with_cassandra_at(proxy.address());
    let mut node = cluster.node("only").await;
    let mut harry = Person::joins_in_json(&node, "aaa", "harry", "key").await;
    harry.says("m1", "before").await;
    harry.next("journaled").await;
    proxy.close();
    harry.says("m2", "after").await;
    harry.next("accepted").await;
    node.unready().await;
    ends_well(&mut node).await;
}
