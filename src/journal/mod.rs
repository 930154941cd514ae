//! The journal: where events are kept for good, and where a writer that lost its shard is stopped. This is the port; the adapters are
//! `cassandra`, `bus` and `memory`, and one contract suite runs against all of them.
//!
//! The lease elects, the journal fences: a lease only says who should write; being wrong about it may cost time, never an event.
//! An owner claims its shard, which gives it a [`Claim`]: an epoch above every earlier one, and
//! good for rooms of that shard only.
//! Then, for each room: [`Journal::open`], and commit by commit [`Journal::append`] and
//! [`Journal::confirm`]. A commit counts as journaled when `append` returned `Ok` and a `confirm`
//! that was
//! called after that returned `Ok`; before that nothing of it may be answered or published.

pub mod bus;
pub mod cassandra;
mod claim;
mod coalesce;
pub mod codec;
mod error;
pub mod inspect;
pub mod memory;
pub mod readback;
mod rooms;

pub use claim::Claim;
pub use error::Error;

use crate::{
    bus::Commit,
    room::{Epoch, Event, Incarnation, RoomId, Seq, ShardId, State},
};
use async_trait::async_trait;

/// What [`Journal::open`] found. All of it is journaled.
#[derive(Debug, Clone, PartialEq)]
pub struct Opened {
    /// The newest usable snapshot, or the empty state.
    pub state: State,
    /// Every event after the snapshot, ascending and dense.
    pub events: Vec<Event>,
}

/// Bounds of a commit.
pub struct Limits;

impl Limits {
    /// Events in a commit: what one message of the bus and one batch of Cassandra carry comfortably.
    pub const EVENTS: usize = 256;
    /// Bytes of content in a commit, unless its only event is larger.
    pub const BYTES: usize = 128 * 1024;
    /// Events between two snapshots, at least.
    pub const SNAPSHOT_EVERY: u64 = 300;
    /// Events in one answer of [`Journal::read`].
    pub const PAGE: usize = 500;
    /// Bytes of content in one answer of [`Journal::read`], unless its only event is larger.
    pub const PAGE_BYTES: usize = 1024 * 1024;
}

/// The journal of all rooms.
#[async_trait]
pub trait Journal: Send + Sync + 'static {
    /// Makes `owner` the only writer of a shard. The epoch is at least `least` and above every epoch that was claimed before.
    async fn claim(&self, shard: ShardId, owner: Incarnation, least: Epoch)
    -> Result<Claim, Error>;

    /// Reads a room for its owner and makes sure that no earlier owner can append to it any more.
    /// Confirmed before it writes anything, so that an owner
    /// that was replaced leaves the room as it is, and again when it returns. [`Error::Stranger`]:
    /// the room is of another shard.
    async fn open(&self, room: &RoomId, claim: Claim) -> Result<Opened, Error>;

    /// Forgets what this process keeps of an open room. Nothing stored changes.
    fn close(&self, room: &RoomId);

    /// Appends the commit, of the claim's epoch, that follows the last one of an open room. One at
    /// a time per room. After [`Error::Unknown`] the only call allowed for the
    /// room is the same one with the identical commit, until the outcome is definite, or the shard is given up.
    async fn append(&self, room: &RoomId, claim: Claim, commit: &Commit) -> Result<(), Error>;

    /// Whether the claim still holds. Calls that wait at the same time share one read, which starts
    /// after each of them was called.
    async fn confirm(&self, claim: Claim) -> Result<(), Error>;

    /// Keeps a state of a room, confirmed up to its head (the state's `head`), so that opening need not replay from the beginning. The newest two are kept.
    async fn save_snapshot(&self, room: &RoomId, claim: Claim, state: &State) -> Result<(), Error>;

    /// Events of a room from `first` to at most `last`, both included, ascending: at most [`Limits::PAGE`] of them, and [`Limits::PAGE_BYTES`]. The caller
    /// knows that `last` is published. An answer that does not begin at `first` means that retention has cut the room's beginning.
    async fn read(&self, room: &RoomId, first: Seq, last: Seq) -> Result<Vec<Event>, Error>;

    /// The names of all rooms that were ever written, in no order, in pages: those after `after`.
    async fn rooms(&self, after: Option<&RoomId>, limit: usize) -> Result<Vec<RoomId>, Error>;

    /// The last place that a commit whose first event is at `first` may hold: a commit never crosses a partition.
    fn boundary(&self, first: Seq) -> Seq;

    /// Whether `append` also publishes to the bus's feed (the bus journal), so that nobody else needs to.
    fn publishes(&self) -> bool;

    /// Whether the journal can be reached at the moment; the reason when it cannot.
    fn ready(&self) -> Result<(), String>;
}
