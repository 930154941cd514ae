//! The bus: what carries commands, events, answers and the cluster's records between nodes. This is
//! the port; the adapters are `nats` and `memory`, and one contract suite runs against both.
//!
//! A room decides its shard, so nobody names both: an adapter finds the shard of what it sends, and
//! drops what others sent under the name of another shard.
//!
//! Five traits by what travels, one [`Bus`] that has them all. Every call has a deadline inside the
//! adapter and ends in an [`Error`] that says what the caller can do next. Streams never end by
//! themselves: an adapter that loses its connection restores it and, where something may have been
//! missed, says so in the stream ([`Live::Interrupted`]).

pub mod admissions;
mod blob;
mod bucket;
pub mod codec;
mod describe;
mod error;
mod forms;
mod health;
pub mod memory;
mod message;
pub mod nats;
pub mod packages;
mod part;
mod settings;

pub use admissions::Admissions;
pub use blob::{BLOB, PUBLIC};
pub use bucket::{Bucket, Buckets, KEPT};
pub use describe::describe;
pub use error::Error;
pub use forms::FORMATS;
pub(crate) use forms::{LOOK, while_newer};
pub use health::{ENVELOPE, Fault, Health, Store, too_large_now, until};
pub use message::{
    Admission, Answer, Answered, Ask, BatchOutcome, Commit, Consultation, Delivery, Head, Inbound,
    Live, MessageOutcome, NodeRecord, NodeSeen, OfBatch, Outcomes, Plan, Position, Published,
    Question, Removal, ReplyTo, Role, RoomView, ShardRecord, ShardSeen, Stays, Stored, Submission,
    Wanted,
};
pub use packages::Packages;
pub use part::{PART, members_after};
pub(crate) use settings::time;
pub use settings::{ClusterId, Contradiction, Held, ImportId, Incomplete, JournalKind, Settings};

use crate::room::{Epoch, Event, Incarnation, Millis, RoomId, Seq, ShardId};
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use tokio::sync::watch;

/// Commands: stored until the shard's floor has passed them.
#[async_trait]
pub trait Commands: Send + Sync {
    /// Stores a command. After `Ok` it will be decided, whoever dies. [`Error::Full`]: there is no
    /// room, nothing was stored.
    async fn submit(&self, submission: &Submission) -> Result<Position, Error>;

    /// The commands of a shard from `from` on, all for its rooms, in stored order, without end. One
    /// reader per shard, never one per room.
    ///
    /// When the bus lost its unsynced tail, positions go back: the stream then starts again from
    /// the first command that is stored, so a position that is not above the one before means that
    /// everything stored is being read again.
    async fn commands(
        &self,
        shard: ShardId,
        from: Position,
    ) -> Result<BoxStream<'static, Delivery>, Error>;

    /// Forgets the commands of a shard below a position, all but the newest of them. `newest`:
    /// which that is and when it was stored, if that is known. `false`, and nothing is forgotten,
    /// when it is not there: the bus lost its unsynced tail since, and has other commands below the
    /// position now.
    async fn discard(
        &self,
        shard: ShardId,
        below: Position,
        newest: Option<(Position, Millis)>,
    ) -> Result<bool, Error>;
}

/// Events: every commit of a room, in order, for all gateways.
#[async_trait]
pub trait Feed: Send + Sync {
    /// Publishes a journaled commit. `after`: the position of the room's last published message,
    /// [`Position::ZERO`] when there is none; [`Error::Conflict`] when that is not the last one any
    /// more. [`Error::Unknown`]: read [`Feed::last`], then decide.
    async fn publish(
        &self,
        room: &RoomId,
        commit: &Commit,
        after: Position,
    ) -> Result<Position, Error>;

    /// Publishes a message without events, which makes `after` of every earlier owner outdated, and
    /// says that the room goes to `head`: under a new epoch when a room is opened, under the same
    /// one when its last messages are gone. Errors as [`Feed::publish`].
    async fn publish_claim(
        &self,
        room: &RoomId,
        epoch: Epoch,
        head: Seq,
        after: Position,
    ) -> Result<Position, Error>;

    /// The messages of a room that are still stored, from position `from` on, ascending: at most
    /// `limit` of them, and at most about 1 MiB. Empty: there are no more.
    async fn stored(
        &self,
        room: &RoomId,
        from: Position,
        limit: usize,
    ) -> Result<Vec<Stored>, Error>;

    /// The first stored message of a room that holds the place `seq` or a later one; `None` when
    /// there is none.
    async fn find(&self, room: &RoomId, seq: Seq) -> Result<Option<Position>, Error>;

