//! Owners of a shard whose journal is the bus.

use safe_chat::{
    bus::{Registry, ShardRecord, memory::Memory},
    journal::{Claim, Journal, bus::OnBus},
    room::{Epoch, Incarnation, ShardId, Shards},
};
use std::sync::Arc;
use uuid::Uuid;

/// The next owner of the only shard of a cluster, by its record, with its claim.
pub(crate) async fn elected(bus: &Memory) -> (OnBus, Claim) {
    let (shard, shards) = (ShardId(0), Shards::new(1).unwrap());
    let owner = Incarnation::new(Uuid::now_v7());
    let found = bus.shard(shard).await.unwrap();
    let (epoch, revision) =
        found.map_or((Epoch(0), 0), |(record, revision)| (record.epoch, revision));
    let record = ShardRecord {
        owner: Some(owner),
        epoch: epoch.next(),
        ..ShardRecord::default()
    };
    bus.set_shard(shard, &record, revision).await.unwrap();
    let journal = OnBus::new(Arc::new(bus.clone()), shards);
    let claim = journal.claim(shard, owner, Epoch(1)).await.unwrap();
    (journal, claim)
}
