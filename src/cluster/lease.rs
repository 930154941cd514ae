//! The lease of one shard: this node's right to write it, as a record in the registry that is only
//! ever changed by compare-and-set.
//!
//! A lease elects, it does not fence: whoever holds one may already have lost it, which the journal
//! notices. Its holder is one task. For each shard a run of a node has at most one lease at a time,
//! so a record that names this run belongs to the lease.

use crate::{
    bus::{Bus, Error as BusError, Position, ShardRecord},
    room::{Epoch, Incarnation, Millis, RoomId, ShardId},
};
use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::sync::mpsc;

/// How often a change is tried again after its outcome had to be read back: the revision can only
/// be outdated by this lease's own earlier changes, of which one can be on its way.
const ATTEMPTS: usize = 3;

/// How far this machine's clock may be ahead of those of the servers.
const AHEAD: Duration = Duration::from_secs(60);

/// A failed change of a lease.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The shard has another owner, or none: stop writing at once and drop the lease.
    #[error("the lease is lost: the record now has epoch {seen}")]
    Lost {
        /// The epoch that the record has now.
        seen: Epoch,
    },
    /// It is not known whether the record was changed. The lease still counts; try again later.
    #[error("the lease cannot be changed now: {0}")]
    Unavailable(String),
}

/// The end of a lease, for whatever reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// Whose lease.
    pub shard: ShardId,
    /// The epoch of the lease.
    pub epoch: Epoch,
    /// The highest epoch that its holder saw; the next lease of the shard must be above it.
    pub seen: Epoch,
}

/// Where leases tell their end. Unbounded, because each lease tells once and there is at most one
/// per shard.
pub type Ends = mpsc::UnboundedSender<Ended>;

/// The right to write a shard. Dropping it tells the cluster that it is over, and leaves the record
/// to the cluster.
pub struct Lease {
    bus: Arc<dyn Bus>,
    ends: Ends,
    me: Incarnation,
    shard: ShardId,
    epoch: Epoch,
    floor: Position,
    unfinished: Vec<RoomId>,
    revision: u64,
    seen: Epoch,
}

impl Lease {
    /// Takes a shard: replaces `found` (its record and revision, `None`: it has no record) by one
    /// that names `me` and an epoch above both the record's and `seen`.
    pub async fn take(
        bus: Arc<dyn Bus>,
        ends: Ends,
        me: Incarnation,
        shard: ShardId,
        found: Option<(ShardRecord, u64)>,
        seen: Epoch,
    ) -> Result<Self, Error> {
        let (found, revision) = found.unwrap_or_default();
        let ShardRecord {
            epoch: before,
            floor,
            unfinished,
            ..
        } = found;
        let epoch = before.max(seen).next();
        if !epoch.is_possible(past()) {
            return Err(Error::Unavailable(format!(
                "shard {shard}: somebody who is no owner has written epoch {before} or {seen}; \
                 the next one may be taken a minute later"
            )));
        }
        let wanted = ShardRecord {
            owner: Some(me),
            epoch,
            floor,
            unfinished,
        };
        let revision = match bus.set_shard(shard, &wanted, revision).await {
            Ok(revision) => revision,
            Err(BusError::Conflict(_) | BusError::Unknown(_)) => match read(&*bus, shard).await? {
                Some((record, now)) if record == wanted => now,
                Some((_, now)) if now == revision => {
                    return Err(Error::Unavailable(format!(
                        "shard {shard}: its record was not changed"
                    )));
                }
                Some((record, _)) => return Err(Error::Lost { seen: record.epoch }),
                None => return Err(Error::Unavailable(format!("shard {shard} has no record"))),
            },
            Err(error) => return Err(Error::Unavailable(error.to_string())),
        };
        Ok(Self {
            bus,
            ends,
            me,
            shard,
            epoch,
            floor,
            unfinished: wanted.unfinished,
            revision,
            seen: epoch,
        })
    }

    /// The shard.
    pub fn shard(&self) -> ShardId {
        self.shard
    }

    /// The run of this node, which the record names.
    pub fn owner(&self) -> Incarnation {
        self.me
    }

    /// The epoch of this ownership.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The record as it was last stored, and its revision.
    pub(super) fn record(&self) -> (ShardRecord, u64) {
        (
            ShardRecord {
                owner: Some(self.me),
                epoch: self.epoch,
                floor: self.floor,
                unfinished: self.unfinished.clone(),
            },
            self.revision,
        )
    }

    /// Rooms from which something is being removed: what the owner before left unfinished, until
    /// [`Self::note_unfinished`] says what this one would leave.
    pub fn unfinished(&self) -> &[RoomId] {
        &self.unfinished
    }

    /// Says from which rooms something is being removed; the next change of the lease stores it.
    pub fn note_unfinished(&mut self, rooms: Vec<RoomId>) {
        self.unfinished = rooms;
    }

    /// Every command below this position is decided and journaled.
    pub fn floor(&self) -> Position {
        self.floor
    }

