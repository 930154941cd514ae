//! What a person asks about Cassandra before trusting it: version, tables, clocks, whether what it
//! stores is on a disk when it answers, and in how many copies. Makes nothing there.

use super::{
    Config,
    connect::{self, release, unreadable},
    errors, migrate,
};
use crate::journal::Error;
use chrono::Utc;
use futures::future::join_all;
use scylla::{
    client::session::Session,
    cluster::Node,
    policies::load_balancing::{NodeIdentifier, SingleTargetLoadBalancingPolicy},
    statement::Statement,
};
use std::{collections::HashMap, sync::Arc};

/// What was found.
#[derive(Debug)]
pub struct Examined {
    /// The version of the node that answered.
    pub release: String,
    /// Whether the tables are of this program's version; else what to do.
    pub schema: Result<(), Error>,
    /// What `journaled` rests on.
    pub durability: Durability,
    /// Every node of the datacenter and by how much its clock is ahead of this machine's, in
    /// milliseconds; `None`: it did not answer.
    pub ahead_ms: Vec<(String, Option<i64>)>,
}

/// What is known of how nodes keep what they store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Durability {
    /// Of each node of the datacenter that answers.
    pub syncing: Vec<Syncing>,
    /// Copies of each row in the datacenter that is used; `None`: there is no keyspace yet.
    pub copies: Option<usize>,
    /// Nodes in that datacenter.
    pub nodes: usize,
}

/// When a node syncs its commit log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Syncing {
    /// The node's address.
    pub node: String,
    /// Its `commitlog_sync`: `periodic`, `batch` or `group`; `None`: it does not say so (Cassandra
    /// before 4.0).
    pub mode: Option<String>,
    /// With periodic syncing: how often.
    pub period: Option<String>,
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

/// Asks Cassandra. One attempt.
pub async fn examine(config: &Config) -> Result<Examined, Error> {
    let session = connect::session(config).await?;
    let nodes = nodes(&session, config);
    let ahead_ms = nodes.iter().map(async |node| {
        let ahead = ahead(&session, node).await;
        (node.address.to_string(), ahead)
    });
    Ok(Examined {
        release: release(&session).await?,
        schema: migrate::check(&session, config).await,
        durability: durability(&session, config).await?,
        ahead_ms: join_all(ahead_ms).await,
    })
}

/// How the nodes of the datacenter keep what they store.
pub(super) async fn durability(session: &Session, config: &Config) -> Result<Durability, Error> {
    let nodes = nodes(session, config);
    // A node that is down has no say: it will be asked when somebody looks again.
    let syncing = nodes.iter().map(|node| syncing(session, node));
    let syncing = join_all(syncing).await.into_iter().flatten().collect();
    Ok(Durability {
        syncing,
        copies: copies(session, config).await?,
        nodes: nodes.len(),
    })
}

fn nodes(session: &Session, config: &Config) -> Vec<Arc<Node>> {
    let is_here = |node: &&Arc<Node>| node.datacenter.as_deref() == Some(&*config.datacenter);
    let state = session.get_cluster_state();
    let nodes = state.get_nodes_info().iter().filter(is_here).cloned();
    nodes.collect()
}

async fn syncing(session: &Session, node: &Arc<Node>) -> Option<Syncing> {
    let setting = |name| setting(session, node, name);
    let period = match setting("commitlog_sync_period").await? {
        None => setting("commitlog_sync_period_in_ms").await?, // Cassandra 4.0
        told => told,
    };
    Some(Syncing {
        node: node.address.to_string(),
        mode: setting("commitlog_sync").await?,
        period,
    })
}

/// A setting of a node; `None`: the node does not answer.
async fn setting(session: &Session, node: &Arc<Node>, name: &str) -> Option<Option<String>> {
    // Cassandra before 4.0 has no such table.
    let text = format!("SELECT value FROM system_views.settings WHERE name = '{name}'");
    match session.query_unpaged(to(node, text), ()).await {
        Ok(result) => {
            let rows = result.into_rows_result().ok()?;
            let row = rows.maybe_first_row::<(Option<String>,)>().ok()?;
            Some(row.and_then(|(value,)| value))
        }
        Err(error) if errors::is_refusal(&error) => Some(None),
        Err(_) => None,
    }
}

