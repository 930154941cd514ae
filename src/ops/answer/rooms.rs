//! Answers about rooms and those who are in them.

use super::Owner;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A page of the rooms that were ever written.
#[derive(Debug, Serialize, ToSchema)]
pub struct Rooms {
    /// In the journal's order.
    pub rooms: Vec<RoomLine>,
    /// The room after which the next page begins; null: this is the last one.
    #[schema(example = "aaa")]
    pub next: Option<String>,
}

/// A room, and where it is.
#[derive(Debug, Serialize, ToSchema)]
pub struct RoomLine {
    /// Its name.
    #[schema(example = "aaa")]
    pub room: String,
    /// Its shard.
    #[schema(example = 12)]
    pub shard: u16,
    /// Who writes it.
    pub owner: Owner,
}

/// A room: where it is, how far it goes, who is there, and what is stored of it.
#[derive(Debug, Serialize, ToSchema)]
pub struct Room {
    /// Its name.
    #[schema(example = "aaa")]
    pub room: String,
    /// Its shard.
    #[schema(example = 12)]
    pub shard: u16,
    /// Who writes it.
    pub owner: Owner,
    /// The epoch under which the owner writes it.
    #[schema(example = 4)]
    pub epoch: u64,
    /// The seq of its last event; 0: it is empty.
    #[schema(example = 1042)]
    pub head: u64,
    /// What it asks of those who come, since it was made: `open`, `proven` or `sealed`.
    #[schema(example = "open")]
    pub policy: String,
    /// The seq of the first event that is kept: those before it went by its retention, or were
    /// purged.
    #[schema(example = 1)]
    pub first: u64,
    /// What was said of this room alone; null: it is kept as all are (`writer.keep_...`).
    pub retention: Option<Retention>,
    /// Users whose erased messages are still stored, and told to nobody.
    #[schema(example = json!(["mallory"]))]
    pub erasing: Vec<String>,
    /// The users that are members.
    #[schema(example = json!(["charly", "harry"]))]
    pub members: Vec<String>,
    /// The sessions of all nodes.
    pub sessions: SessionsEverywhere,
    /// The seq up to which a snapshot goes; null: there is none.
    pub snapshot: Option<u64>,
    /// The commit that wrote the last event; null: there is none.
    pub last_commit: Option<Commit>,
    /// Bytes of content; null: too many events to count them.
    #[schema(example = 48213)]
    pub bytes: Option<usize>,
    /// Why it is not removed with its name (`writer.gone_after_s`), or when it will be; null: it
    /// was never written, or its owner is of a version that does not say.
    pub stays: Option<Stays>,
}

/// Why a room is not removed with its name, or when it will be.
#[derive(Debug, Serialize, ToSchema)]
pub struct Stays {
    /// Everything that keeps it; empty: time alone.
    pub because: Vec<Because>,
    /// When it goes if nothing happens in it, some hours later at most, in milliseconds since 1970
    /// UTC; null: not as it is.
    #[schema(example = 1_797_000_000_000_u64)]
    pub until: Option<u64>,
}

/// Something that keeps a room.
#[derive(Debug, Serialize, ToSchema)]
pub struct Because {
    /// What, for programs.
    #[schema(example = "keys")]
    pub reason: String,
    /// The same for people, and what ends it.
    pub message: String,
}

/// The last commit of a room.
#[derive(Debug, Serialize, ToSchema)]
pub struct Commit {
    /// The seq of its last event.
    #[schema(example = 1042)]
    pub seq: u64,
    /// When, in milliseconds since 1970 UTC.
    #[schema(example = 1_790_000_000_000_u64)]
    pub at: u64,
    /// The epoch under which it was written; null: it is not known.
    pub epoch: Option<u64>,
}

/// A session.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Session {
    /// Its id.
    #[schema(
        pattern = "^[0-9a-f]{32}$",
        example = "01997d3a5c7e7a60b1c98d3e5f600112"
    )]
    pub session: String,
    /// Whose it is.
    #[schema(example = "harry")]
    pub user: String,
}

/// A session, and the node that it is at.
#[derive(Debug, Serialize, ToSchema)]
pub struct NodeSession {
    /// The node.
    #[schema(example = "safe-chat@10.0.0.7:8558")]
    pub node: String,
    /// The session.
    #[serde(flatten)]
    pub session: Session,
}

/// The sessions that one node has in a room.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Sessions {
    /// The room.
    #[schema(example = "aaa")]
    pub room: String,
    /// Those that are open or opening.
    pub sessions: Vec<Session>,
}

/// The sessions that all nodes have in a room.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum SessionsEverywhere {
    /// Every node answered.
    All(Vec<NodeSession>),
    /// Some nodes did not answer.
    Known {
        /// Those of the nodes that did.
        known: Vec<NodeSession>,
        /// The nodes that did not.
        unknown_at: Vec<String>,
    },
}

/// How much of a room's past is kept; what is null is no bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct Retention {
    /// Seconds since an event was stored.
    #[schema(example = 2_592_000)]
    pub age: Option<u64>,
    /// About so many of the last events.
    #[schema(example = 10_000)]
    pub events: Option<u64>,
    /// About so many bytes of content.
    #[schema(example = json!(null))]
    pub bytes: Option<u64>,
}

/// A room whose past is kept as an operator says.
#[derive(Debug, Serialize, ToSchema)]
pub struct Retained {
    /// The room.
    #[schema(example = "aaa")]
    pub room: String,
    /// What is kept of this room; null: as much as of all rooms (`writer.keep_...`).
    pub retention: Option<Retention>,
}

/// A room of which everything that was before is forgotten.
#[derive(Debug, Serialize, ToSchema)]
pub struct Purged {
    /// The room.
    #[schema(example = "aaa")]
    pub room: String,
    /// The seq of the event that says so, with which the room goes on.
    #[schema(example = 43)]
    pub seq: u64,
}

/// A user of whose messages in a room nothing but that they were there is told any more.
#[derive(Debug, Serialize, ToSchema)]
pub struct Erased {
    /// The room.
    #[schema(example = "aaa")]
    pub room: String,
    /// The user.
    #[schema(example = "harry")]
    pub user: String,
    /// The seq of the event that says so: the content of messages below it is erased.
    #[schema(example = 43)]
    pub seq: u64,
}

/// A name that belongs to nobody in a room any more: the next key that comes with it is pinned.
#[derive(Debug, Serialize, ToSchema)]
pub struct Unpinned {
    /// The room.
    #[schema(example = "aaa")]
    pub room: String,
    /// The name.
    #[schema(example = "harry")]
    pub user: String,
    /// Whether a key was pinned to it.
    pub was_pinned: bool,
}

/// A user who has no sessions in a room any more.
#[derive(Debug, Serialize, ToSchema)]
pub struct Kicked {
    /// The room.
    #[schema(example = "aaa")]
    pub room: String,
    /// The user.
    #[schema(example = "harry")]
    pub user: String,
    /// Whether the user was a member before.
    pub was_member: bool,
}
