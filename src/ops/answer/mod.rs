//! What the internal port answers: one type for each body, from which both the answer and its
//! description in the OpenAPI document are made.

mod cluster;
mod nodes;
mod overview;
mod rooms;

pub use cluster::{
    EntityTypes, Event, EventType, Member, Members, Message, NodeAnswered, NodeShard, Region,
    RegionShard, SeedNodes, Stats, Status, Unreachable,
};
pub use nodes::{
    Disconnect, DisconnectOutcome, Disconnecting, Draining, Live, Move, Node, NodeDisconnect,
    Nodes, Owner, Ready, Rebalance, Shard, Shards, TraceLine, Traced,
};
pub use overview::{
    BusConnection, CassandraNodes, Figures, Histogram, NodeOverview, Overview, ShardFigures,
};
pub use rooms::{
    Because, Commit, Erased, Kicked, NodeSession, Purged, Retained, Retention, Room, RoomLine,
    Rooms, Session, Sessions, SessionsEverywhere, Stays, Unpinned,
};

use serde::Serialize;
use utoipa::ToSchema;

/// Why a request was refused.
#[derive(Debug, Serialize, ToSchema)]
pub struct Refusal {
    /// What happened and what to do.
    #[schema(example = "the node is starting: see /ready")]
    pub message: String,
    /// The same for programs; left out in the answers of Akka Management.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Reason>,
}

/// Why, in a word.
#[derive(Debug, Serialize, ToSchema)]
pub struct Reason {
    /// A word that stays the same.
    #[schema(example = "unavailable")]
    pub reason: &'static str,
    /// What happened and what to do.
    pub message: String,
}
