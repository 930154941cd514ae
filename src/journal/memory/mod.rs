//! The journal within one process: a [`Database`] in place of the servers, shared by the journals
//! of several nodes. It keeps what Cassandra would keep and uses the same fencing ([`ReadBack`]),
//! so that a simulation exercises that. [`Faults`] decides what goes wrong.

mod faults;

pub use faults::{Fate, Faults, NoFaults, Op, Outcome};

use super::{
    Error,
    codec::Record,
    readback::{
        Copied, Fence, Partitions, ReadBack, Reading, Row, SnapshotKey, Store, StoredSnapshot,
    },
};
use crate::room::{Epoch, Millis, RoomId, Seq, ShardId, Shards, UserId};
use async_trait::async_trait;
use bytes::Bytes;
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::time::{Instant, sleep};

/// In place of the servers. Clones are the same database.
#[derive(Clone)]
pub struct Database {
    partitions: Partitions,
    content: Arc<Mutex<Content>>,
}

/// Ordered maps throughout, so that a simulation repeats exactly.
#[derive(Default, Clone)]
struct Content {
    fences: BTreeMap<ShardId, Fence>,
    /// Serial readings of each fence: one decides every raise that was sent before it.
    decided: BTreeMap<ShardId, u64>,
    rows: BTreeMap<(RoomId, Seq, Epoch), Row>,
    /// Each with how many were noted before.
    rooms: BTreeMap<RoomId, u64>,
    noted: u64,
    /// Below which places rows were removed.
    trimmed: BTreeMap<RoomId, Seq>,
    snapshots: BTreeMap<(RoomId, SnapshotKey), Saved>,
    pins: BTreeMap<(RoomId, Seq, UserId), Record>,
    /// Generations whose records are forgotten, also those that come later.
    dropped: BTreeSet<(RoomId, Seq)>,
    copies: BTreeMap<(RoomId, Seq, Epoch), (u64, Row)>,
    copied: BTreeMap<RoomId, Noted>,
    unsynced: Unsynced,
    /// Until when it does not answer.
    down: Option<Instant>,
    /// How often it was put back: what was on its way then never arrives.
    put_back: u64,
}

/// A snapshot.
#[derive(Clone)]
struct Saved {
    version: u32,
    content: Bytes,
    /// What was put beside it last, with its number.
    carried: Option<(u64, Bytes)>,
}

/// What is known of the copies of a room.
#[derive(Default, Clone, Copy)]
struct Noted {
    places: Copied,
    /// Below it no copy is there, also none that comes late.
    dropped: Seq,
    /// As much of those of epochs below this one, in partitions up to the last that counts.
    epoch: Epoch,
}

/// What a database forgets that is killed: rows that it was given since it synced, and the fences
/// as they were then. It syncs when a fence is read at a quorum.
#[derive(Default, Clone)]
struct Unsynced {
    rows: Vec<(RoomId, Seq, Epoch)>,
    fences: BTreeMap<ShardId, Fence>,
}

impl Noted {
    /// Whether a copy is removed, when there is one.
    fn forgets(&self, partitions: Partitions, seq: Seq, epoch: Epoch) -> bool {
        let last = partitions.of(Seq(self.places.below.0.saturating_sub(1)));
        seq < self.dropped || (epoch < self.epoch && partitions.of(seq) <= last)
    }
}

impl Content {
    fn noted(&self, room: &RoomId) -> Noted {
        self.copied.get(room).copied().unwrap_or_default()
    }

    fn forget_copies(&mut self, partitions: Partitions) {
        let Self { copies, copied, .. } = self;
        copies.retain(|(room, seq, epoch), _| {
            let noted = copied.get(room);
            noted.is_none_or(|noted| !noted.forgets(partitions, *seq, *epoch))
        });
    }

    fn sync(&mut self) {
        self.unsynced.rows.clear();
        self.unsynced.fences = self.fences.clone();
    }
}

/// A node's connection to a [`Database`].
pub struct Connection {
    database: Database,
    faults: Arc<dyn Faults>,
}

/// The journal of a node.
pub type Memory = ReadBack<Connection>;

impl Database {
    /// An empty database.
    pub fn new(partitions: Partitions) -> Self {
        Self {
            partitions,
            content: Arc::default(),
        }
    }

    /// A node's journal, where nothing goes wrong.
    pub fn connect(&self, shards: Shards) -> Memory {
        self.connect_with(shards, Arc::new(NoFaults))
    }

    /// A node's journal, where `faults` decides what goes wrong.
    pub fn connect_with(&self, shards: Shards, faults: Arc<dyn Faults>) -> Memory {
        ReadBack::new(
            Connection {
                database: self.clone(),
                faults,
            },
            shards,
        )
    }