    /// Stores a new floor. Cancel safe: a change whose outcome was not awaited is found by the next
    /// one.
    pub async fn checkpoint(&mut self, floor: Position) -> Result<(), Error> {
        self.store(Some(self.me), floor).await
    }

    /// Stores a higher epoch, which the journal gave at the claim. A lower one changes nothing.
    /// When it cannot be stored now, the next change of the lease stores it.
    pub async fn raise(&mut self, epoch: Epoch) -> Result<(), Error> {
        if epoch <= self.epoch {
            return Ok(());
        }
        self.epoch = epoch;
        self.seen = self.seen.max(epoch);
        self.store(Some(self.me), self.floor).await
    }

    /// Whether the record names this run still: then nobody of this cluster has taken the shard.
    /// `false`, too, where that cannot be read now.
    pub async fn is_recorded(&self) -> bool {
        let found = read(&*self.bus, self.shard).await;
        found.is_ok_and(|found| found.is_some_and(|(record, _)| record.owner == Some(self.me)))
    }

    /// Gives the shard back with its floor, so that the next owner can take it at once. When that
    /// fails, the cluster gives it back later, with the floor that is stored.
    pub async fn release(mut self, floor: Position) -> Result<(), Error> {
        self.store(None, floor).await
    }

    /// Ends the lease because the journal refused its epoch: `seen` is the one that the journal
    /// has.
    pub fn fenced(mut self, seen: Epoch) {
        self.seen = self.seen.max(seen);
    }

    async fn store(&mut self, owner: Option<Incarnation>, floor: Position) -> Result<(), Error> {
        let wanted = ShardRecord {
            owner,
            epoch: self.epoch,
            floor,
            unfinished: self.unfinished.clone(),
        };
        for _ in 0..ATTEMPTS {
            match self.bus.set_shard(self.shard, &wanted, self.revision).await {
                Ok(revision) => {
                    (self.revision, self.floor) = (revision, floor);
                    return Ok(());
                }
                Err(BusError::Conflict(_) | BusError::Unknown(_)) => {
                    let Some((record, revision)) = read(&*self.bus, self.shard).await? else {
                        // The bus lost it, and nobody has taken the shard since.
                        self.revision = 0;
                        continue;
                    };
                    if record == wanted {
                        (self.revision, self.floor) = (revision, floor);
                        return Ok(());
                    }
                    if record.owner != Some(self.me) {
                        self.seen = self.seen.max(record.epoch);
                        return Err(Error::Lost { seen: record.epoch });
                    }
                    self.revision = revision;
                }
                Err(error) => return Err(Error::Unavailable(error.to_string())),
            }
        }
        Err(Error::Unavailable(format!(
            "shard {}: its record kept changing",
            self.shard
        )))
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // Nobody listens any more when the cluster's service has ended; then the record is not this
        // process's to mend.
        let _ = self.ends.send(Ended {
            shard: self.shard,
            epoch: self.epoch,
            seen: self.seen,
        });
    }
}

/// A minute ago by this machine's clock, which may be ahead of the servers'. It is looked at only
/// when an epoch is beyond what takeovers reach.
fn past() -> Millis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let past = since.unwrap_or_default().saturating_sub(AHEAD);
    Millis(u64::try_from(past.as_millis()).unwrap_or_default())
}

