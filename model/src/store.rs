//! What was written and where it arrived.

use crate::REPLICAS;

/// One write. It is applied to a replica whole or not at all (a batch of one partition), and repeating it changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Write {
    /// The fence of the shard.
    Fence {
        /// Its value.
        epoch: u8,
    },
    /// The rows of one commit: `(first + n, epoch)` holds `events[n]`.
    Commit {
        /// The owner's epoch, part of the key.
        epoch: u8,
        /// The seq of the first row.
        first: u8,
        /// What the rows hold.
        events: Vec<u8>,
        /// What each row says of the first seq of its commit.
        commit_first: u8,
    },
    /// A snapshot of everything from seq 1 on.
    Snapshot {
        /// The owner's epoch, part of the key.
        epoch: u8,
        /// What it holds.
        events: Vec<u8>,
    },
}

/// A row of the journal; ordered by epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Row {
    /// The epoch of its key.
    pub epoch: u8,
    /// What it holds.
    pub event: u8,
    /// The first seq of its commit.
    pub commit_first: u8,
}

/// All writes, each with the set of replicas that have it (a bit each).
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Store {
    /// In the order in which they were sent.
    pub writes: Vec<(Write, u8)>,
}

impl Store {
    /// Sends a write and returns its number. The same write sent again has the same number.
    pub fn write(&mut self, write: Write) -> usize {
        if let Some(number) = self.writes.iter().position(|(other, _)| *other == write) {
            return number;
        }
        self.writes.push((write, 0));
        self.writes.len() - 1
    }

    /// A write reaches a replica.
    pub fn reach(&mut self, write: usize, replica: usize) {
        self.writes[write].1 |= 1 << replica;
    }

    /// Whether a majority of the replicas has a write, so that it may have returned.
    pub fn at_quorum(&self, write: usize) -> bool {
        self.writes[write].1.count_ones() as usize > REPLICAS / 2
    }

    /// The writes that a replica has, a bit each.
    pub fn seen_at(&self, replica: usize) -> u32 {
        self.writes.iter().enumerate().filter(|(_, (_, mask))| mask & (1 << replica) != 0).fold(0, |seen, (number, _)| seen | 1 << number)
    }

    fn those(&self, seen: u32) -> impl Iterator<Item = &Write> {
        self.writes.iter().enumerate().filter(move |(number, _)| seen & (1 << number) != 0).map(|(_, (write, _))| write)
    }

    /// The fence as these writes tell it.
    pub fn fence(&self, seen: u32) -> u8 {
        let epochs = self.those(seen).map(|write| if let Write::Fence { epoch } = write { *epoch } else { 0 });
        epochs.max().unwrap_or(0)
    }

    /// The rows of these writes, by seq from 1, each seq with a row per epoch.
    pub fn rows(&self, seen: u32) -> Vec<Vec<Row>> {
        let mut rows: Vec<Vec<Row>> = Vec::new();
        for write in self.those(seen) {
            let Write::Commit { epoch, first, events, commit_first } = write else { continue };
            for (seq, event) in (usize::from(*first)..).zip(events) {
                if rows.len() < seq {
                    rows.resize(seq, Vec::new());
                }
                rows[seq - 1].push(Row { epoch: *epoch, event: *event, commit_first: *commit_first });
            }
        }
        rows
    }

    /// The newest snapshot of these writes: the longest, of the highest epoch.
    pub fn snapshot(&self, seen: u32) -> Vec<u8> {
        let snapshots = self.those(seen).filter_map(|write| match write {
            Write::Snapshot { epoch, events } => Some((events.len(), *epoch, events)),
            Write::Fence { .. } | Write::Commit { .. } => None,
        });
        snapshots.max().map(|(_, _, events)| events.clone()).unwrap_or_default()
    }
}
