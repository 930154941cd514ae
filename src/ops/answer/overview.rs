//! What every node says of itself, in one answer: what the dashboard shows.

use super::Node;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The nodes of the cluster with their figures, as the node that is asked sees them.
#[derive(Debug, Serialize, ToSchema)]
pub struct Overview {
    /// The node that answers.
    #[schema(example = "safe-chat@10.0.0.7:8558")]
    pub node: String,
    /// When, in milliseconds since 1970 UTC, by its clock.
    #[schema(example = 1_790_000_000_000_u64)]
    pub at: u64,
    /// Whether what it sees of the cluster is recent.
    pub fresh: bool,
    /// How many shards the cluster has.
    #[schema(example = 64)]
    pub shards: u16,
    /// All nodes, by address.
    pub nodes: Vec<NodeOverview>,
}

/// A node, and what it says of itself.
#[derive(Debug, Serialize, ToSchema)]
pub struct NodeOverview {
    /// As the others see it.
    #[serde(flatten)]
    pub node: Node,
    /// What it says; left out when it does not answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub figures: Option<Figures>,
    /// Why it does not answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What a node says of itself. Counts begin at 0 when its process starts.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Figures {
    /// Whether it should get traffic.
    pub ready: bool,
    /// Why it should not.
    pub why: Vec<String>,
    /// What is not as it should be and keeps nothing from being ready.
    pub warnings: Vec<String>,
    /// Seconds since its process started.
    pub uptime_seconds: f64,
    /// Memory of the process that is in RAM.
    pub memory_bytes: u64,
    /// Sessions that are open there.
    pub sessions: u64,
    /// Rooms with clients there.
    pub rooms: u64,
    /// Messages of clients that were journaled.
    pub journaled: u64,
    /// Messages of clients that were refused.
    pub messages_refused: u64,
    /// Events that were put before clients, once for each client.
    pub delivered: u64,
    /// Sessions that were opened.
    pub joined: u64,
    /// Sessions that were refused.
    pub joins_refused: u64,
    /// From a message's frame to its answer `journaled`.
    pub frame_to_journaled: Histogram,
    /// From the store of a commit to its hand-over to clients there.
    pub journaled_to_delivered: Histogram,
    /// Its connections to NATS.
    pub bus: Vec<BusConnection>,
    /// Its connections to Cassandra; null: it uses none.
    pub cassandra: Option<CassandraNodes>,
    /// The shards that it writes.
    pub shards: Vec<ShardFigures>,
}

/// How often something took at most so long.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
pub struct Histogram {
    /// Upper bounds in seconds, ascending; there is no bound above the last one.
    #[schema(example = json!([0.001, 0.0025, 0.005]))]
    pub bounds: Vec<f64>,
    /// How many were at most each of them; one more: how many there were.
    #[schema(example = json!([12, 40, 51, 51]))]
    pub counts: Vec<u64>,
}

/// A connection to NATS.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct BusConnection {
    /// What it is for.
    #[schema(example = "commands")]
    pub connection: String,
    /// Whether it is there.
    pub connected: bool,
    /// Whether the nats-server has said that it stops soon.
    pub lame_duck: bool,
}

/// Cassandra's nodes.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct CassandraNodes {
    /// Those with a connection.
    pub connected: u64,
    /// Those without one.
    pub lost: u64,
}

/// How far a shard is.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ShardFigures {
    /// Its number.
    #[schema(example = 12)]
    pub shard: u16,
    /// The epoch under which it is written.
    #[schema(example = 4)]
    pub epoch: u64,
    /// Its open rooms.
    pub rooms: u64,
    /// Commands that were read and are not journaled yet, or not decided.
    pub unsettled: u64,
    /// How long ago the oldest of them was stored, in milliseconds.
    pub lag_ms: u64,
}
