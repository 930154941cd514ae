//! What travels on the bus and what is kept there.

use crate::{
    room::{
        Action, DeviceId, Epoch, Erasing, Event, Hold, Identity, Incarnation, Key, Millis, Policy,
        Reentry, Rejection, Retention, RoomId, Seq, SessionId, ShardId, UserId,
    },
    telemetry::trace::{Context, hop::Range},
};
use bytes::Bytes;
use std::{collections::BTreeMap, fmt, sync::Arc};

/// A place in a stream of the bus. 0 is before the first message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
pub struct Position(pub u64);

impl Position {
    /// Before the first message.
    pub const ZERO: Position = Position(0);

    /// The position after this one.
    pub fn next(self) -> Position {
        Position(self.0 + 1)
    }
}

/// A command on its way to the bus.
#[derive(Debug, Clone, PartialEq)]
pub struct Submission {
    /// The room that it is for.
    pub room: RoomId,
    /// What is wanted.
    pub action: Action,
    /// Who waits for the answer; `None`: nobody.
    pub reply: Option<ReplyTo>,
}

/// Who waits for an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplyTo {
    /// The node.
    pub node: Incarnation,
    /// Unique among what that node waits for.
    pub tag: u64,
}

/// A command as it was stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Delivery {
    /// Where it is stored. Not above the one before: everything stored is being read again.
    pub position: Position,
    /// When it was stored.
    pub at: Millis,
    /// The command.
    pub submission: Submission,
    /// Where storing it is in its trace.
    pub trace: Context,
}

/// Events that were appended together: at least one, of dense places.
#[derive(Debug, Clone, PartialEq)]
pub struct Commit {
    /// The owner's epoch.
    pub epoch: Epoch,
    /// The events, ascending.
    pub events: Vec<Event>,
}

impl Commit {
    /// The place of the first event.
    ///
    /// # Panics
    /// When the commit is empty: there is no such commit.
    pub fn first(&self) -> Seq {
        self.events
            .first()
            .expect("a commit holds at least one event")
            .seq
    }

    /// The place of the last event.
    ///
    /// # Panics
    /// When the commit is empty: there is no such commit.
    pub fn last(&self) -> Seq {
        self.events
            .last()
            .expect("a commit holds at least one event")
            .seq
    }

    /// What a span says of it, of so many bytes.
    pub(crate) fn range(&self, bytes: usize) -> Range {
        let place = |event: Option<&Event>| event.map_or(0, |event| event.seq.0);
        Range {
            epoch: self.epoch.0,
            first: place(self.events.first()),
            last: place(self.events.last()),
            bytes,
        }
    }
}

/// What is known of the last published message of a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Published {
    /// Where it is.
    pub position: Position,
    /// Under which epoch it was published.
    pub epoch: Epoch,
    /// The last place that is published: with it, or (a message without events) before it.
    pub seq: Seq,
}

/// A message of a room as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Stored {
    /// Where it is.
    pub position: Position,
    /// Under which epoch it was published.
    pub epoch: Epoch,
    /// The last place that is published: with it, or (a message without events) before it.
    pub seq: Seq,
    /// Its events; empty: an owner's claim.
    pub events: Vec<Event>,
}

impl Stored {
    /// Whether the room was at this place right after it, or within it.
    pub fn holds(&self, seq: Seq) -> bool {
        match self.events.first() {
            Some(first) => (first.seq..=self.seq).contains(&seq),
            None => seq == self.seq,
        }
    }
}

/// What a subscriber of a room sees.
#[derive(Debug, Clone, PartialEq)]
pub enum Live {
    /// A published commit.
    Commit(Arc<Commit>),
    /// A published commit that is traced, and where publishing it is in its trace.
    Traced(Arc<Commit>, Context),
    /// Something may have been missed: the connection was lost, or this subscriber was too slow.
    /// Ask for the head.
    Interrupted,
}

impl Live {
    /// A commit, as it was published.
    pub(crate) fn of(commit: Arc<Commit>, trace: Context) -> Self {
        match trace.is_empty() {
            true => Self::Commit(commit),
            false => Self::Traced(commit, trace),
        }
    }
}

/// Where a room ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The room.
    pub room: RoomId,
    /// The owner's epoch.
    pub epoch: Epoch,
    /// Its last published place.
    pub seq: Seq,
}

/// What is sent to one node.
#[derive(Debug, Clone, PartialEq)]
pub enum Inbound {
    /// The answer to a command that this node submitted.
    Answer(Answer),
    /// A message that this node submitted came before one of its session that must be in the room
    /// first. It has no answer yet.
    Early {
        /// The tag of its [`ReplyTo`].
        tag: u64,
    },
    /// What became of batches that this node submitted.
    Outcomes(Outcomes),
    /// A session of this node was replaced by one of the same device.
    Replaced {
        /// The room.
        room: RoomId,
        /// The session that is over.
        session: SessionId,
    },
    /// An operator ends all sessions of a user in a room; this node closes those that it has.
    Expel {
        /// The room.
        room: RoomId,
        /// The user.
        user: UserId,
    },
}

