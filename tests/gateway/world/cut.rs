//! A journal whose beginning retention has cut; it counts the content that is read.

use super::World;
use safe_chat::{
    bus::Commit,
    journal::{self, Claim, Journal, Opened, memory},
    room::{
        Carried, Epoch, Event, Incarnation, Millis, Moving, Pin, RoomId, Seq, ShardId, State,
        UserId,
    },
};
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

/// See the module.
pub(crate) struct Cut {
    journal: memory::Memory,
    first: u64,
    pub(crate) bytes: AtomicUsize,
}

impl Cut {
    pub(crate) fn at(world: &World, first: u64) -> Arc<Self> {
        Arc::new(Self {
            journal: world.database.connect(world.shards),
            first,
            bytes: AtomicUsize::new(0),
        })
    }
}

#[async_trait::async_trait]
impl Journal for Cut {
    async fn claim(
        &self,
        shard: ShardId,
        owner: Incarnation,
        least: Epoch,
    ) -> Result<Claim, journal::Error> {
        self.journal.claim(shard, owner, least).await
    }
    async fn open_reaching(
        &self,
        room: &RoomId,
        claim: Claim,
        reached: Seq,
    ) -> Result<Opened, journal::Error> {
        self.journal.open_reaching(room, claim, reached).await
    }
    fn close(&self, room: &RoomId) {
        self.journal.close(room);
    }
    async fn append(
        &self,
        room: &RoomId,
        claim: Claim,
        commit: &Commit,
    ) -> Result<(), journal::Error> {
        self.journal.append(room, claim, commit).await
    }
    async fn recorded(
        &self,
        room: &RoomId,
        generation: Seq,
        names: &[UserId],
    ) -> Result<Vec<Option<Pin>>, journal::Error> {
        self.journal.recorded(room, generation, names).await
    }
    async fn record(
        &self,
        room: &RoomId,
        claim: Claim,
        generation: Seq,
        pins: &Moving,
    ) -> Result<(), journal::Error> {
        self.journal.record(room, claim, generation, pins).await
    }
    async fn all_recorded(
        &self,
        room: &RoomId,
        generation: Seq,
    ) -> Result<Vec<(UserId, Pin)>, journal::Error> {
        self.journal.all_recorded(room, generation).await
    }
    async fn drop_records(&self, room: &RoomId, generation: Seq) -> Result<(), journal::Error> {
        self.journal.drop_records(room, generation).await
    }
    async fn confirm(&self, claim: Claim) -> Result<(), journal::Error> {
        self.journal.confirm(claim).await
    }
    async fn save_snapshot(
        &self,
        room: &RoomId,
        claim: Claim,
        state: &State,
    ) -> Result<(), journal::Error> {
        self.journal.save_snapshot(room, claim, state).await
    }
    async fn save_carried(
        &self,
        room: &RoomId,
        claim: Claim,
        carried: &Carried,
    ) -> Result<bool, journal::Error> {
        self.journal.save_carried(room, claim, carried).await
    }
    async fn glance(&self, room: &RoomId) -> Result<Option<State>, journal::Error> {
        self.journal.glance(room).await
    }
    async fn trim(&self, room: &RoomId, claim: Claim, start: Seq) -> Result<bool, journal::Error> {
        self.journal.trim(room, claim, start).await
    }
    async fn rewrite(
        &self,
        room: &RoomId,
        claim: Claim,
        events: &[Event],
    ) -> Result<(), journal::Error> {
        self.journal.rewrite(room, claim, events).await
    }
    async fn adopt_rewritten(
        &self,
        room: &RoomId,
        claim: Claim,
        below: Seq,
    ) -> Result<Seq, journal::Error> {
        self.journal.adopt_rewritten(room, claim, below).await
    }
    async fn drop_rewritten(
        &self,
        room: &RoomId,
        claim: Claim,
        below: Seq,
    ) -> Result<bool, journal::Error> {
        self.journal.drop_rewritten(room, claim, below).await
    }
    async fn retire(
        &self,
        room: &RoomId,
        claim: Claim,
        head: Seq,
        before: Millis,
    ) -> Result<(), journal::Error> {
        self.journal.retire(room, claim, head, before).await
    }
    async fn has_snapshot_below(&self, room: &RoomId, place: Seq) -> Result<bool, journal::Error> {
        self.journal.has_snapshot_below(room, place).await
    }
    async fn rooms_of(
        &self,
        shard: ShardId,
        after: Option<&RoomId>,
        limit: usize,
    ) -> Result<Vec<RoomId>, journal::Error> {
        self.journal.rooms_of(shard, after, limit).await
    }
    async fn read(
        &self,
        room: &RoomId,
        first: Seq,
        last: Seq,
    ) -> Result<Vec<Event>, journal::Error> {
        let first = first.max(Seq(self.first));
        let events = self.journal.read(room, first, last).await?;
        self.bytes
            .fetch_add(events.iter().map(Event::size).sum(), Relaxed);
        Ok(events)
    }
    async fn last_below(&self, room: &RoomId, below: Seq) -> Result<Option<Seq>, journal::Error> {
        let last = self.journal.last_below(room, below).await?;
        Ok(last.filter(|last| last.0 >= self.first))
    }
    async fn rooms(
        &self,
        after: Option<&RoomId>,
        limit: usize,
    ) -> Result<Vec<RoomId>, journal::Error> {
        self.journal.rooms(after, limit).await
    }
    fn boundary(&self, first: Seq) -> Seq {
        self.journal.boundary(first)
    }
    fn publishes(&self) -> bool {
        self.journal.publishes()
    }
    fn ready(&self) -> Result<(), String> {
        self.journal.ready()
    }
}