/// By how much the node's clock is ahead. The request is taken to be as long on its way as the
/// answer (Cristian's algorithm).
async fn ahead(session: &Session, node: &Arc<Node>) -> Option<i64> {
    let text = "SELECT toUnixTimestamp(now()) FROM system.local".to_owned();
    let asked = Utc::now();
    let result = session.query_unpaged(to(node, text), ()).await.ok()?;
    let answered = Utc::now();
    let rows = result.into_rows_result().ok()?;
    let (told,) = rows.first_row::<(i64,)>().ok()?;
    let here = asked + (answered - asked) / 2;
    Some(told - here.timestamp_millis())
}

/// A statement that this node answers, and no other one.
fn to(node: &Arc<Node>, text: String) -> Statement {
    let mut statement = Statement::new(text);
    let target = NodeIdentifier::Node(node.clone());
    statement.set_load_balancing_policy(Some(SingleTargetLoadBalancingPolicy::new(target, None)));
    statement
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

impl Syncing {
    /// Whether it answers only after syncing; `None`: it cannot be said.
    fn is_before_answer(&self) -> Option<bool> {
        match self.mode.as_deref() {
            Some("batch" | "group") => Some(true),
            Some("periodic") => Some(false),
            _ => None,
        }
    }
}

impl Durability {
    /// What `journaled` is worth with these settings, and what to do. The weakest node decides.
    pub fn worth(&self) -> Worth {
        let (copies, nodes) = (self.copies.unwrap_or(1), self.nodes);
        if copies > nodes {
            return Worth::Lost(format!(
                "{copies} copies on {nodes} nodes: start more nodes, or alter the keyspace"
            ));
        }
        let of = |kind| move |node: &&Syncing| node.is_before_answer() == kind;
        if let Some(node) = self.syncing.iter().find(of(Some(false))) {
            let (at, period) = (&node.node, node.period.as_deref().unwrap_or("10 s"));
            let advice = "set commitlog_sync: group (commitlog_sync_group_window: 10ms) in \
                          cassandra.yaml of every node";
            return match copies {
                3.. => Worth::Weak(format!(
                    "commitlog_sync of {at} is periodic ({period}), {copies} copies on {nodes} \
                     nodes: when most of such nodes die within {period}, what was answered just \
                     before is gone; {advice}"
                )),
                _ => Worth::Lost(format!(
                    "commitlog_sync of {at} is periodic ({period}) with {copies} copies on {nodes} \
                     nodes: a node that is killed forgets what was answered `journaled` up to \
                     {period} before; {advice}, and use 3 copies on 3 nodes"
                )),
            };
        }
        let unknown = self.syncing.iter().find(of(None));
        if unknown.is_some() || self.syncing.is_empty() {
            let mode = unknown.and_then(|node| node.mode.as_deref());
            return Worth::Unknown(format!(
                "commitlog_sync is {}: `journaled` needs group or batch: look at cassandra.yaml",
                mode.unwrap_or("not told")
            ));
        }
        match copies {
            3.. => Worth::Kept(format!(
                "synced before it is answered, {copies} copies on {nodes} nodes"
            )),
            _ => Worth::Weak(format!(
                "synced before it is answered, but {copies} copies on {nodes} nodes: a lost disk \
                 takes it back; use 3 copies on 3 nodes"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worth(modes: &[&str], copies: usize, nodes: usize) -> Worth {
        let syncing = modes.iter().map(|mode| Syncing {
            node: "10.0.0.1:9042".into(),
            mode: Some((*mode).into()),
            period: Some("10000ms".into()),
        });
        Durability {
            syncing: syncing.collect(),
            copies: Some(copies),
            nodes,
        }
        .worth()
    }

    #[test]
    fn journaled_needs_a_synced_commit_log_or_copies() {
        assert!(matches!(worth(&["group"], 3, 3), Worth::Kept(_)));
        assert!(matches!(worth(&["batch"], 1, 1), Worth::Weak(_)));
        assert!(matches!(worth(&["periodic"], 3, 3), Worth::Weak(_)));
        let Worth::Lost(why) = worth(&["periodic"], 1, 1) else {
            panic!("a killed node forgets")
        };
        assert!(why.contains("10000ms") && why.contains("group"), "{why}");
        assert!(matches!(worth(&["group"], 3, 2), Worth::Lost(_)));
        assert!(matches!(worth(&["elsewhere"], 3, 3), Worth::Unknown(_)));
        assert!(matches!(worth(&[], 3, 3), Worth::Unknown(_)));
    }

    #[test]
    fn the_weakest_node_decides() {
        let mixed = ["group", "periodic", "batch"];
        assert!(matches!(worth(&mixed, 3, 3), Worth::Weak(_)));
        assert!(matches!(worth(&mixed, 2, 3), Worth::Lost(_)));
    }
}
