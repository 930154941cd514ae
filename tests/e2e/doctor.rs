//! `safe-chat doctor` over real servers.

use crate::cluster::Cluster;
use serde_json::Value;

pub(crate) async fn what_a_cluster_rests_on_is_looked_at(cluster: Cluster) {
    let looked = cluster.run(&["doctor", "--json"], &[]).await;
    println!("{}{}", looked.stdout, looked.stderr);
    let found: Vec<Value> = serde_json::from_str(&looked.stdout).expect("a list");
    let check = |name: &str| {
        let found = found.iter().find(|it| it["check"] == name);
        let found = found.unwrap_or_else(|| panic!("no {name} in {looked:?}"));
        (
            found["state"].as_str().unwrap(),
            found["message"].as_str().unwrap(),
        )
    };
    assert_eq!(check("nats: server").0, "ok");
    // Nobody has started a node yet; one copy of each is what this server can keep.
    let (_, streams) = check("nats: streams");
    assert!(
        streams.contains("none yet") || streams.contains("three nats-servers"),
        "{streams}"
    );
    // Who logs in without the system account cannot see how the servers sync.
    assert!(check("nats: sync").1.contains("sync_interval: always"));
    assert_eq!(check("nats: max_payload").0, "ok");
    match cluster.cassandra_address() {
        None => assert_eq!(check("cassandra: server").0, "skipped"),
        Some(_) => {
            assert_eq!(check("cassandra: server").0, "ok");
            assert_eq!(check("cassandra: nodes"), ("ok", "all 1 answer"));
            let (_, commit_log) = check("cassandra: commit log");
            assert!(commit_log.contains("1 copies on 1 nodes"), "{commit_log}");
            // On this machine.
            assert_eq!(check("cassandra: clock").0, "ok");
        }
    }
}
