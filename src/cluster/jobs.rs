//! The calls that the driver has under way at the same time, and what each of them reports when it
//! is done. All of them may be dropped at any point: what they had begun is found again in the
//! registry.

use super::{Ends, Lease, LeaseError, Owner, membership::Probe};
use crate::{
    bus::{Bus, Error, NodeRecord, ShardRecord},
    room::{Epoch, Incarnation, ShardId},
};
use std::{sync::Arc, time::Duration};

/// Before something that failed is tried again.
pub(super) const PAUSE: Duration = Duration::from_millis(300);

/// What a call reports.
pub(super) enum Done {
    Beaten(Result<(), Error>),
    Probed(Probe, Option<bool>),
    Forgotten(Incarnation),
    Taken(ShardId, Result<Lease, LeaseError>),
    Started(ShardId),
    Stopped,
    Looked(ShardId, Option<(ShardRecord, u64)>),
    Swept(ShardId, bool),
}

pub(super) async fn beat(bus: Arc<dyn Bus>, me: NodeRecord) -> Done {
    Done::Beaten(bus.beat(&me).await)
}

pub(super) async fn probe(bus: Arc<dyn Bus>, probe: Probe) -> Done {
    Done::Probed(probe, bus.probe(probe.node).await.ok())
}

pub(super) async fn forget(bus: Arc<dyn Bus>, node: Incarnation) -> Done {
    if let Err(error) = bus.forget(node).await {
        tracing::warn!(%node, %error, "a dead node's record cannot be removed now; trying again");
        tokio::time::sleep(PAUSE).await;
    }
    Done::Forgotten(node)
}

/// Should this fail, the note stays; it harms nobody.
pub(super) async fn clear_down(bus: Arc<dyn Bus>, node: Incarnation) -> Done {
    if let Err(error) = bus.clear_down(node).await {
        tracing::debug!(%node, %error, "the note that a node was declared down stays");
    }
    Done::Stopped
}

pub(super) async fn take(
    bus: Arc<dyn Bus>,
    ends: Ends,
    me: Incarnation,
    shard: ShardId,
    found: Option<(ShardRecord, u64)>,
    above: Epoch,
) -> Done {
    let taken = Lease::take(bus, ends, me, shard, found, above).await;
    if let Err(LeaseError::Unavailable(_)) = &taken {
        tokio::time::sleep(PAUSE).await;
    }
    Done::Taken(shard, taken)
}

pub(super) async fn start(owner: Arc<dyn Owner>, lease: Lease) -> Done {
    let shard = lease.shard();
    owner.acquire(lease).await;
    Done::Started(shard)
}

pub(super) async fn release(owner: Arc<dyn Owner>, shard: ShardId) -> Done {
    owner.release(shard).await;
    Done::Stopped
}

pub(super) async fn lose(owner: Arc<dyn Owner>, shard: ShardId) -> Done {
    owner.lose(shard).await;
    Done::Stopped
}

/// Reads a shard's record after `pause`, however often that has to be tried.
pub(super) async fn look(bus: Arc<dyn Bus>, shard: ShardId, pause: Duration) -> Done {
    tokio::time::sleep(pause).await;
    loop {
        match bus.shard(shard).await {
            Ok(found) => return Done::Looked(shard, found),
            Err(error) => {
                tracing::debug!(%shard, %error, "a shard's record cannot be read now; trying again")
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Removes this node's name from the record of a shard that it does not write.
pub(super) async fn give_back(
    bus: Arc<dyn Bus>,
    shard: ShardId,
    record: ShardRecord,
    revision: u64,
) -> Done {
    let pause = match bus
        .set_shard(
            shard,
            &ShardRecord {
                owner: None,
                ..record
            },
            revision,
        )
        .await
    {
        Ok(_) | Err(Error::Conflict(_)) => Duration::ZERO,
        Err(_) => PAUSE,
    };
    look(bus, shard, pause).await
}
