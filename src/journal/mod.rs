//! The journal: where events are kept for good, and where a writer that lost its shard is stopped.
//! This is the port; the adapters are `cassandra`, `bus` and `memory`, and one contract suite runs
//! against all of them.
//!
//! The lease elects, the journal fences: a lease only says who should write; being wrong about it
//! may cost time, never an event. An owner claims its shard, which gives it a [`Claim`]: an epoch
//! above every earlier one, and good for rooms of that shard only. Then, for each room:
//! [`Journal::open`], and commit by commit [`Journal::append`]. Nothing of a commit may be answered
//! or published before `append` returned `Ok`; what is answered without a commit is confirmed by
//! [`Journal::verify`].
//!
//! What was journaled can be gone all the same: an operator purges a stream or deletes rows, a
//! database forgets what it did not sync. The places that are missing then are a [`Hole`]. Openings
//! and readings go on behind it, and no place is given a second time. What a room is not to keep
//! any more goes by [`Journal::trim`]: no member, key or number goes with it. What is erased of an
//! event that stays goes by [`Journal::rewrite`], [`Journal::adopt_rewritten`] and
//! [`Journal::drop_rewritten`]: nothing that was journaled is ever changed, but a copy without that
//! takes its place. A room that is gone goes by
//! [`Journal::retire`].

mod behind;
pub mod bus;
pub mod cassandra;
mod claim;
mod coalesce;
pub mod codec;
pub(crate) mod differs;
mod draft;
pub mod dump;
mod error;
mod hole;
pub mod inspect;
pub mod memory;
mod page;
pub mod readback;
mod rooms;

pub use behind::Behind;
pub use claim::Claim;
pub(crate) use draft::Draft;
pub use error::Error;
pub use hole::{Hole, Opened};

use crate::{
    bus::Commit,
    room::{
        Carried, Epoch, Event, Identity, Incarnation, Key, Millis, Moving, Pin, RoomId, Seq,
        ShardId, State, UserId,
    },
};
use async_trait::async_trait;

/// Names in a page of a counting.
const COUNTED: usize = 10_000;

/// Bounds of a commit.
pub struct Limits;

impl Limits {
    /// Events in a commit: what one message of the bus and one batch of Cassandra carry
    /// comfortably.
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

/// The pin of a name whose record cannot be read: until an operator frees it, it is nobody's.
fn unreadable(room: &RoomId, error: &Error) -> Pin {
    tracing::error!(
        %room, %error,
        "the record of a name's key cannot be read: nobody gets that name until \
         `safe-chat admin unpin` frees it"
    );
    Pin {
        key: Key::parse("unreadable").expect("it is a key"),
        identity: Identity::Proven,
    }
}

/// The journal of all rooms.
#[async_trait]
pub trait Journal: Send + Sync + 'static {
    /// Makes `owner` the only writer of a shard. The epoch is at least `least` and above every
    /// epoch that was claimed before.
    async fn claim(&self, shard: ShardId, owner: Incarnation, least: Epoch)
    -> Result<Claim, Error>;

    /// As [`Journal::open_reaching`], of a room of which nothing else is known.
    async fn open(&self, room: &RoomId, claim: Claim) -> Result<Opened, Error> {
        self.open_reaching(room, claim, Seq::ZERO).await
    }

    /// Reads a room for its owner and makes sure that no earlier owner can append to it any more.
    /// Confirmed before it writes anything, so that an owner that was replaced leaves the room as
    /// it is, and again when it returns. [`Error::Stranger`]: the room is of another shard.
    ///
    /// The head that it finds is at least `reached`, a place that is known to have been published:
    /// what the journal lost below it is a [`Hole`], and its places are never given again.
    async fn open_reaching(
        &self,
        room: &RoomId,
        claim: Claim,
        reached: Seq,
    ) -> Result<Opened, Error>;

    /// Forgets what this process keeps of an open room. Nothing stored changes.
    fn close(&self, room: &RoomId);

    /// Appends the commit, of the claim's epoch, that follows the last one of an open room, and
    /// confirms it: journaled when it returns `Ok`. One at a time per room. After
    /// [`Error::Unknown`] the only call allowed for the room is the same one with the identical
    /// commit, until the outcome is definite, or the shard is given up.
    async fn append(&self, room: &RoomId, claim: Claim, commit: &Commit) -> Result<(), Error>;

