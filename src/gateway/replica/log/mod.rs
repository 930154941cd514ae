//! What a replica has of its room: how far it reaches, and the newest events.

mod reach;
mod recent;

pub(super) use reach::{Reach, Step};
pub(super) use recent::Recent;

use super::Extent;
use crate::room::{Epoch, Seq};

/// A room's log as a replica has it.
pub(super) struct ReplicaLog {
    pub(super) reach: Reach,
    pub(super) recent: Recent,
    /// The place of the last purge: nothing before it is told.
    pub(super) purged: Seq,
}

impl ReplicaLog {
    /// Of a replica that has everything up to `head`, and none of the events at hand.
    pub(super) fn new(head: Seq, epoch: Epoch) -> Self {
        Self {
            reach: Reach::new(head, epoch),
            recent: Recent::default(),
            purged: Seq::ZERO,
        }
    }

    /// How far it goes, as said in a generation of the replica.
    pub(super) fn extent(&self, generation: u64) -> Extent {
        let head = self.reach.head();
        Extent {
            generation,
            head,
            purged: self.purged,
            oldest: self.recent.first().unwrap_or(head.next()),
        }
    }
}