/// The answer to a command.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The tag of its [`ReplyTo`].
    pub tag: u64,
    /// What became of it.
    pub answered: Answered,
}

/// What became of the batches of one gateway, as far as no event of the room says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcomes {
    /// The room.
    pub room: RoomId,
    /// The batches.
    pub batches: Vec<OfBatch>,
}

/// What became of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfBatch {
    /// The producer's generation.
    pub generation: u64,
    /// Which batch.
    pub sequence: u64,
    /// What became of it.
    pub outcome: BatchOutcome,
}

/// What became of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BatchOutcome {
    /// Nothing: another one must come first. Submit again from there on.
    OutOfOrder {
        /// The number of the first that is missing.
        expected: u64,
    },
    /// It is not decided: begin a new generation.
    Refused(Rejection),
    /// What became of some of its messages, by their index.
    Messages(Vec<(u32, MessageOutcome)>),
}

impl BatchOutcome {
    /// Of how many messages it tells.
    pub fn messages(&self) -> usize {
        match self {
            Self::OutOfOrder { .. } | Self::Refused(_) => 0,
            Self::Messages(messages) => messages.len(),
        }
    }
}

/// What became of a message of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MessageOutcome {
    /// It has an answer.
    Answered(Answered),
    /// It was decided, and the room has forgotten how: among its events up to this place is the
    /// message's, or it has none.
    DecidedBy(Seq),
}

/// What became of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answered {
    /// It is in the journal.
    Journaled {
        /// Its place; of a command without an event of its own (a second session): the head when it
        /// was decided.
        seq: Seq,
        /// The owner's epoch.
        epoch: Epoch,
        /// Whether it was there before.
        duplicate: bool,
    },
    /// It is refused.
    Rejected(Rejection),
}

/// A question to the owner of a shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// About which room.
    pub room: RoomId,
    /// Whether somebody would be let in now. Nothing is opened or kept.
    pub admission: Option<Admission>,
    /// Which members are told.
    pub members: Wanted,
    /// Whether the public state of its group is told.
    pub group: bool,
}

/// Which members of a room are told, in the order of their names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// All of them, in one message: what older versions ask for, and tell whatever is asked.
    All,
    /// None.
    Nobody,
    /// Those behind a name, or from the first one on: as many as fit into a message.
    After(Option<UserId>),
}

impl Ask {
    /// Where the room is, and who is there: the first part of them, if they are many.
    pub fn room(room: RoomId) -> Self {
        Self::members(room, None)
    }

    /// Where the room is, and who is there behind a name.
    pub fn members(room: RoomId, after: Option<UserId>) -> Self {
        Self {
            members: Wanted::After(after),
            ..Self::head(room)
        }
    }

    /// Where the room is.
    pub fn head(room: RoomId) -> Self {
        Self {
            room,
            admission: None,
            members: Wanted::Nobody,
            group: false,
        }
    }

    /// With what a device comes back into the room's group.
    pub fn group(room: RoomId) -> Self {
        Self {
            group: true,
            ..Self::head(room)
        }
    }

    /// Whether somebody would be let in now.
    pub fn admission(room: RoomId, who: Admission) -> Self {
        Self {
            admission: Some(who),
            ..Self::head(room)
        }
    }
}

/// Somebody who might open a session.
#[derive(Clone, PartialEq, Eq)]
pub struct Admission {
    /// Who.
    pub user: UserId,
    /// The user's key.
    pub key: Key,
    /// What was shown of it, or will be.
    pub identity: Identity,
    /// It would replace an earlier session of the same device.
    pub device: Option<DeviceId>,
    /// The policy that the room is to have, or must have.
    pub policy: Option<Policy>,
    /// A key that has signed, or will, that `key` takes its place.
    pub former: Option<Key>,
}

impl fmt::Debug for Admission {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { user, device, .. } = self;
        let mut shown = f.debug_struct("Admission");
        shown.field("user", user).field("device", device);
        shown.finish_non_exhaustive()
    }
}

/// What the owner says of a room. All of it is journaled and published.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RoomView {
    /// The owner's epoch.
    pub epoch: Epoch,
    /// The last published place.
    pub head: Seq,
    /// Who is here at the head, of those that were asked for.
    pub members: Vec<UserId>,
    /// Whether more are behind the last of them.
    pub more_members: bool,
    /// Why the room cannot be opened, or the one who was asked about would not be let in; then
    /// there is no other content. Pinned keys are not told.
    pub refused: Option<Rejection>,
    /// The place of its newest snapshot; zero: there is none, or an older version does not say.
    pub snapshot: Seq,
    /// What the room asks of those who come.
    pub policy: Policy,
    /// With what a device comes back into its group, if that was asked and there is one.
    pub group: Option<Reentry>,
    /// The first place that is kept; zero: an older version does not say.
    pub first: Seq,
    /// What an operator wants to be kept of this room; `None`: what the cluster wants of all.
    pub retention: Option<Retention>,
    /// The place of its last purge: nothing before it is told any more; zero: there was none.
    pub purged: Seq,
    /// Whose messages are told without their content, up to which place.
    pub erasing: Erasing,
    /// Why the room does not go with its name; `None`: an older version does not say.
    pub stays: Option<Stays>,
    /// Whether the name of the one who was asked about would be one more of the room; `false`, too,
    /// from an older version.
    pub is_new_name: bool,
}