    /// Whether the claim still holds. Calls that wait at the same time share one read, which starts
    /// after each of them was called.
    async fn confirm(&self, claim: Claim) -> Result<(), Error>;

    /// As [`Journal::confirm`], and whether an open room still ends where this owner left it: what
    /// is answered from memory rests on both. [`Error::Fenced`]: another owner has written it, or
    /// the journal went back behind it. A journal that never does confirms only.
    async fn verify(&self, room: &RoomId, claim: Claim) -> Result<(), Error> {
        let _ = room;
        self.confirm(claim).await
    }

    /// Keeps a state of a room, confirmed up to its head (the state's `head`), so that opening need
    /// not replay from the beginning. The newest two are kept.
    async fn save_snapshot(&self, room: &RoomId, claim: Claim, state: &State) -> Result<(), Error>;

    /// Keeps what the next event of a room is to take along beside its newest snapshot, in the
    /// place of what was kept so before, and confirmed as that. `false`: it needs a snapshot, since
    /// the newest one is not of this claim, or it is larger than what fits there.
    async fn save_carried(
        &self,
        room: &RoomId,
        claim: Claim,
        carried: &Carried,
    ) -> Result<bool, Error>;

    /// The state that the newest snapshot of a room holds, without opening the room.
    async fn glance(&self, room: &RoomId) -> Result<Option<State>, Error>;

    /// What the records of names of a room say, of a generation ([`State::generation`]): one answer
    /// for each name, in their order; `None`: the name is free. Sees what [`Journal::record`] wrote
    /// before. A record that cannot be read is told, and gives the name to nobody.
    async fn recorded(
        &self,
        room: &RoomId,
        generation: Seq,
        names: &[UserId],
    ) -> Result<Vec<Option<Pin>>, Error>;

    /// Writes what names of a room are into records of their own. They are in a stored snapshot
    /// that says that there may be such, so that repeating it is harmless, and leaving it in the
    /// middle. What an owner of a lower epoch writes, or wrote before and arrives later, counts for
    /// nothing.
    async fn record(
        &self,
        room: &RoomId,
        claim: Claim,
        generation: Seq,
        pins: &Moving,
    ) -> Result<(), Error>;

    /// The names of a room that have a pin in a record of a generation, and the pins, in no order.
    async fn all_recorded(
        &self,
        room: &RoomId,
        generation: Seq,
    ) -> Result<Vec<(UserId, Pin)>, Error>;

    /// Removes all records of a generation that is over. Repeating it is harmless.
    async fn drop_records(&self, room: &RoomId, generation: Seq) -> Result<(), Error>;

    /// Whether rooms can let their past go. [`Error::Denied`]: why not, and what to do.
    async fn trims(&self) -> Result<(), Error> {
        Ok(())
    }

    /// Removes the events of a room below a place, in whole commits, and never one that an opening
    /// needs: what no snapshot holds, the commit that a snapshot ends with, the last one. `false`:
    /// some of it stays for that reason; after another snapshot more of it may go. Copies below the
    /// place go with them. Repeating it is harmless, and it is confirmed before anything is
    /// removed.
    async fn trim(&self, room: &RoomId, claim: Claim, start: Seq) -> Result<bool, Error>;

    /// Keeps copies of events of a room, ascending and dense: what is readable there, without what
    /// is to be erased. They are read where what is journaled does not begin yet, so only once
    /// [`Journal::drop_rewritten`] has removed that. Confirmed before anything is written.
    /// Repeating it is harmless, also with less content, and so is leaving it in the middle; what
    /// an owner of a lower epoch writes, or wrote before and arrives later, counts for nothing.
    /// [`Error::Denied`]: as [`Journal::trims`].
    async fn rewrite(&self, room: &RoomId, claim: Claim, events: &[Event]) -> Result<(), Error>;

    /// Has copies count below a place. The caller has written all that is readable there, from the
    /// first place on, under this claim ([`Journal::rewrite`]). Below which place that is now, so
    /// that what is journaled there can go: as [`Journal::trim`], after another snapshot it may be
    /// more. Repeating it is harmless. [`Error::Unavailable`]: copies are missing, so they have to
    /// be written again.
    async fn adopt_rewritten(&self, room: &RoomId, claim: Claim, below: Seq) -> Result<Seq, Error>;

