//! Everything at one moment.

use crate::{
    record::Record,
    rule::{Commit, Log, Row, Snapshot},
};
use smallvec::SmallVec;

/// Replicas of every write.
pub(crate) const REPLICAS: usize = 3;

/// What an owner does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// Read the fence until it shows the own epoch: that the claim was decided does not mean that a
    /// quorum has it.
    Claiming,
    /// Find the newest snapshot, and begin to read the room.
    Starting,
    /// Read the room.
    Reading {
        /// The snapshot that it found, from 1; 0: none.
        snapshot: usize,
        /// The slots of the writes that a quorum had when the reading began, a bit each.
        must: u32,
        /// The replica that was asked already, and the slots that it had.
        half: Option<(usize, u32)>,
    },
    /// Wait until the last commit, written again (if there is one), returned.
    Opening {
        /// The slot of that write.
        write: Option<u8>,
    },
    /// Decide the next commands.
    Open,
    /// Wait until a commit returned.
    Appending {
        /// The slot of that write.
        write: u8,
    },
    /// Wait for the confirmation.
    Confirming {
        /// Of the opening, or of a commit.
        opening: bool,
        /// The slot of the write, if there is one.
        write: Option<u8>,
    },
    /// It has nothing more to do, or can never be confirmed again.
    Resting,
}

/// An owner.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Owner {
    /// What it does next.
    pub step: Step,
    /// Everything that it holds for journaled, and the commit under way.
    pub events: Log,
    /// How often it opened the room again.
    pub reopened: usize,
}

/// A commit on its way.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Sent {
    /// Its name: the n-th write of an epoch has the same one in whatever order things happened.
    pub slot: u8,
    /// The replicas that have it, a bit each. [`crate::Level::Quorums`]: all, once it has returned.
    pub at: u8,
    /// What is written.
    pub commit: Commit,
}

impl Sent {
    /// Its bit in a set of slots.
    pub fn bit(&self) -> u32 {
        1 << self.slot
    }

    /// Whether a quorum has it, so that it may have returned, and every reading that begins now
    /// sees it.
    pub fn is_certain(&self) -> bool {
        self.at.count_ones() as usize > REPLICAS / 2
    }
}

/// Everything at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct World {
    /// By epoch, from 1.
    pub owners: SmallVec<[Owner; 4]>,
    /// The highest epoch that a quorum has: every reading of the fence that begins now sees it, or
    /// a higher one.
    pub fence: u8,
    /// By slot.
    pub sent: SmallVec<[Sent; 8]>,
    /// Snapshots that were sent. Nobody waits for them, so whoever looks may find any of them.
    pub snapshots: SmallVec<[Snapshot; 4]>,
    /// How often the replicas were killed.
    pub crashes: usize,
    /// What clients were told.
    pub record: Record,
}

impl World {
    /// The rows that were sent at a place, and whether every reading sees them.
    pub(crate) fn rows(&self, seq: usize) -> impl Iterator<Item = (bool, Row)> + Clone {
        self.sent
            .iter()
            .filter_map(move |sent| sent.commit.row(seq).map(|row| (sent.is_certain(), row)))
    }

    /// The slots that a quorum has.
    pub(crate) fn certain(&self) -> u32 {
        self.sent
            .iter()
            .filter(|sent| sent.is_certain())
            .fold(0, |all, sent| all | sent.bit())
    }

    /// Whether every reading finds what was published: of what it sees for certain the highest
    /// epoch holds it, and whatever else it may see of higher epochs holds the same.
    pub fn readers_agree(&self) -> bool {
        (1..).zip(&self.record.published).all(|(seq, event)| {
            let certain = self
                .rows(seq)
                .filter(|(certain, _)| *certain)
                .map(|(_, row)| row)
                .max();
            certain.is_some_and(|certain| {
                certain.event == *event
                    && self
                        .rows(seq)
                        .all(|(_, row)| row.epoch <= certain.epoch || row.event == *event)
            })
        })
    }

    /// Whether something is published whose own owner never learned that it is written.
    pub fn finds_unanswered(&self) -> bool {
        let uncertain = self
            .sent
            .iter()
            .filter(|sent| !sent.is_certain())
            .map(|sent| &sent.commit);
        let mut own = uncertain.flat_map(|commit| {
            commit
                .events
                .iter()
                .filter(|event| event.epoch == commit.epoch)
        });
        own.any(|event| self.record.published.contains(event))
    }

    /// Renames the replicas so that states that differ only in their names become one.
    pub(crate) fn representative(mut self) -> Self {
        const ORDERS: [[usize; REPLICAS]; 6] = [
            [0, 1, 2],
            [0, 2, 1],
            [1, 0, 2],
            [1, 2, 0],
            [2, 0, 1],
            [2, 1, 0],
        ];
        let renamed = |order: &[usize; REPLICAS]| {
            let at: SmallVec<[u8; 16]> = self
                .sent
                .iter()
                .map(|sent| rename(sent.at, order))
                .collect();
            let asked: SmallVec<[u8; 4]> = self
                .owners
                .iter()
                .map(|owner| {
                    owner
                        .asked()
                        .map_or(0, |replica| rename(1 << replica, order))
                })
                .collect();
            (at, asked)
        };
        let order = ORDERS
            .iter()
            .min_by_key(|order| renamed(order))
            .expect("there are six orders");
        for sent in &mut self.sent {
            sent.at = rename(sent.at, order);
        }
        for owner in &mut self.owners {
            if let Step::Reading {
                half: Some((replica, _)),
                ..
            } = &mut owner.step
            {
                *replica = order[*replica];
            }
        }
        self
    }
}

impl Owner {
    /// The replica that it asked first, of a reading that is half done.
    fn asked(&self) -> Option<usize> {
        match self.step {
            Step::Reading { half, .. } => half.map(|(replica, _)| replica),
            _ => None,
        }
    }
}

/// A set of replicas under other names.
fn rename(at: u8, order: &[usize; REPLICAS]) -> u8 {
    (0..REPLICAS)
        .filter(|replica| at & (1 << replica) != 0)
        .fold(0, |renamed, replica| renamed | 1 << order[replica])
}