    /// Another database with the same content: a backup, which nothing changes any more.
    pub fn copy(&self) -> Self {
        let content = self.step(|content| content.clone());
        Self {
            partitions: self.partitions,
            content: Arc::new(Mutex::new(content)),
        }
    }

    /// Goes back to a backup.
    pub fn put_back(&self, backup: &Self) {
        let before = backup.step(|content| content.clone());
        self.step(|content| {
            let put_back = content.put_back + 1;
            *content = Content { put_back, ..before };
        });
    }

    /// Has everything on a disk.
    pub fn sync(&self) {
        self.step(Content::sync);
    }

    /// Is killed, forgets what it had not synced, and answers again after some time.
    pub fn crash(&self, down: Duration) {
        self.step(|content| {
            for key in std::mem::take(&mut content.unsynced.rows) {
                content.rows.remove(&key);
            }
            content.fences = content.unsynced.fences.clone();
            content.down = Some(Instant::now() + down);
        });
    }

    fn is_down(&self) -> bool {
        self.step(|content| content.down.is_some_and(|until| Instant::now() < until))
    }

    /// Loses rows of a room, as an operator deletes them, or as servers forget them that did not
    /// sync: those that `which` names.
    pub fn lose_rows(&self, room: &RoomId, which: impl Fn(Seq, Epoch) -> bool) {
        self.step(|content| {
            content
                .rows
                .retain(|(of, seq, epoch), _| of != room || !which(*seq, *epoch));
        });
    }

    /// Loses all snapshots of a room.
    pub fn lose_snapshots(&self, room: &RoomId) {
        self.step(|content| content.snapshots.retain(|(of, _), _| of != room));
    }