/// The record as the registry's leader has it.
async fn read(bus: &dyn Bus, shard: ShardId) -> Result<Option<(ShardRecord, u64)>, Error> {
    bus.shard(shard)
        .await
        .map_err(|error| Error::Unavailable(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::{
        Registry,
        memory::{Config, ConnectionId, Fate, Faults, Hub, Memory, Op, Outcome},
    };
    use std::sync::Mutex;
    use uuid::Uuid;

    const SHARD: ShardId = ShardId(3);

    /// What becomes of the next changes of a shard's record, one after another.
    #[derive(Default)]
    struct Script(Mutex<Vec<Outcome>>);

    impl Faults for Script {
        fn call(&self, _by: ConnectionId, op: Op) -> Fate {
            let next = (op == Op::SetShard)
                .then(|| self.0.lock().unwrap().pop())
                .flatten();
            Fate {
                outcome: next.unwrap_or_default(),
                ..Fate::default()
            }
        }
    }

    struct Bench {
        bus: Memory,
        script: Arc<Script>,
        ends: Ends,
        ended: mpsc::UnboundedReceiver<Ended>,
    }

    impl Bench {
        fn new() -> Self {
            let script = Arc::new(Script::default());
            let bus = Hub::with_faults(Config::default(), script.clone()).connect();
            let (ends, ended) = mpsc::unbounded_channel();
            Self {
                bus,
                script,
                ends,
                ended,
            }
        }

        fn next(&self, outcome: Outcome) {
            self.script.0.lock().unwrap().push(outcome);
        }

        async fn found(&self) -> Option<(ShardRecord, u64)> {
            self.bus.shard(SHARD).await.unwrap()
        }

        async fn take_as(&self, n: u128) -> Result<Lease, Error> {
            self.take_from(n, self.found().await).await
        }

        async fn take_from(
            &self,
            n: u128,
            found: Option<(ShardRecord, u64)>,
        ) -> Result<Lease, Error> {
            Lease::take(
                Arc::new(self.bus.clone()),
                self.ends.clone(),
                node(n),
                SHARD,
                found,
                Epoch::default(),
            )
            .await
        }
    }

    fn node(n: u128) -> Incarnation {
        Incarnation::new(Uuid::from_u128(n))
    }

    #[tokio::test]
    async fn of_two_nodes_that_found_the_same_record_one_takes_it() {
        let bench = Bench::new();
        let lease = bench.take_from(1, None).await.unwrap();
        assert!(matches!(
            bench.take_from(2, None).await,
            Err(Error::Lost { seen: Epoch(1) })
        ));
        assert_eq!(
            bench.found().await.unwrap().0,
            ShardRecord {
                owner: Some(node(1)),
                epoch: Epoch(1),
                ..ShardRecord::default()
            }
        );
        assert_eq!(lease.epoch(), Epoch(1));
    }

    #[tokio::test]
    async fn an_epoch_that_nobody_can_have_is_not_followed() {
        let bench = Bench::new();
        let record = |epoch| ShardRecord {
            epoch: Epoch(epoch),
            ..ShardRecord::default()
        };
        let found = Some((record(i64::MAX as u64), 1));
        let taken = bench.take_from(1, found).await;
        assert!(matches!(taken, Err(Error::Unavailable(_))));
        // One that somebody could write half a year ago stops nobody.
        let long_ago = 1_780_000_000_000;
        let revision = bench.bus.set_shard(SHARD, &record(long_ago), 0).await;
        let found = Some((record(long_ago), revision.unwrap()));
        let lease = bench.take_from(1, found).await.unwrap();
        assert_eq!(lease.epoch(), Epoch(long_ago + 1));
    }

    #[tokio::test]
    async fn a_lost_answer_does_not_hide_that_the_shard_was_taken() {
        let bench = Bench::new();
        bench.next(Outcome::Unanswered);
        assert_eq!(bench.take_as(1).await.unwrap().epoch(), Epoch(1));
        bench.next(Outcome::Vanished);
        assert!(matches!(bench.take_as(2).await, Err(Error::Unavailable(_))));
    }

    #[tokio::test]
    async fn a_zombie_cannot_change_the_record() {
        let bench = Bench::new();
        let mut zombie = bench.take_as(1).await.unwrap();
        let lease = bench.take_as(2).await.unwrap();
        let record = bench.found().await;
        assert!(matches!(
            zombie.checkpoint(Position(9)).await,
            Err(Error::Lost { seen: Epoch(2) })
        ));
        assert!(matches!(
            zombie.raise(Epoch(9)).await,
            Err(Error::Lost { .. })
        ));
        assert!(matches!(
            zombie.release(Position(9)).await,
            Err(Error::Lost { .. })
        ));
        assert_eq!(bench.found().await, record);
        drop(lease);
    }

    #[tokio::test]
    async fn changes_whose_answers_are_lost_or_that_never_arrive_are_made_once() {
        let bench = Bench::new();
        let mut lease = bench.take_as(1).await.unwrap();
        for outcome in [Outcome::Unanswered, Outcome::Vanished] {
            bench.next(outcome);
            let floor = lease.floor().next();
            lease.checkpoint(floor).await.unwrap();
            assert_eq!(bench.found().await, Some(lease.record()));
        }
        bench.next(Outcome::Unanswered);
        lease.release(Position(7)).await.unwrap();
        assert_eq!(
            bench.found().await.unwrap().0,
            ShardRecord {
                epoch: Epoch(1),
                floor: Position(7),
                ..ShardRecord::default()
            }
        );
    }

    #[tokio::test]
    async fn an_epoch_that_could_not_be_stored_is_stored_with_the_next_change() {
        let bench = Bench::new();
        let mut lease = bench.take_as(1).await.unwrap();
        bench.next(Outcome::Refused);
        assert!(matches!(
            lease.raise(Epoch(5)).await,
            Err(Error::Unavailable(_))
        ));
        lease.checkpoint(Position(2)).await.unwrap();
        assert_eq!(bench.found().await.unwrap().0.epoch, Epoch(5));
        drop(lease);
        assert_eq!(bench.take_as(2).await.unwrap().epoch(), Epoch(6));
    }

    #[tokio::test]
    async fn every_lease_tells_its_end_once_with_the_highest_epoch_that_was_seen() {
        let mut bench = Bench::new();
        bench.take_as(1).await.unwrap().fenced(Epoch(8));
        bench
            .take_as(1)
            .await
            .unwrap()
            .release(Position(1))
            .await
            .unwrap();
        drop(bench.take_as(1).await.unwrap());
        let told: Vec<_> = std::iter::from_fn(|| bench.ended.try_recv().ok())
            .map(|ended| (ended.epoch.0, ended.seen.0))
            .collect();
        assert_eq!(told, [(1, 8), (2, 2), (3, 3)]);
    }
}
