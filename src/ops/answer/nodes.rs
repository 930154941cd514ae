//! Answers about nodes and shards, and about what is being done to them.

use super::Member;
use crate::trace::Step;
use serde::{Deserialize, Serialize, Serializer};
use utoipa::ToSchema;

/// The process runs.
#[derive(Debug, Serialize, ToSchema)]
pub struct Live {
    /// Always true.
    #[schema(example = true)]
    pub live: bool,
}

/// Whether the node should get traffic.
#[derive(Debug, Serialize, ToSchema)]
pub struct Ready {
    /// Whether it should.
    #[schema(example = true)]
    pub ready: bool,
    /// What is not as it should be and keeps nothing from being ready.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Why it should not.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub why: Vec<String>,
}

/// The nodes of the cluster, as the one that is asked sees them.
#[derive(Debug, Serialize, ToSchema)]
pub struct Nodes {
    /// All of them, by address.
    pub nodes: Vec<Node>,
    /// Whether what is seen is recent.
    pub fresh: bool,
    /// The shards of the node that answers.
    pub owned: Vec<u16>,
}

/// A node of the cluster.
#[derive(Debug, Serialize, ToSchema)]
pub struct Node {
    /// As the cluster's members are told.
    #[serde(flatten)]
    pub member: Member,
    /// Whether it is the node that answers.
    pub this: bool,
    /// Whether it stops.
    pub draining: bool,
    /// Whether all nodes hear it.
    pub reachable: bool,
}

/// Who writes which shard.
#[derive(Debug, Serialize, ToSchema)]
pub struct Shards {
    /// Those that ever had an owner.
    pub shards: Vec<Shard>,
    /// How many shards the cluster has.
    #[schema(example = 64)]
    pub of: u16,
}

/// A shard.
#[derive(Debug, Serialize, ToSchema)]
pub struct Shard {
    /// Its number.
    #[schema(example = 12)]
    pub shard: u16,
    /// Who writes it.
    pub owner: Owner,
    /// The epoch of the owner's lease.
    #[schema(example = 4)]
    pub epoch: u64,
    /// Commands up to this place in the stream are settled.
    pub floor: u64,
}

/// Who writes something; nobody at the moment: both are null.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct Owner {
    /// The run of the node.
    #[schema(
        pattern = "^[0-9a-f]{32}$",
        example = "01997d3a5c7e7a60b1c98d3e5f600112"
    )]
    pub incarnation: Option<String>,
    /// The node's name; null when it is not known any more.
    #[schema(example = "node-1")]
    pub node: Option<String>,
}

/// What a node does about its sessions.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Disconnect {
    /// How many it sends elsewhere.
    #[schema(example = 1200)]
    pub sessions: usize,
    /// How many per second: its part of what all nodes do.
    #[serde(serialize_with = "plainly")]
    #[schema(example = 50)]
    pub per_second: f64,
}

/// A whole number as one.
fn plainly<S: Serializer>(number: &f64, to: S) -> Result<S::Ok, S::Error> {
    match number.fract() == 0.0 {
        true => to.serialize_i64(*number as i64),
        false => to.serialize_f64(*number),
    }
}

/// Which nodes send sessions elsewhere.
#[derive(Debug, Serialize, ToSchema)]
pub struct Disconnecting {
    /// Each node with what it does.
    pub nodes: Vec<NodeDisconnect>,
    /// How many per second, of all nodes together.
    #[schema(example = 100)]
    pub per_second: u32,
}

/// What a node does about its sessions, or why it does nothing.
#[derive(Debug, Serialize, ToSchema)]
pub struct NodeDisconnect {
    /// The node.
    #[schema(example = "safe-chat@10.0.0.7:8558")]
    pub node: String,
    /// What it does, or why it does nothing.
    #[serde(flatten)]
    pub outcome: DisconnectOutcome,
}

/// What a node does about its sessions, or why it does nothing.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum DisconnectOutcome {
    /// It sends them elsewhere.
    Begun(Disconnect),
    /// It does not.
    Failed {
        /// Why not.
        error: String,
    },
}

/// Which shards are moved.
#[derive(Debug, Serialize, ToSchema)]
pub struct Rebalance {
    /// The moves that make the assignment even.
    pub moves: Vec<Move>,
    /// How many begin per second.
    #[schema(example = 4)]
    pub per_second: u32,
    /// Whether they were begun.
    pub begun: bool,
}

/// A move of a shard.
#[derive(Debug, Serialize, ToSchema)]
pub struct Move {
    /// The shard.
    #[schema(example = 12)]
    pub shard: u16,
    /// The node that writes it now.
    #[schema(example = "safe-chat@10.0.0.7:8558")]
    pub from: String,
    /// The node that will.
    #[schema(example = "safe-chat@10.0.0.8:8558")]
    pub to: String,
}

/// A line of a trace.
#[derive(Debug, Serialize, ToSchema)]
pub struct TraceLine {
    /// The node that it is from.
    #[schema(example = "safe-chat@10.0.0.7:8558")]
    pub node: String,
    /// What it is.
    #[serde(flatten)]
    pub what: Traced,
}

/// What a line of a trace tells.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum Traced {
    /// What happened to a message.
    Step(Step),
    /// Steps did not fit.
    Missed {
        /// How many.
        missed: u64,
    },
    /// The node does not answer.
    Silent {
        /// Why not.
        error: String,
    },
}

/// The node stops.
#[derive(Debug, Serialize, ToSchema)]
pub struct Draining {
    /// Always true.
    #[schema(example = true)]
    pub draining: bool,
}
