//! What the read-back journal needs of a database.

use super::Row;
use crate::{
    journal::{Error, codec::Record},
    room::{Epoch, Incarnation, Millis, RoomId, Seq, ShardId, UserId},
};
use async_trait::async_trait;
use bytes::Bytes;

/// Who may write a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fence {
    /// The epoch of the newest claim.
    pub epoch: Epoch,
    /// Who claimed it.
    pub owner: Incarnation,
}

/// How sure a reading of the fence must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reading {
    /// At a quorum: sees every [`Store::raise`] that returned before.
    Quorum,
    /// Within the order of all [`Store::raise`]. One whose outcome is not known has happened then,
    /// or can only happen while the fence stays as it was read.
    Serial,
}

/// Names a snapshot. A greater one is newer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SnapshotKey {
    /// The head of its state.
    pub seq: Seq,
    /// Under which epoch it was taken.
    pub epoch: Epoch,
    /// Counts the snapshots of a process.
    pub number: u64,
}

/// The partitions of a room: each holds the same number of places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Partitions(u64);

impl Partitions {
    /// Partitions of `size` places (> 0).
    pub fn new(size: u64) -> Self {
        assert!(size > 0, "a partition holds at least one place");
        Self(size)
    }

    /// How many places a partition holds.
    pub fn size(self) -> u64 {
        self.0
    }

    /// The number of the partition of a place (from 1 on): 0, 1, 2 ...
    pub fn of(self, seq: Seq) -> u64 {
        seq.0.saturating_sub(1) / self.0
    }

    /// The last place of the partition of a place.
    pub fn end(self, seq: Seq) -> Seq {
        Seq((self.of(seq) + 1).saturating_mul(self.0))
    }
}

/// Which places of a room have copies that count where no rows are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Copied {
    /// The first one.
    pub first: Seq,
    /// The first place behind them; [`Seq::ZERO`]: there are none.
    pub below: Seq,
}

/// A snapshot as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredSnapshot {
    /// Of its content.
    pub version: u32,
    /// Its content.
    pub content: Bytes,
    /// What was put beside it last.
    pub carried: Option<Bytes>,
}

