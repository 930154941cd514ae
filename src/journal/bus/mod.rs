//! The journal on the bus: the feed of a room is its journal, so nothing else needs to be
//! installed.
//!
//! A commit is one message, published only if the room's last message is still the one that its
//! owner knows. A new owner publishes a claim, a message without events, which makes the position
//! that the old owner expects outdated; a room that was never written needs none ([`open`]). The
//! record of the shard, which the lease changes by compare-and-set, is the fence: its epoch is the
//! claimed one. After any doubt the last message, read through the stream's leader, decides what
//! happened.
//!
//! Beside the journal lie snapshots ([`snapshot`]), and a mark for each room that was written since
//! its last one ([`marks`]), from which an opening knows how far a room has gone whose last
//! messages are gone ([`end`]).

mod append;
mod claim;
mod copies;
mod damaged;
mod end;
mod marks;
mod open;
mod page;
mod pins;
mod retire;
mod snapshot;

use super::{Claim, Error, Journal, Opened, coalesce::CoalesceBy, rooms::Rooms};
use crate::{
    bus::{Bus, Commit, Error as BusError, Position, ShardRecord, Stored},
    metric,
    room::{
        Carried, Epoch, Event, Incarnation, Millis, Moving, Pin, RoomId, Seq, ShardId, Shards,
        State, UserId,
    },
};
use async_trait::async_trait;
use marks::Marks;
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};
use tokio::time::Instant;

/// How often a change is tried again after others were faster, or its outcome had to be read back.
const ATTEMPTS: usize = 8;

/// The journal on a bus.
pub struct OnBus {
    bus: Arc<dyn Bus>,
    shards: Shards,
    rooms: Rooms<Position>,
    /// Shared readings of shards' records.
    confirms: CoalesceBy<ShardId, Result<Option<ShardRecord>, Error>>,
    /// Numbers snapshots and marks.
    snapshots: AtomicU64,
    marks: Marks,
}

impl OnBus {
    /// A journal of rooms in `shards` shards on a bus that keeps every event.
    pub fn new(bus: Arc<dyn Bus>, shards: Shards) -> Self {
        Self {
            bus,
            shards,
            rooms: Rooms::default(),
            confirms: CoalesceBy::default(),
            snapshots: AtomicU64::new(1),
            marks: Marks::default(),
        }
    }

