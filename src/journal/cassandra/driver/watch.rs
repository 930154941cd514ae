//! Watches which nodes of Cassandra are connected, and which keyspace is there, and tells when that
//! changes. The driver connects again by itself, and says more of it than an operator needs.

use super::identity::Identity;
use crate::metric;
use scylla::client::session::Session;
use std::{
    sync::{Arc, Weak},
    time::Duration,
};
use tokio::time::sleep;
use tracing::{info, warn};

/// Between two looks.
const LOOK: Duration = Duration::from_secs(1);

/// Of so many looks one is at the keyspace too, which asks a majority of the servers.
const KEYSPACE_EVERY: u32 = 5;

/// Looks until the session is over.
pub(super) fn start(session: &Arc<Session>, identity: &Arc<Identity>) {
    tokio::spawn(run(Arc::downgrade(session), identity.clone()));
}

async fn run(session: Weak<Session>, identity: Arc<Identity>) {
    let mut before = Vec::new();
    let mut looks = (0..KEYSPACE_EVERY).cycle();
    while let Some(session) = session.upgrade() {
        if looks.next() == Some(0)
            && let Err(error) = identity.check(&session).await
        {
            tracing::debug!(%error, "the keyspace cannot be used now");
        }
        let (connected, lost) = nodes(&session);
        metric::CASSANDRA_NODES
            .of("connected")
            .set(connected as f64);
        metric::CASSANDRA_NODES.of("lost").set(lost.len() as f64);
        let of = connected + lost.len();
        if lost.iter().any(|node| !before.contains(node)) {
            let nodes = lost.join(", ");
            warn!(
                nodes,
                connected, of, "connections to nodes of Cassandra are lost"
            );
        } else if lost.len() < before.len() {
            info!(
                connected,
                of, "connections to nodes of Cassandra are there again"
            );
        }
        before = lost;
        drop(session);
        sleep(LOOK).await;
    }
}

/// How many nodes are connected, and the addresses of those that are not.
pub(super) fn nodes(session: &Session) -> (usize, Vec<String>) {
    let state = session.get_cluster_state();
    let (connected, lost): (Vec<_>, Vec<_>) = state
        .get_nodes_info()
        .iter()
        .partition(|node| node.is_connected());
    let lost = lost.iter().map(|node| node.address.to_string()).collect();
    (connected.len(), lost)
}
