//! The contract on the memory adapter.

use crate::cluster::{Cluster, Node, rows, rows_below, shards, store_row};
use async_trait::async_trait;
use safe_chat::{
    journal::{Error, memory::Database, readback::Partitions},
    proto::journal::v1::StoredEvent,
    room::{Epoch, Incarnation, RoomId, Seq, ShardId},
};
use std::sync::Arc;

struct Memory(Database);

#[async_trait]
impl Cluster for Memory {
    async fn node(&self) -> Node {
        Arc::new(self.0.connect(shards()))
    }

    async fn elect(&self, _: ShardId, _: Incarnation, least: Epoch) -> Result<Epoch, Error> {
        Ok(least)
    }

    async fn store(&self, room: &RoomId, event: StoredEvent, epoch: Epoch) -> bool {
        store_row(&self.0.connect(shards()), room, event, epoch).await
    }

    async fn lose(&self, room: &RoomId, first: Seq, last: Seq) {
        self.0
            .lose_rows(room, |seq, _| (first..=last).contains(&seq));
    }

    async fn lose_snapshots(&self, room: &RoomId) {
        self.0.lose_snapshots(room);
    }

    async fn stored(&self, room: &RoomId) -> Vec<String> {
        rows(&self.0.connect(shards()), room).await
    }

    async fn stored_below(&self, room: &RoomId, place: Seq) -> Vec<String> {
        rows_below(&self.0.connect(shards()), room, place).await
    }
}

async fn cluster() -> Option<impl Cluster> {
    Some(Memory(Database::new(Partitions::new(700))))
}

crate::contract!(cluster());

mod holes {
    crate::holes!(super::cluster());
}

mod records {
    crate::records!(super::cluster());
}

mod trims {
    crate::trims!(super::cluster());
}

mod copies {
    crate::copies!(super::cluster());
    crate::tests!(copies, super::cluster(); copies_have_the_holes_of_what_they_replace);
}
