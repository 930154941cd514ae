//! `safe-chat doctor` over real servers.

use crate::cluster::Cluster;

pub(crate) async fn what_a_cluster_rests_on_is_looked_at(cluster: Cluster) {
    let looked = cluster.run(&["doctor"], &[]).await;
    println!("{}{}", looked.stdout, looked.stderr);
    let line = |check: &str| {
        let line = looked.stdout.lines().find(|line| line.starts_with(check));
        line.unwrap_or_else(|| panic!("no {check} in {looked:?}"))
    };
    // Who logs in without the system account cannot see how the servers sync.
    assert!(line("nats: sync").contains("sync_interval: always"));
    let commit_log = line("cassandra: commit log");
    match cluster.cassandra_address() {
        None => assert!(commit_log.contains("not used here"), "{commit_log}"),
        Some(_) => assert!(commit_log.contains("1 copies on 1 nodes"), "{commit_log}"),
    }
}
