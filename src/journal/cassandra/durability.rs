//! What Cassandra does with what it stores: whether it is on a disk when it answers, and how often.

use super::{
    Config,
    connect::{session, unreadable},
    errors,
};
use crate::journal::Error;
use scylla::client::session::Session;
use std::collections::HashMap;

/// What is known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Durability {
    /// `commitlog_sync` of the node that was asked: `periodic`, `batch` or `group`; `None`: it does
    /// not say so (Cassandra before 4.0).
    pub sync: Option<String>,
    /// With periodic syncing: how often.
    pub period: Option<String>,
    /// Copies of each row in the datacenter that is used; `None`: there is no keyspace yet.
    pub copies: Option<usize>,
    /// Nodes in that datacenter.
    pub nodes: usize,
}

/// How much a `journaled` is worth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Worth {
    /// No single failure takes it back.
    Kept(String),
    /// Only a failure of several nodes at a time takes it back.
    Weak(String),
    /// A single failure takes it back.
    Lost(String),
    /// It cannot be said.
    Unknown(String),
}

/// Asks Cassandra. Makes nothing there.
pub async fn durability(config: &Config) -> Result<Durability, Error> {
    read(&session(config).await?, config).await
}

pub(super) async fn read(session: &Session, config: &Config) -> Result<Durability, Error> {
    let sync = setting(session, &["commitlog_sync"]).await?;
    let period = setting(
        session,
        &["commitlog_sync_period", "commitlog_sync_period_in_ms"],
    )
    .await?;
    let state = session.get_cluster_state();
    let nodes = state
        .get_nodes_info()
        .iter()
        .filter(|node| node.datacenter.as_deref() == Some(config.datacenter.as_str()))
        .count();
    Ok(Durability {
        sync,
        period,
        copies: copies(session, config).await?,
        nodes,
    })
}

/// The first of these settings that the server has.
async fn setting(session: &Session, names: &[&str]) -> Result<Option<String>, Error> {
    for name in names {
        let statement = "SELECT value FROM system_views.settings WHERE name = ?";
        // Cassandra before 4.0 has no such table.
        let Ok(result) = session.query_unpaged(statement, (*name,)).await else {
            return Ok(None);
        };
        let rows = result.into_rows_result().map_err(unreadable)?;
        let row = rows
            .maybe_first_row::<(Option<String>,)>()
            .map_err(unreadable)?;
        if let Some((Some(value),)) = row {
            return Ok(Some(value));
        }
    }
    Ok(None)
}

async fn copies(session: &Session, config: &Config) -> Result<Option<usize>, Error> {
    let statement = "SELECT replication FROM system_schema.keyspaces WHERE keyspace_name = ?";
    let result = session
        .query_unpaged(statement, (&config.keyspace,))
        .await
        .map_err(errors::reading)?;
    let rows = result.into_rows_result().map_err(unreadable)?;
    let row = rows
        .maybe_first_row::<(HashMap<String, String>,)>()
        .map_err(unreadable)?;
    Ok(row.map(|(replication,)| {
        replication
            .get(&config.datacenter)
            .and_then(|copies| copies.parse().ok())
            .unwrap_or_default()
    }))
}

impl Durability {
    /// What `journaled` is worth with these settings, and what to do.
    pub fn worth(&self) -> Worth {
        let (copies, nodes) = (self.copies.unwrap_or(1), self.nodes);
        if copies > nodes {
            return Worth::Lost(format!(
                "{copies} copies on {nodes} nodes: start more nodes, or alter the keyspace"
            ));
        }
        let period = self.period.as_deref().unwrap_or("10 s");
        match self.sync.as_deref() {
            Some("batch" | "group") if copies >= 3 => Worth::Kept(format!(
                "synced before it is answered, {copies} copies on {nodes} nodes"
            )),
            Some("batch" | "group") => Worth::Weak(format!(
                "synced before it is answered, but {copies} copies on {nodes} nodes: a lost disk \
                 takes it back; use 3 copies on 3 nodes"
            )),
            Some("periodic") if copies >= 3 => Worth::Weak(format!(
                "commitlog_sync is periodic ({period}), {copies} copies on {nodes} nodes: when most \
                 of them die within {period}, what was answered just before is gone; set \
                 commitlog_sync: group (commitlog_sync_group_window: 10ms) in cassandra.yaml"
            )),
            Some("periodic") => Worth::Lost(format!(
                "commitlog_sync is periodic ({period}) with {copies} copies on {nodes} nodes: a node \
                 that is killed forgets what was answered `journaled` up to {period} before; set \
                 commitlog_sync: group (commitlog_sync_group_window: 10ms) in cassandra.yaml, and \
                 use 3 copies on 3 nodes"
            )),
            other => Worth::Unknown(format!(
                "commitlog_sync is {}: `journaled` needs group or batch: look at cassandra.yaml",
                other.unwrap_or("not told")
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn journaled_needs_a_synced_commit_log_or_copies() {
        let worth = |sync: &str, copies, nodes| {
            Durability {
                sync: Some(sync.into()),
                period: Some("10000ms".into()),
                copies: Some(copies),
                nodes,
            }
            .worth()
        };
        assert!(matches!(worth("group", 3, 3), Worth::Kept(_)));
        assert!(matches!(worth("batch", 1, 1), Worth::Weak(_)));
        assert!(matches!(worth("periodic", 3, 3), Worth::Weak(_)));
        let Worth::Lost(why) = worth("periodic", 1, 1) else {
            panic!("a killed node forgets")
        };
        assert!(why.contains("10000ms") && why.contains("group"), "{why}");
        assert!(matches!(worth("group", 3, 2), Worth::Lost(_)));
        assert!(matches!(worth("elsewhere", 3, 3), Worth::Unknown(_)));
    }
}
