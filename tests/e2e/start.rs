//! Starts that cannot work: one clear line, and exit code 1.

use crate::{
    cluster::Cluster,
    node::{Ended, free_ports},
};
use tokio::net::TcpListener;

/// Flags that let any port be taken.
const ANY_PORTS: [&str; 4] = ["--http-port", "0", "--internal-port", "0"];

fn is_refused(ended: &Ended, parts: &[&str]) {
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let last = ended.stderr.lines().last().unwrap_or_default();
    assert!(
        last.starts_with("error: ") && parts.iter().all(|part| last.contains(part)),
        "{parts:?} are not all in: {last}"
    );
}

#[tokio::test]
async fn a_nats_server_that_is_not_there_is_named_in_the_end() {
    let [port] = free_ports();
    let nats = format!("nats://127.0.0.1:{port}");
    // Needs no server: it is about none being there.
    let cluster = Cluster::nowhere(nats.clone()).with("SAFE_CHAT_NODE__START_TIMEOUT_MS", "1500");
    let ended = cluster.run(&["serve"], &ANY_PORTS).await;
    is_refused(&ended, &[&nats, "was not there within 1.5 s", "--nats"]);
    assert!(
        ended
            .stderr
            .contains(&format!("waiting for NATS at {nats}")),
        "no countdown: {ended:?}"
    );
}

pub(crate) async fn a_node_refuses_another_number_of_shards(cluster: Cluster) {
    let _first = cluster.node("first").await;
    let flags = [&["--shards", "32"], &ANY_PORTS[..]].concat();
    let ended = cluster.run(&["serve"], &flags).await;
    is_refused(
        &ended,
        &["the cluster has 16 shards, this node is configured with 32"],
    );
}

pub(crate) async fn a_port_in_use_is_named(cluster: Cluster) {
    let taken = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = taken.local_addr().expect("a bound port");
    let (port, address) = (address.port().to_string(), address.to_string());
    for flag in ["--http-port", "--internal-port"] {
        let mut flags = ANY_PORTS;
        let place = flags
            .iter()
            .position(|word| *word == flag)
            .expect("a flag of both");
        flags[place + 1] = &port;
        is_refused(
            &cluster.run(&["serve"], &flags).await,
            &[&address, "cannot be opened", flag],
        );
    }
}