    /// Removes the journaled events of a room below a place that [`Journal::adopt_rewritten`] gave
    /// under this claim, and copies of earlier epochs. Guards and answer as [`Journal::trim`].
    /// Repeating it is harmless.
    async fn drop_rewritten(&self, room: &RoomId, claim: Claim, below: Seq) -> Result<bool, Error>;

    /// Removes what is kept of an open room that is gone ([`State::is_gone`]) and ends at `head`,
    /// its name last. Its newest snapshot is of that place, saved under this claim unless the place
    /// is 0. Confirmed before anything is removed; a replaced owner that acts late takes nothing
    /// that its successor wrote. Whoever dies in the middle leaves the room as it was, or as one
    /// that was never written, and listed; repeating it is harmless. Whatever is returned, the room
    /// is to be closed, and opened again. [`Error::Denied`]: as [`Journal::trims`].
    ///
    /// A room on the bus begins at 1 again. In Cassandra its newest snapshot stays, without
    /// content: what is removed there can arrive late, and covers a place for longer than a year,
    /// so no place is given again. `before`: a name that was noted later is not forgotten.
    async fn retire(
        &self,
        room: &RoomId,
        claim: Claim,
        head: Seq,
        before: Millis,
    ) -> Result<(), Error>;

    /// Puts events back into places of one partition, dense, that are missing below the end of a
    /// room which nobody has open: exactly those that were published there. `next`: the next place
    /// that is stored, if there is one. `false`: something else is stored there, or it was removed,
    /// and nothing is written. Confirmed before it writes and after. [`Error::Denied`]: this
    /// journal cannot.
    async fn fill(
        &self,
        room: &RoomId,
        claim: Claim,
        events: &[Event],
        next: Option<Seq>,
    ) -> Result<bool, Error> {
        let _ = (claim, events, next);
        Err(Error::Denied(format!(
            "room {room}: nothing is put back between what is stored on the bus"
        )))
    }

    /// Whether a snapshot is kept, or a part of one, of a room as it was below a place.
    async fn has_snapshot_below(&self, room: &RoomId, place: Seq) -> Result<bool, Error>;

    /// Events of a room, ascending and dense: from the first place at or after `first` that is
    /// still there, to at most `last`, at most [`Limits::PAGE`] of them, and
    /// [`Limits::PAGE_BYTES`]. The caller knows that `last` is published. An answer that begins
    /// after `first`, or is empty, means that what is before it is gone. It ends before a [`Hole`];
    /// read on behind its end.
    async fn read(&self, room: &RoomId, first: Seq, last: Seq) -> Result<Vec<Event>, Error>;

    /// The last place below `below` that is still there; `None`: there is none.
    async fn last_below(&self, room: &RoomId, below: Seq) -> Result<Option<Seq>, Error>;

    /// The names of all rooms that were ever written, in no order, in pages: those after `after`.
    async fn rooms(&self, after: Option<&RoomId>, limit: usize) -> Result<Vec<RoomId>, Error>;

    /// As [`Journal::rooms`], of one shard.
    async fn rooms_of(
        &self,
        shard: ShardId,
        after: Option<&RoomId>,
        limit: usize,
    ) -> Result<Vec<RoomId>, Error>;

    /// How many rooms were ever written, about. Reads all their names, unless the journal knows.
    async fn count_rooms(&self) -> Result<u64, Error> {
        let (mut count, mut last) = (0, None);
        loop {
            let page = self.rooms(last.as_ref(), COUNTED).await?;
            count += page.len() as u64;
            match page.last() {
                Some(room) if page.len() == COUNTED => last = Some(room.clone()),
                _ => return Ok(count),
            }
        }
    }

    /// The last place that a commit whose first event is at `first` may hold: a commit never
    /// crosses a partition.
    fn boundary(&self, first: Seq) -> Seq;

    /// Whether `append` also publishes to the bus's feed (the bus journal), so that nobody else
    /// needs to.
    fn publishes(&self) -> bool;

    /// Whether the journal can be reached at the moment; the reason when it cannot.
    fn ready(&self) -> Result<(), String>;
}
