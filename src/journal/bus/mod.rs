//! The journal on the bus: the feed of a room is its journal, so nothing else needs to be installed.
//!
//! A commit is one message, published only if the room's last message is still the one that its owner knows. A new owner publishes a claim, a
//! message without events, which makes the position that the old owner expects outdated; a room without any message needs none ([`open`]). The record of the shard, which the lease changes
//! by compare-and-set, is the fence: its epoch is the claimed one. After any doubt the last message, read through the stream's
//! leader, decides what happened.

mod append;
mod claim;
mod open;
mod page;
mod snapshot;

use super::{Claim, Error, Journal, Opened, coalesce::Coalesce, rooms::Rooms};
use crate::{
    bus::{Bus, Commit, Error as BusError, Position, ShardRecord, Stored},
    room::{Epoch, Event, Incarnation, RoomId, Seq, ShardId, Shards, State},
};
use async_trait::async_trait;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, atomic::AtomicU64},
};

/// How often a change is tried again after others were faster, or its outcome had to be read back.
const ATTEMPTS: usize = 8;

type Confirms = HashMap<ShardId, Arc<Coalesce<Result<Option<ShardRecord>, Error>>>>;

/// The journal on a bus.
pub struct OnBus {
    bus: Arc<dyn Bus>,
    shards: Shards,
    rooms: Rooms<Position>,
    confirms: Mutex<Confirms>,
    snapshots: AtomicU64,
}

impl OnBus {
    /// A journal of rooms in `shards` shards on a bus that keeps every event.
    pub fn new(bus: Arc<dyn Bus>, shards: Shards) -> Self {
        Self {
            bus,
            shards,
            rooms: Rooms::default(),
            confirms: Mutex::default(),
            snapshots: AtomicU64::new(0),
        }
    }

    /// Messages of a room as they are stored, from a position on.
    pub(super) async fn messages(
        &self,
        room: &RoomId,
        from: Position,
    ) -> Result<Vec<Stored>, Error> {
        self.bus
            .stored(room, from, open::MESSAGES)
            .await
            .map_err(reading)
    }

    /// The newest snapshot of a room.
    pub(super) async fn newest_snapshot(&self, room: &RoomId) -> Result<Option<State>, Error> {
        let Some(end) = self.bus.last(room).await.map_err(reading)? else {
            return Ok(None);
        };
        let (state, position) = snapshot::newest(&*self.bus, room, &end).await?;
        Ok((position > Position::ZERO).then_some(state))
    }

    async fn record(&self, shard: ShardId) -> Result<Option<ShardRecord>, Error> {
        Ok(self
            .bus
            .shard(shard)
            .await
            .map_err(reading)?
            .map(|(record, _)| record))
    }
}

/// A failed reading: nothing happened.
fn reading(error: BusError) -> Error {
    match error {
        BusError::Unsupported { seq, name, version } => Error::Unsupported { seq, name, version },
        BusError::Unusable(why) => Error::Damaged(why),
        BusError::TooLarge(why) => Error::TooLarge(why),
        error => Error::Unavailable(error.to_string()),
    }
}

#[async_trait]
impl Journal for OnBus {
    async fn claim(
        &self,
        shard: ShardId,
        owner: Incarnation,
        least: Epoch,
    ) -> Result<Claim, Error> {
        let epoch = claim::claim(&*self.bus, shard, owner, least).await?;
        self.rooms
            .forget(|room, opened| self.shards.of(room) == shard && opened < epoch);
        Ok(Claim::new(shard, epoch))
    }

    async fn open(&self, room: &RoomId, claim: Claim) -> Result<Opened, Error> {
        claim.covers(self.shards, room)?;
        let epoch = claim.epoch();
        self.rooms.check_openable(room, epoch)?;
        self.confirm(claim).await?;
        let Some(end) = open::claim(&*self.bus, room, epoch).await? else {
            self.confirm(claim).await?;
            self.rooms.opened(room, epoch, Seq::ZERO, Position::ZERO);
            return Ok(Opened {
                state: State::default(),
                events: Vec::new(),
            });
        };
        let opened = open::read(&*self.bus, room, &end).await?;
        self.rooms.opened(room, epoch, end.seq, end.position);
        Ok(opened)
    }

    fn close(&self, room: &RoomId) {
        self.rooms.close(room);
    }

    async fn append(&self, room: &RoomId, claim: Claim, commit: &Commit) -> Result<(), Error> {
        claim.covers(self.shards, room)?;
        let begun = self.rooms.begin(room, claim.epoch(), commit)?;
        let published = append::publish(&*self.bus, room, commit, begun.at).await;
        self.rooms.end(room, commit, begun, published)
    }

    async fn confirm(&self, claim: Claim) -> Result<(), Error> {
        let (shard, epoch) = (claim.shard(), claim.epoch());
        let shared = self
            .confirms
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .entry(shard)
            .or_default()
            .clone();
        match shared.get(|| self.record(shard)).await? {
            Some(record) if record.epoch == epoch && record.owner.is_some() => Ok(()),
            other => Err(Error::Fenced {
                seen: other.map_or(epoch, |record| record.epoch.max(epoch)),
            }),
        }
    }

    async fn save_snapshot(&self, room: &RoomId, claim: Claim, state: &State) -> Result<(), Error> {
        claim.covers(self.shards, room)?;
        let epoch = claim.epoch();
        let (head, mut position) = self.rooms.end_of(room, epoch)?;
        if position == Position::ZERO {
            position = open::anchor(&*self.bus, room, epoch).await?;
            self.rooms.anchored(room, epoch, position);
        }
        let at = snapshot::place(&*self.bus, room, state.head, (head, position, epoch)).await?;
        snapshot::save(&*self.bus, room, epoch, &self.snapshots, state, at).await
    }

    async fn read(&self, room: &RoomId, first: Seq, last: Seq) -> Result<Vec<Event>, Error> {
        page::read(&*self.bus, room, first, last).await
    }

    async fn rooms(&self, after: Option<&RoomId>, limit: usize) -> Result<Vec<RoomId>, Error> {
        self.bus.rooms(after, limit).await.map_err(reading)
    }

    fn boundary(&self, _: Seq) -> Seq {
        Seq(u64::MAX)
    }

    fn publishes(&self) -> bool {
        true
    }

    fn ready(&self) -> Result<(), String> {
        self.bus.ready()
    }
}
