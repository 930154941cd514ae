//! The contract on the bus journal, over whatever bus.

use crate::{
    cluster::{Case, Cluster, Node, shards},
    events::commit,
};
use async_trait::async_trait;
use prost::Message;
use safe_chat::{
    bus::{BLOB, Blobs as _, Bus, Position, ShardRecord, memory::Hub},
    journal::{Error, bus::OnBus, codec::encode_event},
    proto::journal::v1::{SnapshotPart, StoredEvent},
    room::{Epoch, Incarnation, Millis, Purge, RoomId, Seq, ShardId, State, UserId},
};
use std::sync::Arc;
use uuid::Uuid;

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
        ..ShardRecord::default()
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

/// What a bus holds of a room's events below a place, and of copies.
pub async fn messages_below(bus: &dyn Bus, room: &RoomId, place: Seq) -> Vec<String> {
    let stored = bus.stored(room, Position::ZERO, 1000).await.unwrap();
    let below = stored.iter().filter(|message| message.seq < place);
    let below = below.flat_map(|message| message.events.iter().map(encode_event));
    let mut lines: Vec<String> = below.map(|event| format!("{event:?}")).collect();
    for name in bus.names_under(&format!("copies.{room}")).await.unwrap() {
        let (value, _) = bus.get(&name).await.unwrap().unwrap();
        if !value.is_empty() {
            lines.push(format!("{name} {}", String::from_utf8_lossy(&value)));
        }
    }
    lines
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

        async fn stored_below(&self, room: &RoomId, place: Seq) -> Vec<String> {
            messages_below(&self.0.connect(), room, place).await
        }
    }

    async fn cluster() -> Option<impl Cluster> {
        Some(OverMemory(Hub::default()))
    }

    crate::contract!(cluster());

    mod holes {
        crate::holes!(super::cluster());
    }

    mod records {
        crate::records!(super::cluster());
    }

    mod trims {
        use super::{Cluster, Hub, OverMemory, shards};
        use safe_chat::bus::memory::Config;

        async fn cluster() -> Option<impl Cluster> {
            let deny_delete = true;
            Some(OverMemory(Hub::new(Config {
                deny_delete,
                shards: shards(),
                ..Config::default()
            })))
        }

        crate::trims!(cluster());

        mod copies {
            crate::copies!(super::cluster());
            crate::tests!(copies, super::cluster(); copies_have_the_holes_of_what_they_replace);
        }
    }

    /// A state whose names take about so many bytes.
    fn large(bytes: usize) -> State {
        let name = |n: usize| UserId::parse(&format!("{n:064}")).unwrap();
        State {
            head: Seq(1),
            members: (0..bytes / 64).map(name).collect(),
            ..State::default()
        }
    }

    /// What is stored in the parts of a room's snapshots, without the first of each.
    async fn other_parts(bus: &dyn Bus, room: &RoomId) -> Vec<usize> {
        let mut sizes = Vec::new();
        for name in (0..2).flat_map(|slot| (1..9).map(move |part| (slot, part))) {
            let name = format!("snapshot.{room}.{}.{}", name.0, name.1);
            if let Some((part, _)) = bus.get(&name).await.unwrap() {
                sizes.push(SnapshotPart::decode(part).unwrap().payload.len());
            }
        }
        sizes
    }

    #[tokio::test]
    async fn nothing_is_left_in_the_parts_of_a_larger_snapshot() {
        let case = Case::new(cluster().await.unwrap());
        let hub = Hub::default();
        let bus = hub.connect();
        let node: Node = Arc::new(OnBus::new(Arc::new(bus.clone()), shards()));
        let owner = Incarnation::new(Uuid::from_u128(7));
        let least = take_lease(&bus, case.shard, owner, Epoch(1)).await.unwrap();
        let claim = node.claim(case.shard, owner, least).await.unwrap();
        let room = &case.room;
        node.open(room, claim).await.unwrap();
        let said = commit(claim, 1, 1, "Hello");
        node.append(room, claim, &said).await.unwrap();
        for _ in 0..2 {
            let state = large(5 * BLOB / 2);
            node.save_snapshot(room, claim, &state).await.unwrap();
        }
        let parts = other_parts(&bus, room).await;
        assert!(
            parts.len() == 4 && parts.iter().all(|size| *size > 0),
            "{parts:?}"
        );
        let small = large(64);
        for _ in 0..2 {
            node.save_snapshot(room, claim, &small).await.unwrap();
        }
        assert_eq!(other_parts(&bus, room).await, [0; 4]);
        // Versions of before left them: of a room that is purged they go as well.
        let name = format!("snapshot.{room}.1.2");
        let (_, revision) = bus.get(&name).await.unwrap().unwrap();
        let left = SnapshotPart {
            payload: "charly".into(),
            ..SnapshotPart::default()
        };
        let left = left.encode_to_vec().into();
        bus.put(&name, left, revision).await.unwrap();
        assert!(node.has_snapshot_below(room, Seq(1)).await.unwrap());
        let mut purged = small.clone();
        purged.kept.purge = Some(Purge {
            seq: Seq(1),
            at: Millis(7),
        });
        for _ in 0..2 {
            node.save_snapshot(room, claim, &purged).await.unwrap();
        }
        assert_eq!(other_parts(&bus, room).await, [0; 4]);
        assert!(!node.has_snapshot_below(room, Seq(1)).await.unwrap());
        node.save_snapshot(room, claim, &small).await.unwrap();
        assert_eq!(node.glance(room).await.unwrap(), Some(small));
        let state = large(3 * BLOB / 2);
        node.save_snapshot(room, claim, &state).await.unwrap();
        assert_eq!(node.glance(room).await.unwrap(), Some(state));
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