    /// The event of a place, if it is still stored.
    async fn event(&self, room: &RoomId, seq: Seq) -> Result<Option<Event>, Error> {
        let Some(position) = self.find(room, seq).await? else {
            return Ok(None);
        };
        let found = self.stored(room, position, 1).await?.into_iter();
        let mut events = found.flat_map(|message| message.events);
        Ok(events.find(|event| event.seq == seq))
    }

    /// The last stored message of a room that has events and lies before a position.
    async fn before(&self, room: &RoomId, position: Position) -> Result<Option<Stored>, Error>;

    /// How many messages, of whatever rooms, that were stored after a position are gone, except for
    /// those that make room for newer ones of the same room.
    async fn gone_after(&self, position: Position) -> Result<u64, Error>;

    /// What of the stored events can be removed.
    async fn removal(&self) -> Result<Removal, Error>;

    /// Removes the messages of a room that lie before a position. [`Error::Unusable`]: the stream
    /// keeps everything.
    async fn purge(&self, room: &RoomId, below: Position) -> Result<(), Error>;

    /// The last published message of a room, read through the stream's leader.
    async fn last(&self, room: &RoomId) -> Result<Option<Published>, Error>;

    /// Rooms of a shard that have a stored message, in the order of their names: at most `limit` of
    /// those after `after`. Never fewer unless there are no more.
    async fn rooms_of(
        &self,
        shard: ShardId,
        after: Option<&RoomId>,
        limit: usize,
    ) -> Result<Vec<RoomId>, Error>;

    /// How many rooms have a stored message.
    async fn count_rooms(&self) -> Result<u64, Error>;

    /// What is published for a room from now on. Subscribed (on the server too) when this returns.
    async fn live(&self, room: &RoomId) -> Result<BoxStream<'static, Live>, Error>;

    /// Tells all gateways where rooms of a shard end, so that a lost last message is noticed. At
    /// most once.
    async fn tell_heads(&self, shard: ShardId, heads: &[Head]) -> Result<(), Error>;

    /// What [`Feed::tell_heads`] told, of all shards.
    async fn heads(&self) -> Result<BoxStream<'static, Head>, Error>;
}

/// Words between two nodes, not stored: at most once. "Subscribed when this returns" holds at the
/// server of this node; the others of a cluster learn of it a moment later, so what is sent through
/// them within that moment is lost, and a question or probe finds nobody.
#[async_trait]
pub trait Direct: Send + Sync {
    /// Sends something to a node.
    async fn tell(&self, node: Incarnation, message: &Inbound) -> Result<(), Error>;

    /// What is sent to this node. Subscribed when this returns.
    async fn inbox(&self, me: Incarnation) -> Result<BoxStream<'static, Inbound>, Error>;

    /// Asks the owner of a room's shard. [`Error::NoResponders`]: nobody owns it now.
    async fn ask(&self, ask: &Ask) -> Result<RoomView, Error>;

    /// The questions to the owner of a shard, all about its rooms. Subscribed when this returns;
    /// unsubscribed when the stream is dropped.
    async fn questions(&self, shard: ShardId) -> Result<BoxStream<'static, Question>, Error>;

    /// Asks something of a node's operator part and waits for the answer. [`Error::NoResponders`]:
    /// its process is gone. [`Error::Unknown`]: silence; what was asked may have been done.
    async fn consult(&self, node: Incarnation, request: Bytes) -> Result<Bytes, Error>;

    /// What is asked of this node's operator part. Subscribed when this returns.
    async fn consultations(
        &self,
        me: Incarnation,
    ) -> Result<BoxStream<'static, Consultation>, Error>;

    /// Whether a node's connection to the bus is there: `Ok(true)` it answered, `Ok(false)` the bus
    /// knows nobody at its address (its process is gone), [`Error::Unknown`] silence (frozen, or
    /// cut off).
    async fn probe(&self, node: Incarnation) -> Result<bool, Error>;

    /// Answers probes of this node for as long as the returned guard lives.
    async fn answer_probes(&self, me: Incarnation) -> Result<Box<dyn Send + Sync>, Error>;
}

/// The cluster's records: nodes, shards, which node has sessions in which room. All changes are
/// compare-and-set by revision.
#[async_trait]
pub trait Registry: Send + Sync {
    /// Stores the cluster's settings if there are none yet, fills in what the stored ones leave
    /// open unless they contradict `wanted`, and returns those that are stored.
    async fn settings(&self, wanted: &Settings) -> Result<Settings, Error>;