    /// Whether the shard's record still has the claim; all that wait at a time share one reading.
    async fn look_at_record(&self, claim: Claim) -> Result<(), Error> {
        let (shard, epoch) = (claim.shard(), claim.epoch());
        match self.confirms.get(shard, || self.record(shard)).await? {
            Some(record) if record.epoch == epoch && record.owner.is_some() => Ok(()),
            other => Err(Error::Fenced {
                seen: other.map_or(epoch, |record| record.epoch.max(epoch)),
            }),
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
        let newest = snapshot::newest(&*self.bus, room).await?;
        Ok(newest.map(|(state, _)| state))
    }

    /// The last place that is stored of a room, and the last one that it may have reached.
    pub(super) async fn ends(&self, room: &RoomId) -> Result<(Seq, Seq), Error> {
        let last = self.bus.last(room).await.map_err(reading)?;
        let reached = end::reached(&*self.bus, room, last.as_ref()).await?;
        let last = last.map_or(Seq::ZERO, |last| last.seq);
        Ok((last, reached.unwrap_or_default()))
    }

    /// Notes that a room is written beyond its newest snapshot, unless that is noted.
    async fn mark(&self, room: &RoomId, epoch: Epoch) {
        let number = self.snapshots.fetch_add(1, Ordering::Relaxed);
        self.marks.set(&*self.bus, room, (epoch, number)).await;
    }

    /// The copies that count from a place on, up to `last`: dense; none: there are no more.
    pub(super) async fn copies_from(
        &self,
        room: &RoomId,
        from: Seq,
        last: Seq,
    ) -> Result<Vec<Event>, Error> {
        let Some((start, end)) = copies::extent(&*self.bus, room).await? else {
            return Ok(Vec::new());
        };
        let first = self.bus.find(room, Seq(1)).await.map_err(reading)?;
        let mut below = end.min(Seq(last.0.saturating_add(1)));
        if let Some(position) = first {
            let first = self.bus.stored(room, position, 1).await.map_err(reading)?;
            let event = first.first().and_then(|first| first.events.first());
            below = event.map_or(below, |event| below.min(event.seq));
        }
        copies::page(&*self.bus, room, from.max(start), below).await
    }

    /// The last place of the oldest message of a room.
    async fn oldest(&self, room: &RoomId) -> Result<Option<Seq>, Error> {
        let oldest = self.bus.stored(room, Position::ZERO, 1).await;
        let oldest = oldest.map_err(reading)?.into_iter().next();
        Ok(oldest.map(|oldest| oldest.seq))
    }

    /// Up to which message those below a place may go, and whether that is all that ever may before
    /// there are more. `None`: none.
    async fn removable(
        &self,
        room: &RoomId,
        start: Seq,
    ) -> Result<Option<(Position, bool)>, Error> {
        let (Some(held), Some(last)) = (
            snapshot::held(&*self.bus, room).await?,
            self.bus.last(room).await.map_err(reading)?,
        ) else {
            return Ok(None);
        };
        // The last message may be a claim, without events: what stays is the last commit.
        let end = self.bus.before(room, last.position.next()).await;
        let end = end.map_err(reading)?.map(|end| end.seq);
        let start = end.map_or(start, |end| start.min(end));
        let wanted = self.bus.find(room, start).await.map_err(reading)?;
        let wanted = wanted.unwrap_or(last.position).min(last.position);
        Ok(Some((wanted.min(held), wanted <= held)))
    }

    /// Removes the messages of a room before a position.
    async fn remove(&self, room: &RoomId, claim: Claim, below: Position) -> Result<(), Error> {
        self.trims().await?;
        self.confirm(claim).await?;
        self.bus.purge(room, below).await.map_err(removing)
    }

    /// Removes what may go of a room below a place: `false` while some of it stays.
    async fn remove_below(&self, room: &RoomId, claim: Claim, below: Seq) -> Result<bool, Error> {
        let oldest = self.oldest(room).await?;
        if oldest.is_none_or(|oldest| oldest >= below) {
            return Ok(true); // It was removed before.
        }
        let Some((position, is_all)) = self.removable(room, below).await? else {
            return Ok(false);
        };
        self.remove(room, claim, position).await?;
        Ok(is_all)
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

/// A failed removal: it may have happened.
fn removing(error: BusError) -> Error {
    match error {
        BusError::Unknown(why) => Error::Unknown(why),
        error => reading(error),
    }
}

/// The revision of what lies under a name; 0: nothing does.
async fn revision(bus: &dyn Bus, name: &str) -> Result<u64, Error> {
    let found = bus.get(name).await.map_err(reading)?;
    Ok(found.map_or(0, |(_, revision)| revision))
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
        self.marks.retain(|room| self.shards.of(room) != shard);
        Ok(Claim::new(shard, epoch))
    }

    async fn open_reaching(
        &self,
        room: &RoomId,
        claim: Claim,
        reached: Seq,
    ) -> Result<Opened, Error> {
        claim.covers(self.shards, room)?;
        let epoch = claim.epoch();
        self.rooms.check_openable(room, epoch)?;
        self.confirm(claim).await?;
        let Some(claimed) = open::claim(&*self.bus, room, epoch, reached).await? else {
            self.confirm(claim).await?;
            self.rooms.opened(room, epoch, Seq::ZERO, Position::ZERO);
            return Ok(Opened::default());
        };
        self.marks.forget(room);
        let opened = open::read(&*self.bus, room, &claimed).await?;
        let position = claimed.end.position;
        self.rooms.opened(room, epoch, opened.head(), position);
        Ok(opened)
    }

    fn close(&self, room: &RoomId) {
        self.rooms.close(room);
        self.marks.forget(room);
    }

    async fn append(&self, room: &RoomId, claim: Claim, commit: &Commit) -> Result<(), Error> {
        claim.covers(self.shards, room)?;
        let begun = self.rooms.begin(room, claim.epoch(), commit)?;
        let published = append::publish(&*self.bus, room, commit, begun.at);
        let (published, ()) = tokio::join!(published, self.mark(room, commit.epoch));
        self.rooms.end(room, commit, begun, published)
    }

    async fn confirm(&self, claim: Claim) -> Result<(), Error> {
        let begun = Instant::now();
        let confirmed = self.look_at_record(claim).await;
        metric::CONFIRM_SECONDS.record(begun.elapsed().as_secs_f64());
        confirmed
    }

    async fn verify(&self, room: &RoomId, claim: Claim) -> Result<(), Error> {
        claim.covers(self.shards, room)?;
        // Before the reading: a commit that comes meanwhile is behind it.
        let (_, left_at) = self.rooms.end_of(room, claim.epoch())?;
        let there = append::is_there(&*self.bus, room, claim.epoch(), left_at);
        tokio::try_join!(self.confirm(claim), there).map(drop)
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
        // From here on a commit is marked again; one that came before is, after the snapshot.
        self.marks.forget(room);
        snapshot::save(&*self.bus, room, epoch, &self.snapshots, state, at).await?;
        if self.rooms.is_beyond(room, state.head) {
            self.marks.forget(room);
            self.mark(room, epoch).await;
        }
        Ok(())
    }

    async fn save_carried(
        &self,
        room: &RoomId,
        claim: Claim,
        carried: &Carried,
    ) -> Result<bool, Error> {
        claim.covers(self.shards, room)?;
        snapshot::save_carried(&*self.bus, room, claim.epoch(), carried).await
    }

    async fn glance(&self, room: &RoomId) -> Result<Option<State>, Error> {
        self.newest_snapshot(room).await
    }

    async fn recorded(
        &self,
        room: &RoomId,
        generation: Seq,
        names: &[UserId],
    ) -> Result<Vec<Option<Pin>>, Error> {
        pins::recorded(&*self.bus, room, generation, names).await
    }

    async fn record(
        &self,
        room: &RoomId,
        claim: Claim,
        generation: Seq,
        pins: &Moving,
    ) -> Result<(), Error> {
        claim.covers(self.shards, room)?;
        let age = (
            claim.epoch(),
            self.snapshots.fetch_add(1, Ordering::Relaxed),
        );
        pins::record(&*self.bus, room, age, generation, pins).await
    }

    async fn all_recorded(
        &self,
        room: &RoomId,
        generation: Seq,
    ) -> Result<Vec<(UserId, Pin)>, Error> {
        pins::all(&*self.bus, room, generation).await
    }

    async fn drop_records(&self, room: &RoomId, generation: Seq) -> Result<(), Error> {
        pins::drop_all(&*self.bus, room, generation).await
    }

    async fn trims(&self) -> Result<(), Error> {
        let removal = self.bus.removal().await.map_err(reading)?;
        removal
            .refused
            .map_or(Ok(()), |why| Err(Error::Denied(why)))
    }

    async fn trim(&self, room: &RoomId, claim: Claim, start: Seq) -> Result<bool, Error> {
        claim.covers(self.shards, room)?;
        if !self.remove_below(room, claim, start).await? {
            return Ok(false);
        }
        self.confirm(claim).await?;
        copies::drop_below(&*self.bus, room, start).await?;
        Ok(true)
    }

    async fn rewrite(&self, room: &RoomId, claim: Claim, events: &[Event]) -> Result<(), Error> {
        claim.covers(self.shards, room)?;
        self.trims().await?;
        self.confirm(claim).await?;
        let number = self.snapshots.fetch_add(1, Ordering::Relaxed);
        copies::write(&*self.bus, room, (claim.epoch(), number), events).await
    }

    async fn adopt_rewritten(&self, room: &RoomId, claim: Claim, below: Seq) -> Result<Seq, Error> {
        claim.covers(self.shards, room)?;
        let oldest = self.oldest(room).await?;
        if oldest.is_none_or(|oldest| oldest >= below) {
            return Ok(below); // It was removed before.
        }
        let last = Seq(below.0.saturating_sub(1));
        let first = self.read(room, Seq(1), last).await?;
        let end = self.last_below(room, below).await?.unwrap_or_default();
        let end = self.read(room, end, end).await?;
        if let (Some(first), Some(end)) = (first.first(), end.first()) {
            let (epoch, ends) = (claim.epoch(), [first, end]);
            self.confirm(claim).await?;
            copies::complete(&*self.bus, room, epoch, below, ends).await?;
        }
        Ok(below)
    }

    async fn drop_rewritten(&self, room: &RoomId, claim: Claim, below: Seq) -> Result<bool, Error> {
        claim.covers(self.shards, room)?;
        self.remove_below(room, claim, below).await
    }

    async fn retire(&self, room: &RoomId, claim: Claim, head: Seq, _: Millis) -> Result<(), Error> {
        claim.covers(self.shards, room)?;
        self.rooms.check_quiet(room, claim.epoch(), head)?;
        self.trims().await?;
        let seen = retire::look(&*self.bus, room).await?;
        self.confirm(claim).await?;
        retire::remove(&*self.bus, room, (claim.epoch(), head), seen).await
    }

    async fn has_snapshot_below(&self, room: &RoomId, place: Seq) -> Result<bool, Error> {
        snapshot::is_kept_below(&*self.bus, room, place).await
    }

    async fn read(&self, room: &RoomId, first: Seq, last: Seq) -> Result<Vec<Event>, Error> {
        let journaled = page::read(&*self.bus, room, first, last).await?;
        let begins = journaled.first().map(|event| event.seq);
        if first > last || begins == Some(first.max(Seq(1))) {
            return Ok(journaled);
        }
        copies::ahead_of(&*self.bus, room, (first, last), journaled).await
    }

    async fn last_below(&self, room: &RoomId, below: Seq) -> Result<Option<Seq>, Error> {
        match page::last_below(&*self.bus, room, below).await? {
            None => copies::last_below(&*self.bus, room, below).await,
            last => Ok(last),
        }
    }

    /// Shard by shard, since NATS gives the subjects under a filter all at once or not at all.
    async fn rooms(&self, after: Option<&RoomId>, limit: usize) -> Result<Vec<RoomId>, Error> {
        let first = after.map_or(ShardId(0), |after| self.shards.of(after));
        let mut found = Vec::new();
        for shard in self.shards.all().skip_while(|shard| *shard < first) {
            let after = after.filter(|_| shard == first);
            let missing = limit - found.len();
            found.extend(self.rooms_of(shard, after, missing).await?);
            if found.len() == limit {
                break;
            }
        }
        Ok(found)
    }

    async fn rooms_of(
        &self,
        shard: ShardId,
        after: Option<&RoomId>,
        limit: usize,
    ) -> Result<Vec<RoomId>, Error> {
        let rooms = self.bus.rooms_of(shard, after, limit).await;
        rooms.map_err(reading)
    }

    async fn count_rooms(&self) -> Result<u64, Error> {
        self.bus.count_rooms().await.map_err(reading)
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
