//! What the claims are tested on: nodes that share one journal.

use async_trait::async_trait;
use safe_chat::{
    journal::{
        Claim, Error, Journal,
        readback::{ReadBack, Row, Store},
    },
    proto::journal::v1::StoredEvent,
    room::{Epoch, Incarnation, RoomId, Seq, ShardId, Shards, UserId},
};
use std::sync::{
    Arc,
    atomic::{AtomicU16, Ordering},
};
use uuid::Uuid;

/// The journal of a node.
pub type Node = Arc<dyn Journal>;

/// A place where journals of several nodes meet.
#[async_trait]
pub trait Cluster: Send + Sync {
    /// The journal of a new node.
    async fn node(&self) -> Node;
    /// Elects a node as the owner of a shard: gives the least epoch that it may claim. By the
    /// journal itself nobody is elected.
    async fn elect(&self, shard: ShardId, owner: Incarnation, least: Epoch)
    -> Result<Epoch, Error>;
    /// Stores an event that no version can read; `false`: there is no way to do so.
    async fn store(&self, room: &RoomId, event: StoredEvent, epoch: Epoch) -> bool;
    /// Deletes the events of a room from `first` to `last`, as an operator does or a disk; whatever
    /// else is stored with one of them goes, too.
    async fn lose(&self, room: &RoomId, first: Seq, last: Seq);
    /// Deletes the snapshots of a room.
    async fn lose_snapshots(&self, room: &RoomId);
    /// All that is stored of a room, a line for each row or message.
    async fn stored(&self, room: &RoomId) -> Vec<String>;
    /// All that is stored of its events below a place, and of copies of events.
    async fn stored_below(&self, room: &RoomId, place: Seq) -> Vec<String>;
}

/// How many shards the tested journals have: each claim has one of its own, because their tests run
/// at the same time on shared servers.
pub fn shards() -> Shards {
    Shards::new(512).unwrap()
}

/// A claim's own shard and room.
pub struct Case {
    cluster: Box<dyn Cluster>,
    pub shard: ShardId,
    pub room: RoomId,
}

impl Case {
    pub fn new(cluster: impl Cluster + 'static) -> Self {
        static NEXT: AtomicU16 = AtomicU16::new(0);
        let shard = ShardId(NEXT.fetch_add(1, Ordering::Relaxed) % shards().count());
        Self {
            cluster: Box::new(cluster),
            shard,
            room: room_of(shard),
        }
    }

    pub async fn node(&self) -> Node {
        self.cluster.node().await
    }

    pub async fn claim(&self, node: &Node) -> Claim {
        self.claim_at_least(node, Epoch(1)).await.unwrap()
    }

    pub async fn claim_at_least(&self, node: &Node, least: Epoch) -> Result<Claim, Error> {
        self.claim_of(node, self.shard, least).await
    }

    /// Claims a shard that is not the room's.
    pub async fn claim_another_shard(&self, node: &Node, least: Epoch) -> Claim {
        let half = shards().count() / 2;
        let other = ShardId((self.shard.0 + half) % shards().count());
        self.claim_of(node, other, least).await.unwrap()
    }

    async fn claim_of(&self, node: &Node, shard: ShardId, least: Epoch) -> Result<Claim, Error> {
        let owner = Incarnation::new(Uuid::now_v7());
        let least = self.cluster.elect(shard, owner, least).await?;
        node.claim(shard, owner, least).await
    }

    pub fn another_room(&self) -> RoomId {
        room_of(self.shard)
    }

    pub fn room_of_another_shard(&self) -> RoomId {
        let half = shards().count() / 2;
        room_of(ShardId((self.shard.0 + half) % shards().count()))
    }

    pub fn user(&self) -> UserId {
        UserId::parse("harry").unwrap()
    }

    pub async fn store_unknown(&self, seq: Seq, epoch: Epoch) -> bool {
        let event = StoredEvent {
            seq: seq.0,
            at: 7,
            name: "text".into(),
            version: 99,
            ..StoredEvent::default()
        };
        self.cluster.store(&self.room, event, epoch).await
    }

    /// A known event with content that cannot be.
    pub async fn store_garbage(&self, seq: Seq, epoch: Epoch) -> bool {
        let event = StoredEvent {
            seq: seq.0,
            at: 7,
            name: "text".into(),
            version: 2,
            payload: "garbage".into(),
            ..StoredEvent::default()
        };
        self.cluster.store(&self.room, event, epoch).await
    }

    pub async fn lose(&self, first: u64, last: u64) {
        self.lose_of(&self.room, first, last).await;
    }

    pub async fn lose_of(&self, room: &RoomId, first: u64, last: u64) {
        self.cluster.lose(room, Seq(first), Seq(last)).await;
    }

    pub async fn lose_snapshots(&self) {
        self.cluster.lose_snapshots(&self.room).await;
    }

    pub async fn stored(&self) -> Vec<String> {
        self.cluster.stored(&self.room).await
    }

    pub async fn stored_below(&self, place: u64) -> Vec<String> {
        self.cluster.stored_below(&self.room, Seq(place)).await
    }
}

fn room_of(shard: ShardId) -> RoomId {
    let names = std::iter::repeat_with(|| {
        RoomId::parse(&format!("r-{}", Uuid::now_v7().simple())).unwrap()
    });
    names
        .into_iter()
        .find(|room| shards().of(room) == shard)
        .unwrap()
}

/// Stores an event in a read-back journal.
pub async fn store_row<S: Store>(
    journal: &ReadBack<S>,
    room: &RoomId,
    event: StoredEvent,
    epoch: Epoch,
) -> bool {
    let row = Row {
        epoch,
        first: Seq(event.seq),
        event,
    };
    journal.store().write(room, &[row]).await.is_ok()
}

/// All rows of the beginning of a room in a read-back journal.
pub async fn rows<S: Store>(journal: &ReadBack<S>, room: &RoomId) -> Vec<String> {
    let rows = journal
        .store()
        .rows(room, Seq(1), journal.boundary(Seq(1)))
        .await
        .unwrap();
    rows.iter().map(|row| format!("{row:?}")).collect()
}

/// All rows of a room below a place in a read-back journal, and all copies.
pub async fn rows_below<S: Store>(journal: &ReadBack<S>, room: &RoomId, place: Seq) -> Vec<String> {
    let (store, mut rows, mut first) = (journal.store(), Vec::new(), Seq(1));
    while first < place {
        let end = journal.boundary(first);
        rows.extend(store.rows(room, first, end).await.unwrap());
        rows.retain(|row| row.seq() < place);
        rows.extend(store.copies(room, first, end).await.unwrap());
        first = end.next();
    }
    rows.iter().map(|row| format!("{row:?}")).collect()
}