    /// Whether the cluster stores forms ([`FORMATS`]) that this program does not read: what it does
    /// not understand is then for a node that does, and nothing to skip.
    async fn stores_newer_forms(&self) -> Result<bool, Error>;

    /// The hold that is in force, if one is ([`Settings::held_until`]): by the clock of the bus, so
    /// that a node whose own is wrong holds as long.
    async fn held(&self) -> Result<Option<Held>, Error>;

    /// A heartbeat of a node, about twice a second.
    async fn beat(&self, node: &NodeRecord) -> Result<(), Error>;

    /// Forgets a node.
    async fn forget(&self, node: Incarnation) -> Result<(), Error>;

    /// Declares a node down: notes that under its name, where its own heartbeats do not overwrite
    /// it, and forgets the node. A node that is alive finds the note and ends.
    async fn down(&self, node: Incarnation) -> Result<(), Error>;

    /// Removes the note of [`Registry::down`].
    async fn clear_down(&self, node: Incarnation) -> Result<(), Error>;

    /// All nodes as they are stored, then every change.
    async fn nodes(&self) -> Result<BoxStream<'static, NodeSeen>, Error>;

    /// A shard's record with its revision, read through the leader.
    async fn shard(&self, shard: ShardId) -> Result<Option<(ShardRecord, u64)>, Error>;

    /// Replaces a shard's record if its revision is still `expected` (0: if there is none). Returns
    /// the new revision; [`Error::Conflict`] when somebody was faster, [`Error::Unknown`] when it
    /// may have happened: read it.
    async fn set_shard(
        &self,
        shard: ShardId,
        record: &ShardRecord,
        expected: u64,
    ) -> Result<u64, Error>;

    /// Where shards go other than by the assignment, with its revision, read through the leader.
    async fn plan(&self) -> Result<Option<(Plan, u64)>, Error>;

    /// Replaces the plan if its revision is still `expected` (0: if there is none). Returns the new
    /// revision; errors as [`Registry::set_shard`].
    async fn set_plan(&self, plan: &Plan, expected: u64) -> Result<u64, Error>;

    /// All shards and the plan as they are stored, then every change.
    async fn shards(&self) -> Result<BoxStream<'static, ShardSeen>, Error>;

    /// Notes that a node has sessions in a room, before the first of them is opened.
    async fn mark(&self, node: Incarnation, room: &RoomId) -> Result<(), Error>;

    /// Takes the note back.
    async fn unmark(&self, node: Incarnation, room: &RoomId) -> Result<(), Error>;

    /// The notes of all nodes about rooms of a shard.
    async fn marks(&self, shard: ShardId) -> Result<Vec<(Incarnation, RoomId)>, Error>;

    /// The rooms, of all shards, that a node has noted.
    async fn marked_by(&self, node: Incarnation) -> Result<Vec<RoomId>, Error>;
}

/// Larger values by name, such as snapshots. Changed by compare-and-set, so that a node that lost a
/// shard cannot replace what its new owner stored.
#[async_trait]
pub trait Blobs: Send + Sync {
    /// Stores a value of at most [`BLOB`] bytes if the revision of the name is still `expected` (0:
    /// if there is none). Returns the new revision; [`Error::Conflict`] when somebody was faster,
    /// [`Error::Unknown`] when it may have happened: read it.
    async fn put(&self, name: &str, value: Bytes, expected: u64) -> Result<u64, Error>;

    /// The value of a name with its revision, read through the leader.
    async fn get(&self, name: &str) -> Result<Option<(Bytes, u64)>, Error>;

    /// The value of a name that begins with [`PUBLIC`], which nodes that own no shard may read,
    /// too: these from whichever replica is near, which may lack the newest.
    async fn peek(&self, name: &str) -> Result<Option<Bytes>, Error>;

    /// The names that begin with `under` and a dot, in no order.
    async fn names_under(&self, under: &str) -> Result<Vec<String>, Error>;

    /// Forgets all values whose names begin with `under` and a dot.
    async fn drop_under(&self, under: &str) -> Result<(), Error>;

    /// The same of those whose revision is not above this one, so that what comes later stays.
    async fn drop_under_up_to(&self, under: &str, revision: u64) -> Result<(), Error>;
}

/// All that a node needs of the bus.
pub trait Bus: Commands + Feed + Direct + Registry + Blobs + Buckets {
    /// Whether the bus can be reached at the moment; the reason when it cannot.
    fn ready(&self) -> Result<(), String>;

    /// How the streams and buckets were when they were last looked at, within seconds, and each
    /// change of that.
    fn health(&self) -> watch::Receiver<Health>;
}
