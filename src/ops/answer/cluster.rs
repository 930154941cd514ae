//! The answers of Akka Management, to the letter; fields of ours stand beside.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// What was done, or why it was not.
#[derive(Debug, Serialize, ToSchema)]
pub struct Message {
    /// In Akka Management's words.
    #[schema(example = "Leaving safe-chat@10.0.0.7:8558")]
    pub message: String,
}

/// Where a member is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub enum Status {
    /// It has been seen, and is given no shards yet.
    Joining,
    /// It plays its part.
    Up,
    /// It hands its shards over, to stop.
    Leaving,
    /// It has none left; its clients are sent elsewhere.
    Exiting,
    /// It is dead, or was declared down. It is forgotten next.
    Down,
}

/// A member of the cluster.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Member {
    /// The address that it goes by.
    #[schema(example = "safe-chat@10.0.0.7:8558")]
    pub node: String,
    /// One run of its process.
    #[schema(example = "7060618622926642", pattern = "^[0-9]+$")]
    pub node_uid: String,
    /// Where it is in its life.
    pub status: Status,
    /// What it does.
    #[schema(example = json!(["gateway", "writer", "dc-default"]))]
    pub roles: Vec<String>,
    /// Its name, which goes for its address in a path.
    #[schema(example = "node-1")]
    pub name: String,
    /// The same run of its process, in full.
    #[schema(
        pattern = "^[0-9a-f]{32}$",
        example = "01997d3a5c7e7a60b1c98d3e5f600112"
    )]
    pub incarnation: String,
    /// The version that it runs.
    #[schema(example = "0.1.0")]
    pub version: String,
    /// The commit that it was built from, where that is known.
    #[schema(example = "1f2e3d4c5b6a")]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub commit: String,
    /// The newest forms of what is stored that it reads: new ones are written once all nodes do.
    #[schema(example = 7)]
    pub formats: u32,
}

/// The members of the cluster, as the node that is asked sees them.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Members {
    /// The node that answers.
    #[schema(example = "safe-chat@10.0.0.7:8558")]
    pub self_node: String,
    /// All of them, by address.
    pub members: Vec<Member>,
    /// Those that do not answer.
    pub unreachable: Vec<Unreachable>,
    /// The reachable member with the lowest address that is up or leaving, if any.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "safe-chat@10.0.0.7:8558")]
    pub leader: Option<String>,
    /// The member that joined first of those that are up, if any.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "safe-chat@10.0.0.7:8558")]
    pub oldest: Option<String>,
    /// The same for each role.
    pub oldest_per_role: BTreeMap<String, String>,
}

/// A member that stopped beating and does not answer.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Unreachable {
    /// Its address.
    pub node: String,
    /// Who says so.
    pub observed_by: Vec<String>,
}

/// The members that a new one could turn to.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SeedNodes {
    /// The node that answers.
    #[schema(example = "safe-chat@10.0.0.7:8558")]
    pub self_node: String,
    /// Those that are up and reachable.
    pub seed_nodes: Vec<Member>,
}

/// The kinds of entities that are spread over shards.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EntityTypes {
    /// Rooms are the only kind.
    #[schema(example = json!(["chat-rooms"]))]
    pub entity_type_keys: Vec<&'static str>,
}

/// The shards that one node writes.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct Region {
    /// Shards that it writes.
    pub regions: Vec<RegionShard>,
    /// Shards that it has and does not write yet.
    pub failed: Vec<String>,
}

/// A shard of a region.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RegionShard {
    /// Its number.
    #[schema(example = "12", pattern = "^[0-9]+$")]
    pub shard_id: String,
    /// How many of its rooms are in memory.
    #[schema(example = 30)]
    pub num_entities: usize,
}

/// The shards that all nodes write.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct Stats {
    /// Shards with the nodes that write them.
    pub regions: Vec<NodeShard>,
    /// Shards that nobody answers for: their node does not write them yet or did not answer, or no
    /// node writes any.
    pub failed: Vec<String>,
    /// Who was asked.
    pub nodes: Vec<NodeAnswered>,
}

/// A shard, and the node that writes it.
#[derive(Debug, Serialize, ToSchema)]
pub struct NodeShard {
    /// The node.
    #[schema(example = "safe-chat@10.0.0.7:8558")]
    pub node: String,
    /// The shard.
    #[serde(flatten)]
    pub shard: RegionShard,
}

/// Whether a node answered.
#[derive(Debug, Serialize, ToSchema)]
pub struct NodeAnswered {
    /// The node.
    #[schema(example = "safe-chat@10.0.0.7:8558")]
    pub node: String,
    /// Whether it did.
    pub answered: bool,
    /// Why it did not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// A server-sent event.
#[derive(Debug, ToSchema)]
pub struct Event {
    /// What has happened.
    pub event: EventType,
    /// All about it, as JSON.
    #[schema(example = r#"{"member":{"status":"Up"},"type":"MemberUp"}"#)]
    pub data: String,
}

/// A type of Akka's cluster domain events, or a group of types.
#[derive(Debug, Clone, Copy, ToSchema)]
pub enum EventType {
    /// All of them.
    ClusterDomainEvent,
    /// All that begin with Member.
    MemberEvent,
    /// A member is unreachable, or reachable again.
    ReachabilityEvent,
    /// As Akka has it: there is one data centre here.
    DataCenterReachabilityEvent,
    /// A member has been seen.
    MemberJoined,
    /// As Akka has it: members are up at once here.
    MemberWeaklyUp,
    /// A member plays its part.
    MemberUp,
    /// A member begins to stop.
    MemberLeft,
    /// A member has handed its shards over.
    MemberExited,
    /// A member is dead, or was declared down.
    MemberDowned,
    /// A member is forgotten.
    MemberRemoved,
    /// A member does not answer.
    UnreachableMember,
    /// It answers again.
    ReachableMember,
    /// As Akka has it.
    UnreachableDataCenter,
    /// As Akka has it.
    ReachableDataCenter,
    /// Another member leads.
    LeaderChanged,
    /// Another member leads those of a role.
    RoleLeaderChanged,
    /// The node that is asked has left.
    ClusterShuttingDown,
}
