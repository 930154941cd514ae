//! What claiming a shard gives: the right to write its rooms, and no others.

use super::Error;
use crate::room::{Epoch, RoomId, ShardId, Shards};

/// A shard with the epoch under which it was claimed. Only [`super::Journal::claim`] makes one, so
/// that no epoch is ever taken for another shard's: those of two shards cannot be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    shard: ShardId,
    epoch: Epoch,
}

impl Claim {
    pub(super) fn new(shard: ShardId, epoch: Epoch) -> Self {
        Self { shard, epoch }
    }

    /// The shard.
    pub fn shard(self) -> ShardId {
        self.shard
    }

    /// The epoch.
    pub fn epoch(self) -> Epoch {
        self.epoch
    }

    /// [`Error::Stranger`] unless a room belongs to the shard.
    pub(super) fn covers(self, shards: Shards, room: &RoomId) -> Result<(), Error> {
        let owner = shards.of(room);
        if owner == self.shard {
            return Ok(());
        }
        Err(Error::Stranger {
            room: room.clone(),
            shard: owner,
            claimed: self.shard,
        })
    }
}
