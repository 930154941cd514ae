//! Claiming a shard: its record must name the owner, which the lease has seen to.

use super::{ATTEMPTS, BusError, Error, reading};
use crate::{
    bus::{Bus, Position, ShardRecord},
    room::{Epoch, Incarnation, ShardId},
};

/// The epoch of the shard's record, which names `owner` and is raised to `least`. Higher than every
/// claim under an earlier lease, because a lease raises the epoch. [`Error::Fenced`] when the
/// record names somebody else.
pub(super) async fn claim(
    bus: &dyn Bus,
    shard: ShardId,
    owner: Incarnation,
    least: Epoch,
) -> Result<Epoch, Error> {
    for _ in 0..ATTEMPTS {
        let (wanted, revision) = match bus.shard(shard).await.map_err(reading)? {
            Some((record, _)) if record.owner != Some(owner) => {
                return Err(Error::Fenced { seen: record.epoch });
            }
            Some((record, _)) if record.epoch >= least => return Ok(record.epoch),
            Some((record, revision)) => (
                ShardRecord {
                    epoch: least,
                    ..record
                },
                revision,
            ),
            None => (
                ShardRecord {
                    owner: Some(owner),
                    epoch: least.max(Epoch(1)),
                    floor: Position::ZERO,
                    unfinished: Vec::new(),
                },
                0,
            ),
        };
        match bus.set_shard(shard, &wanted, revision).await {
            Ok(_) => return Ok(wanted.epoch),
            // Read what happened, then decide again.
            Err(BusError::Conflict(_) | BusError::Unknown(_)) => {}
            Err(error) => return Err(reading(error)),
        }
    }
    Err(Error::Unavailable(format!(
        "the record of shard {shard} could not be changed in {ATTEMPTS} attempts"
    )))
}