/// What keeps a room, so that it is not removed with its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stays {
    /// What would be missed.
    pub holds: Vec<Hold>,
    /// If nothing would, it goes so many seconds after its last event; 0: never.
    pub gone_after_s: u64,
}

/// What of the stored events can be removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removal {
    /// Whether somebody can remove a message while an older one of the same room stays.
    pub singly: bool,
    /// Why the past of a room cannot be removed, and what to do; `None`: it can.
    pub refused: Option<String>,
}

/// A question that waits for its answer.
pub struct Question {
    /// What is asked.
    pub ask: Ask,
    /// Takes the answer; dropping it leaves the question unanswered (the asker's deadline ends it).
    pub respond: Box<dyn FnOnce(RoomView) + Send>,
}

/// What an operator of another node asks of this one. The bus does not look inside.
pub struct Consultation {
    /// What is asked.
    pub request: Bytes,
    /// Bytes of the longest answer that arrives.
    pub longest: usize,
    /// Takes the answer; dropping it leaves the asker to its deadline.
    pub respond: Box<dyn FnOnce(Bytes) + Send>,
}

/// What a node does.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    serde::Serialize,
    serde::Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Accepts clients.
    Gateway,
    /// Owns shards.
    Writer,
}

impl Role {
    /// As it is written.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Writer => "writer",
        }
    }
}

/// A node as it describes itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeRecord {
    /// This run of it.
    pub incarnation: Incarnation,
    /// Its name, for people.
    pub name: String,
    /// What it does.
    pub roles: Vec<Role>,
    /// It is stopping: give it no shards, and take those that it releases.
    pub draining: bool,
    /// The program's version.
    pub version: Box<str>,
    /// The commit that it was built from; empty: it is not known.
    pub commit: Box<str>,
    /// Where operators reach it, `host:port`; empty: an older version, which does not say.
    pub address: Box<str>,
    /// The nodes that it does not hear and that do not answer it, ascending.
    pub unreachable: Vec<Incarnation>,
    /// The newest forms of what is stored and sent that it reads ([`super::FORMATS`]).
    pub formats: u32,
    /// What it keeps of the past of all rooms, as a writer; `None`: it does not say.
    pub keeps: Option<Retention>,
    /// After how many seconds it removes rooms that are gone, as a writer; 0: never. `None`: it
    /// does not say.
    pub gone_after_s: Option<u64>,
}

/// A node's record as it was seen in the registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeSeen {
    /// Stored, first or again.
    Beat {
        /// The record.
        node: NodeRecord,
        /// Its revision: a higher one is a newer heartbeat.
        revision: u64,
    },
    /// Forgotten.
    Forgotten(Incarnation),
    /// Declared down by an operator: whatever is seen of it from now on, it is gone.
    Downed(Incarnation),
    /// All that was stored at the beginning has been seen.
    Current,
}

/// Who writes a shard.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ShardRecord {
    /// The owner; `None`: released.
    pub owner: Option<Incarnation>,
    /// The epoch of the owner, or of the last one.
    pub epoch: Epoch,
    /// Every command below this position is decided and journaled.
    pub floor: Position,
    /// Rooms from which the owner is removing something, at most [`Self::UNFINISHED`]: the next
    /// owner goes on with these at once. A node of before writes none; then they are found late.
    pub unfinished: Vec<RoomId>,
}

impl ShardRecord {
    /// Rooms that a record names: what an owner opens in a second. More wait until it looks through
    /// all its rooms.
    pub const UNFINISHED: usize = 64;
}

/// A shard's record, or the plan, as it was seen in the registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ShardSeen {
    /// Stored.
    Stored {
        /// Which shard.
        shard: ShardId,
        /// Its record.
        record: ShardRecord,
        /// Its revision.
        revision: u64,
    },
    /// The plan, stored or changed.
    Plan(Plan),
    /// All that was stored at the beginning has been seen.
    Current,
}

/// Where shards go other than by the assignment that every node computes: an operator's doing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// The writers that it was made for. A shard that would go to another one goes there.
    pub writers: Vec<Incarnation>,
    /// Who is to write these shards instead, as long as it is there.
    pub moved: BTreeMap<ShardId, Incarnation>,
}
