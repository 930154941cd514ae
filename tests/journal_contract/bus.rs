//! The contract on the bus journal, over whatever bus.

use crate::cluster::{Case, Cluster, Node, shards};
use async_trait::async_trait;
use safe_chat::{
    bus::{Bus, Position, ShardRecord, memory::Hub},
    journal::{Error, bus::OnBus},
    proto::journal::v1::StoredEvent,
    room::{Epoch, Incarnation, RoomId, Seq, ShardId, State},
};
use std::sync::Arc;

/// Takes a shard's lease, as the cluster does.
pub async fn take_lease(
    bus: &dyn Bus,
    shard: ShardId,
    owner: Incarnation,
    least: Epoch,
) -> Result<Epoch, Error> {
    let found = bus.shard(shard).await.unwrap();
    let (before, revision) = found.map_or((Epoch::default(), 0), |(record, revision)| {
        (record.epoch, revision)
    });
    let epoch = before.next().max(least);
    let wanted = ShardRecord {
        owner: Some(owner),
        epoch,
        floor: Position::ZERO,
    };
    bus.set_shard(shard, &wanted, revision)
        .await
        .map_err(|error| Error::Unavailable(error.to_string()))?;
    Ok(epoch)
}

/// What a bus holds of a room.
pub async fn messages(bus: &dyn Bus, room: &RoomId) -> Vec<String> {
    let stored = bus.stored(room, Position::ZERO, 1000).await.unwrap();
    stored
        .iter()
        .map(|message| {
            if message.events.is_empty() {
                "claim".to_owned()
            } else {
                format!("{message:?}")
            }
        })
        .collect()
}

mod memory {
    use super::*;

    struct OverMemory(Hub);

    #[async_trait]
    impl Cluster for OverMemory {
        async fn node(&self) -> Node {
            Arc::new(OnBus::new(Arc::new(self.0.connect()), shards()))
        }

        async fn elect(
            &self,
            shard: ShardId,
            owner: Incarnation,
            least: Epoch,
        ) -> Result<Epoch, Error> {
            take_lease(&self.0.connect(), shard, owner, least).await
        }

        async fn store(&self, _: &RoomId, _: StoredEvent, _: Epoch) -> bool {
            false
        }

        async fn lose(&self, room: &RoomId, first: Seq, last: Seq) {
            self.0
                .delete_events(|of, _, seq| of == room && (first..=last).contains(&seq));
        }

        async fn lose_snapshots(&self, room: &RoomId) {
            let names = format!("snapshot.{room}.");
            self.0.delete_blobs(|name| name.starts_with(&names));
        }

        async fn stored(&self, room: &RoomId) -> Vec<String> {
            messages(&self.0.connect(), room).await
        }
    }

    async fn cluster() -> Option<impl Cluster> {
        Some(OverMemory(Hub::default()))
    }

    crate::contract!(cluster());

    mod holes {
        crate::holes!(super::cluster());
    }

    mod trims {
        use super::{Cluster, Hub, OverMemory};
        use safe_chat::bus::memory::Config;

        async fn cluster() -> Option<impl Cluster> {
            let deny_delete = true;
            Some(OverMemory(Hub::new(Config {
                deny_delete,
                ..Config::default()
            })))
        }

        crate::trims!(cluster());
    }

    #[tokio::test]
    async fn the_snapshot_of_a_replaced_owner_is_refused() {
        let case = Case::new(cluster().await.unwrap());
        let (old, new) = (case.node().await, case.node().await);
        let old_claim = case.claim(&old).await;
        old.open(&case.room, old_claim).await.unwrap();
        let new_claim = case.claim(&new).await;
        new.open(&case.room, new_claim).await.unwrap();
        for _ in 0..2 {
            new.save_snapshot(&case.room, new_claim, &State::default())
                .await
                .unwrap();
        }
        let late = old
            .save_snapshot(&case.room, old_claim, &State::default())
            .await;
        assert!(
            matches!(late, Err(Error::Fenced { seen }) if seen == new_claim.epoch()),
            "{late:?}"
        );
    }
}