    fn step<T>(&self, step: impl FnOnce(&mut Content) -> T) -> T {
        step(&mut self.content.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Connection {
    async fn read<T>(
        &self,
        op: Op,
        read: impl FnOnce(&mut Content) -> T + Send,
    ) -> Result<T, Error> {
        let fate = self.faults.call(op);
        sleep(fate.before).await;
        if self.database.is_down() {
            return Err(Error::Unavailable(format!("{op:?}: the database is down")));
        }
        let result = self.database.step(read);
        sleep(fate.after).await;
        match fate.outcome {
            Outcome::Done => Ok(result),
            _ => Err(Error::Unavailable(format!("no answer to {op:?}"))),
        }
    }

    async fn write<T>(
        &self,
        op: Op,
        write: impl FnOnce(&mut Content) -> T + Send + 'static,
    ) -> Result<T, Error> {
        let fate = self.faults.call(op);
        sleep(fate.before).await;
        if self.database.is_down() {
            return Err(Error::Unavailable(format!("{op:?}: the database is down")));
        }
        let unknown = || Err(Error::Unknown(format!("no answer to {op:?}")));
        let result = match fate.outcome {
            Outcome::Done => Ok(self.database.step(write)),
            Outcome::Refused => Err(Error::Unavailable(format!("{op:?} was refused"))),
            Outcome::Vanished => unknown(),
            Outcome::Unanswered => {
                self.database.step(write);
                unknown()
            }
            Outcome::Late(time) => {
                let database = self.database.clone();
                let sent = database.step(|content| content.put_back);
                tokio::spawn(async move {
                    sleep(time).await;
                    database.step(|content| {
                        if content.put_back == sent {
                            write(content);
                        }
                    });
                });
                unknown()
            }
        };
        sleep(fate.after).await;
        result
    }
}

#[async_trait]
impl Store for Connection {
    fn partitions(&self) -> Partitions {
        self.database.partitions
    }

    async fn fence(&self, shard: ShardId, reading: Reading) -> Result<Option<Fence>, Error> {
        let fence = |content: &mut Content| {
            match reading {
                Reading::Serial => *content.decided.entry(shard).or_default() += 1,
                // No fencing can keep what is lost after it was confirmed.
                Reading::Quorum => content.sync(),
            }
            content.fences.get(&shard).copied()
        };
        self.read(Op::Fence(reading), fence).await
    }

    async fn raise(
        &self,
        shard: ShardId,
        expected: Option<Epoch>,
        fence: &Fence,
    ) -> Result<bool, Error> {
        let fence = *fence;
        let sent = self
            .database
            .step(|content| content.decided.get(&shard).copied());
        let raise = move |content: &mut Content| {
            let matches = content.fences.get(&shard).map(|fence| fence.epoch) == expected
                && content.decided.get(&shard).copied() == sent;
            if matches {
                content.fences.insert(shard, fence);
            }
            matches
        };
        self.write(Op::Raise, raise).await
    }

    async fn write(&self, room: &RoomId, rows: &[Row]) -> Result<(), Error> {
        let (room, rows) = (room.clone(), rows.to_vec());
        self.write(Op::Write, move |content| {
            // As a deletion does that is later than all writes.
            let trimmed = content.trimmed.get(&room).copied().unwrap_or_default();
            for row in rows.into_iter().filter(|row| row.seq() >= trimmed) {
                let key = (room.clone(), row.seq(), row.epoch);
                if !content.rows.contains_key(&key) {
                    content.unsynced.rows.push(key);
                }
                let before = content
                    .rows
                    .insert((room.clone(), row.seq(), row.epoch), row.clone());
                assert!(
                    before.is_none_or(|before| before == row),
                    "one (place, epoch) has one content only"
                );
            }
        })
        .await
    }

    async fn rows(&self, room: &RoomId, first: Seq, last: Seq) -> Result<Vec<Row>, Error> {
        let range = (room.clone(), first, Epoch(0))..=(room.clone(), last, Epoch(u64::MAX));
        self.read(Op::Rows, |content| {
            content
                .rows
                .range(range)
                .map(|(_, row)| row.clone())
                .collect()
        })
        .await
    }

    async fn first_row(&self, room: &RoomId, first: Seq, last: Seq) -> Result<Option<Seq>, Error> {
        Ok(Store::rows(self, room, first, last)
            .await?
            .first()
            .map(Row::seq))
    }

    async fn last_row(&self, room: &RoomId, first: Seq, last: Seq) -> Result<Option<Seq>, Error> {
        Ok(Store::rows(self, room, first, last)
            .await?
            .last()
            .map(Row::seq))
    }

    async fn trim(&self, room: &RoomId, below: Seq) -> Result<(), Error> {
        let room = room.clone();
        self.write(Op::Trim, move |content| {
            content
                .rows
                .retain(|(of, seq, _), _| *of != room || *seq >= below);
            let trimmed = content.trimmed.entry(room).or_default();
            *trimmed = below.max(*trimmed);
        })
        .await
    }

    async fn trimmed(&self, room: &RoomId) -> Result<Seq, Error> {
        self.read(Op::Trimmed, |content| {
            content.trimmed.get(room).copied().unwrap_or_default()
        })
        .await
    }

    async fn note(&self, room: &RoomId) -> Result<(), Error> {
        let room = room.clone();
        let noted = self
            .write(Op::Note, move |content| {
                content.noted += 1;
                content.rooms.insert(room, content.noted)
            })
            .await;
        noted.map(|_| ())
    }

    /// By the order of the calls: the times of a simulation are not this machine's.
    async fn unnote(&self, room: &RoomId, _: Millis) -> Result<(), Error> {
        let room = room.clone();
        let noted = self.database.step(|content| content.noted);
        self.write(Op::Unnote, move |content| {
            content.rooms.retain(|of, nth| *of != room || *nth > noted);
        })
        .await
    }

    async fn rooms(&self, after: Option<&RoomId>, limit: usize) -> Result<Vec<RoomId>, Error> {
        let from = after.cloned().map_or(Bound::Unbounded, Bound::Excluded);
        self.read(Op::Rooms, |content| {
            content
                .rooms
                .range((from, Bound::Unbounded))
                .take(limit)
                .map(|(room, _)| room.clone())
                .collect()
        })
        .await
    }

    async fn snapshots(&self, room: &RoomId, limit: usize) -> Result<Vec<SnapshotKey>, Error> {
        let newest = |content: &mut Content| {
            let of_room = content.snapshots.keys().rev().filter(|(of, _)| of == room);
            of_room.take(limit).map(|(_, key)| *key).collect()
        };
        self.read(Op::Snapshots, newest).await
    }

    async fn snapshot(
        &self,
        room: &RoomId,
        key: SnapshotKey,
    ) -> Result<Option<StoredSnapshot>, Error> {
        let found = |content: &mut Content| content.snapshots.get(&(room.clone(), key)).cloned();
        let found = self.read(Op::Snapshot, found).await?;
        Ok(found.map(|saved| StoredSnapshot {
            version: saved.version,
            content: saved.content,
            carried: saved.carried.map(|(_, content)| content),
        }))
    }

    async fn put_snapshot(
        &self,
        room: &RoomId,
        key: SnapshotKey,
        version: u32,
        content: Bytes,
    ) -> Result<(), Error> {
        let room = room.clone();
        self.write(Op::PutSnapshot, move |all| {
            let saved = Saved {
                version,
                content,
                carried: None,
            };
            all.snapshots.insert((room, key), saved);
        })
        .await
    }

    async fn put_carried(
        &self,
        room: &RoomId,
        key: SnapshotKey,
        number: u64,
        content: Bytes,
    ) -> Result<(), Error> {
        let room = room.clone();
        self.write(Op::PutCarried, move |all| {
            let Some(saved) = all.snapshots.get_mut(&(room, key)) else {
                return;
            };
            if saved.carried.as_ref().is_none_or(|(of, _)| *of < number) {
                saved.carried = Some((number, content));
            }
        })
        .await
    }

    async fn copied(&self, room: &RoomId) -> Result<Copied, Error> {
        let noted = |content: &mut Content| content.noted(room).places;
        self.read(Op::Copied, noted).await
    }

    async fn put_copies(&self, room: &RoomId, number: u64, rows: &[Row]) -> Result<(), Error> {
        let (room, rows) = (room.clone(), rows.to_vec());
        let partitions = self.database.partitions;
        self.write(Op::PutCopies, move |content| {
            let noted = content.noted(&room);
            for row in rows {
                if noted.forgets(partitions, row.seq(), row.epoch) {
                    continue;
                }
                let key = (room.clone(), row.seq(), row.epoch);
                let known = content.copies.get(&key);
                if known.is_none_or(|(known, _)| *known < number) {
                    content.copies.insert(key, (number, row));
                }
            }
        })
        .await
    }

    async fn copies(&self, room: &RoomId, first: Seq, last: Seq) -> Result<Vec<Row>, Error> {
        let range = (room.clone(), first, Epoch(0))..=(room.clone(), last, Epoch(u64::MAX));
        self.read(Op::Copies, |content| {
            let found = content.copies.range(range);
            found.map(|(_, (_, row))| row.clone()).collect()
        })
        .await
    }

    async fn ends_of_copies(
        &self,
        room: &RoomId,
        first: Seq,
        last: Seq,
    ) -> Result<Option<(Seq, Seq)>, Error> {
        let found = self.copies(room, first, last).await?;
        let ends = found.first().zip(found.last());
        Ok(ends.map(|(first, last)| (first.seq(), last.seq())))
    }

    async fn note_copies(&self, room: &RoomId, epoch: Epoch, below: Seq) -> Result<(), Error> {
        let (room, partitions) = (room.clone(), self.database.partitions);
        self.write(Op::NoteCopies, move |content| {
            let noted = content.copied.entry(room).or_default();
            noted.places.below = below.max(noted.places.below);
            noted.epoch = epoch.max(noted.epoch);
            content.forget_copies(partitions);
        })
        .await
    }

    async fn drop_copies(&self, room: &RoomId, _: Epoch, below: Seq) -> Result<(), Error> {
        let (room, partitions) = (room.clone(), self.database.partitions);
        self.write(Op::DropCopies, move |content| {
            let noted = content.copied.entry(room).or_default();
            noted.places.first = below.max(noted.places.first);
            noted.dropped = noted.dropped.max(below);
            content.forget_copies(partitions);
        })
        .await
    }

    async fn drop_snapshot(&self, room: &RoomId, key: SnapshotKey) -> Result<(), Error> {
        let room = room.clone();
        self.write(Op::DropSnapshot, move |content| {
            content.snapshots.remove(&(room, key));
        })
        .await
    }

    async fn pins(
        &self,
        room: &RoomId,
        generation: Seq,
        names: &[UserId],
    ) -> Result<Vec<Record>, Error> {
        let key = |name: &UserId| (room.clone(), generation, name.clone());
        self.read(Op::Pins, |content| {
            let found = names.iter().filter_map(|name| content.pins.get(&key(name)));
            found.cloned().collect()
        })
        .await
    }

    async fn all_pins(&self, room: &RoomId, generation: Seq) -> Result<Vec<Record>, Error> {
        self.read(Op::Pins, |content| {
            let all = content.pins.iter();
            let of_room = all.filter(|((of, place, _), _)| (of, *place) == (room, generation));
            of_room.map(|(_, record)| record.clone()).collect()
        })
        .await
    }

    async fn put_pin(&self, room: &RoomId, generation: Seq, record: &Record) -> Result<(), Error> {
        let (room, record) = (room.clone(), record.clone());
        self.write(Op::PutPin, move |content| {
            if content.dropped.contains(&(room.clone(), generation)) {
                return;
            }
            let key = (room, generation, record.user.clone());
            let known = content.pins.get(&key);
            if known.is_none_or(|known| known.age < record.age) {
                content.pins.insert(key, record);
            }
        })
        .await
    }

    async fn drop_pins(&self, room: &RoomId, generation: Seq) -> Result<(), Error> {
        let dropped = (room.clone(), generation);
        self.write(Op::DropPins, move |content| {
            let is_other = |room: &RoomId, of: Seq| (room, of) != (&dropped.0, dropped.1);
            content.pins.retain(|(room, of, _), _| is_other(room, *of));
            content.dropped.insert(dropped);
        })
        .await
    }

    fn ready(&self) -> Result<(), String> {
        self.faults.ready()
    }
}
