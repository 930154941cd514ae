//! Claiming a shard: the fence is raised by compare-and-set, and then seen raised.

use super::{Fence, Reading, Store, now};
use crate::{
    journal::Error,
    room::{Epoch, Incarnation, ShardId},
};

/// How often a claim starts over when others claim at the same time, or its outcome was not known.
const ATTEMPTS: usize = 8;

/// Raises the fence of a shard to an epoch of at least `least` and above every earlier one. When it
/// returns, every reading of the fence at a quorum sees this epoch or a higher one.
pub(super) async fn claim(
    store: &impl Store,
    shard: ShardId,
    owner: Incarnation,
    least: Epoch,
) -> Result<Epoch, Error> {
    for attempt in 0..ATTEMPTS {
        // The cheaper reading first: when it is outdated, the raise finds out.
        let reading = if attempt == 0 {
            Reading::Quorum
        } else {
            Reading::Serial
        };
        let current = store.fence(shard, reading).await?;
        let expected = current.map(|fence| fence.epoch);
        if let Some(epoch) = expected.filter(|epoch| !epoch.is_possible(now())) {
            return Err(Error::Damaged(format!(
                "the fence of shard {shard} has epoch {epoch}, higher than any owner's can be: set \
                 it to one above the epochs of the shard's rows"
            )));
        }
        let wanted = Fence {
            epoch: expected.unwrap_or_default().next().max(least),
            owner,
        };
        let raised = match store.raise(shard, expected, &wanted).await {
            // Nobody else can have written it: an epoch and this run of a node belong to one claim.
            Err(Error::Unknown(_)) => store.fence(shard, Reading::Serial).await? == Some(wanted),
            outcome => outcome?,
        };
        if raised {
            return seen(store, shard, wanted).await;
        }
    }
    Err(Error::Unavailable(format!(
        "shard {shard} could not be claimed in {ATTEMPTS} attempts: others claim it at the same time"
    )))
}

/// Makes sure that the raised fence is seen at a quorum before anything is read under it.
async fn seen(store: &impl Store, shard: ShardId, raised: Fence) -> Result<Epoch, Error> {
    match store.fence(shard, Reading::Quorum).await? {
        Some(fence) if fence == raised => Ok(raised.epoch),
        Some(fence) if fence.epoch > raised.epoch => Err(Error::Fenced { seen: fence.epoch }),
        _ => Err(Error::Unavailable(format!(
            "the claim of shard {shard} under epoch {} is not visible at a quorum yet",
            raised.epoch
        ))),
    }
}