/// A database: rows by room, place and epoch, and a fence per shard. Every call has a deadline
/// inside.
///
/// [`Error::Unknown`] of a write: it may have happened, or may still happen at any later time.
/// [`Error::Unavailable`]: it did not and will not.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// How rooms are partitioned.
    fn partitions(&self) -> Partitions;

    /// The fence of a shard; `None`: never claimed.
    async fn fence(&self, shard: ShardId, reading: Reading) -> Result<Option<Fence>, Error>;

    /// Replaces the fence if its epoch is still `expected` (`None`: if there is none), in one order
    /// for all callers. `false`: it was not.
    async fn raise(
        &self,
        shard: ShardId,
        expected: Option<Epoch>,
        fence: &Fence,
    ) -> Result<bool, Error>;

    /// Writes rows of one partition, all or none, at a quorum.
    async fn write(&self, room: &RoomId, rows: &[Row]) -> Result<(), Error>;

    /// The rows of all epochs from place `first` to `last` (both included, in one partition), at a
    /// quorum. One reading: of what is written together it has all or nothing.
    async fn rows(&self, room: &RoomId, first: Seq, last: Seq) -> Result<Vec<Row>, Error>;

    /// The first place from `first` to `last` (both included, in one partition) that has a row, of
    /// whatever epoch. One reading at a quorum.
    async fn first_row(&self, room: &RoomId, first: Seq, last: Seq) -> Result<Option<Seq>, Error>;

    /// As [`Store::first_row`], the last place.
    async fn last_row(&self, room: &RoomId, first: Seq, last: Seq) -> Result<Option<Seq>, Error>;

    /// Removes the rows below a place, and remembers that before it does. Less than what was removed
    /// before, or as much, is nothing. What failed in the middle is repeated.
    async fn trim(&self, room: &RoomId, below: Seq) -> Result<(), Error>;

    /// The place below which [`Store::trim`] removes rows: there is nothing to be read there.
    /// [`Seq::ZERO`]: it never did.
    async fn trimmed(&self, room: &RoomId) -> Result<Seq, Error>;

    /// Notes that a room exists.
    async fn note(&self, room: &RoomId) -> Result<(), Error>;

    /// Forgets that a room exists, as it was noted before a time; and not what is noted after this
    /// was called, however late it happens.
    async fn unnote(&self, room: &RoomId, before: Millis) -> Result<(), Error>;

    /// Noted rooms, in pages as [`crate::journal::Journal::rooms`].
    async fn rooms(&self, after: Option<&RoomId>, limit: usize) -> Result<Vec<RoomId>, Error>;

    /// The newest snapshots of a room, newest first: at most `limit` (> 0).
    async fn snapshots(&self, room: &RoomId, limit: usize) -> Result<Vec<SnapshotKey>, Error>;

    /// A snapshot; `None`: it is not there (any more).
    async fn snapshot(
        &self,
        room: &RoomId,
        key: SnapshotKey,
    ) -> Result<Option<StoredSnapshot>, Error>;

    /// Stores a snapshot. It is among [`Store::snapshots`] only when it is complete.
    async fn put_snapshot(
        &self,
        room: &RoomId,
        key: SnapshotKey,
        version: u32,
        content: Bytes,
    ) -> Result<(), Error>;

    /// Stores something beside a snapshot, which goes with it. Of several the one of the greatest
    /// `number` stays, whichever comes last.
    async fn put_carried(
        &self,
        room: &RoomId,
        key: SnapshotKey,
        number: u64,
        content: Bytes,
    ) -> Result<(), Error>;

    /// The pin records of these names, each the one of the greatest age; none for names that have
    /// none. At a quorum.
    async fn pins(
        &self,
        room: &RoomId,
        generation: Seq,
        names: &[UserId],
    ) -> Result<Vec<Record>, Error>;

    /// As [`Store::pins`], of all names.
    async fn all_pins(&self, room: &RoomId, generation: Seq) -> Result<Vec<Record>, Error>;

    /// Writes a pin record at a quorum. Of several of a name the one of the greatest age stays,
    /// whichever comes last.
    async fn put_pin(&self, room: &RoomId, generation: Seq, record: &Record) -> Result<(), Error>;

    /// Forgets the pin records of a generation, also those that come later.
    async fn drop_pins(&self, room: &RoomId, generation: Seq) -> Result<(), Error>;

    /// Which places of a room have copies; those of others count for nothing.
    async fn copied(&self, room: &RoomId) -> Result<Copied, Error>;

    /// Writes copies of events of one partition at a quorum, each in a row of its own as if its
    /// commit had no other. Of several of a place and epoch the one of the greatest `number` stays,
    /// whichever comes last.
    async fn put_copies(&self, room: &RoomId, number: u64, rows: &[Row]) -> Result<(), Error>;

    /// The copies from place `first` to `last` (both included, in one partition), at a quorum: of
    /// each place at least the one of the highest epoch.
    async fn copies(&self, room: &RoomId, first: Seq, last: Seq) -> Result<Vec<Row>, Error>;

    /// The first place from `first` to `last` (both included, in one partition) that has a copy, of
    /// whatever epoch, and the last one.
    async fn ends_of_copies(
        &self,
        room: &RoomId,
        first: Seq,
        last: Seq,
    ) -> Result<Option<(Seq, Seq)>, Error>;

    /// Notes that copies below a place count, and removes those of epochs below this one in all
    /// partitions up to there, also such as come later. Less than what was noted before changes
    /// nothing.
    async fn note_copies(&self, room: &RoomId, epoch: Epoch, below: Seq) -> Result<(), Error>;

    /// Removes the copies below a place, also such as come later, and remembers that before it
    /// does. What failed in the middle is repeated.
    async fn drop_copies(&self, room: &RoomId, epoch: Epoch, below: Seq) -> Result<(), Error>;

    /// Forgets a snapshot.
    async fn drop_snapshot(&self, room: &RoomId, key: SnapshotKey) -> Result<(), Error>;

    /// Whether the database can be reached at the moment; the reason when it cannot.
    fn ready(&self) -> Result<(), String>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_are_full_at_their_end() {
        let partitions = Partitions::new(10);
        assert_eq!([1, 10, 11].map(|seq| partitions.of(Seq(seq))), [0, 0, 1]);
        assert_eq!(
            [1, 10, 11].map(|seq| partitions.end(Seq(seq))),
            [Seq(10), Seq(10), Seq(20)]
        );
    }
}
