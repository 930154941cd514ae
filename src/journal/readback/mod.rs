//! Read-back fencing: a journal over any database that has quorum reads and writes and one
//! compare-and-set per shard.
//!
//! Appending is a plain write; then, in one breath, the fence is read. Why that is enough: a new
//! owner raises the fence before it reads a room. If the old owner's reading of the fence, started
//! after its write was at a quorum, still saw the old epoch, then the write was at a quorum before
//! the new owner read, which therefore saw it. Opening writes the whole last commit again under the
//! new epoch, so every later row of an older owner is a decrease of the epoch, where every reader
//! stops ([`rule`]). It reads the fence before it writes as well: who is no owner must not write
//! what makes the rows of the true owner such a decrease.
//!
//! One (place, epoch) has one content only, ever: after an unknown outcome nothing but the
//! identical commit may be written, and a room that is given up in that condition cannot be opened
//! again under the same epoch. The same goes for the last commit that an opening writes again.

mod claim;
mod copies;
mod fill;
mod newest;
mod open;
mod page;
mod pins;
mod retire;
pub mod rule;
mod snapshot;
mod store;
mod tail;
mod trim;

use newest::Newest;
use open::Found;
pub use rule::Row;
pub use store::{Copied, Fence, Partitions, Reading, SnapshotKey, Store, StoredSnapshot};

use super::{Claim, Error, Journal, Limits, Opened, coalesce::CoalesceBy, codec, rooms::Rooms};
use crate::{
    bus::Commit,
    metric,
    room::{
        Carried, Epoch, Event, Incarnation, Millis, Moving, Pin, RoomId, Seq, ShardId, Shards,
        State, UserId,
    },
    telemetry::trace::hop,
};
use async_trait::async_trait;
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime},
};
use tokio::{time::Instant, try_join};
use tracing::Instrument;

/// Within this time after a write returned no database is killed, started again and answering.
const BREATH: Duration = Duration::from_secs(4);

/// Names that are read at once to find those of one shard.
const NAMES: usize = 1000;

/// What openings have found and not yet written again for certain, and under which epoch.
type Openings = HashMap<RoomId, (Epoch, Arc<Found>)>;

/// Whether it was said that rows are skipped.
static TOLD: AtomicBool = AtomicBool::new(false);

/// The rows of all epochs that an owner can have had, as [`Store::rows`]. Whoever may write to the
/// database can write a row of any epoch; it must not pass for the word of a newer owner, above
/// which nobody could go.
async fn owned_rows(
    store: &impl Store,
    room: &RoomId,
    first: Seq,
    last: Seq,
) -> Result<Vec<Row>, Error> {
    let (mut rows, now) = (store.rows(room, first, last).await?, now());
    let is_possible = |row: &Row| row.epoch.is_possible(now);
    if let Some(other) = rows.iter().find(|row| !is_possible(row))
        && !TOLD.swap(true, Relaxed)
    {
        tracing::warn!(
            %room, seq = %other.seq(), epoch = %other.epoch,
            "a row of the journal has an epoch higher than any owner's can be: it is skipped, as \
             are others like it; delete it"
        );
    }
    rows.retain(is_possible);
    Ok(rows)
}

/// A page of published events: of rows, and of copies where these do not begin yet.
async fn read(
    store: &impl Store,
    room: &RoomId,
    first: Seq,
    last: Seq,
) -> Result<Vec<Event>, Error> {
    let journaled = page::read(store, room, first, last).await?;
    let begins = journaled.first().map(|event| event.seq);
    if first > last || begins == Some(first.max(Seq(1))) {
        return Ok(journaled);
    }
    copies::ahead_of(store, room, (first, last), journaled).await
}

/// By this machine's clock.
fn now() -> Millis {
    Millis::of(SystemTime::now())
}

/// The journal over a [`Store`].
pub struct ReadBack<S> {
    store: S,
    shards: Shards,
    /// Each with whether it is noted that it exists.
    rooms: Rooms<bool>,
    openings: Mutex<Openings>,
    /// Shared readings of fences.
    confirms: CoalesceBy<ShardId, Result<Option<Fence>, Error>>,
    snapshots: AtomicU64,
    newest: Newest,
}

impl<S: Store> ReadBack<S> {
    /// A journal of rooms in `shards` shards.
    pub fn new(store: S, shards: Shards) -> Self {
        Self {
            store,
            shards,
            rooms: Rooms::default(),
            openings: Mutex::default(),
            confirms: CoalesceBy::default(),
            snapshots: AtomicU64::new(0),
            newest: Newest::default(),
        }
    }

    /// The database.
    pub fn store(&self) -> &S {
        &self.store
    }

    /// The newest snapshot of a room.
    pub(super) async fn newest_snapshot(&self, room: &RoomId) -> Result<Option<State>, Error> {
        let newest = snapshot::newest(&self.store, room).await?;
        Ok(newest.map(|(_, state)| state))
    }

    /// A room as an opening would find it, and the last place before its last commit, which may not
    /// be confirmed.
    pub(super) async fn found(&self, room: &RoomId) -> Result<(Opened, Seq), Error> {
        let found = open::read(&self.store, room, Epoch(u64::MAX), Seq::ZERO).await?;
        let confirmed = match found.rows.last() {
            Some(last) => Seq(last.first.0.saturating_sub(1)).max(found.opened.state.head),
            None => found.opened.head(),
        };
        Ok((found.opened, confirmed))
    }

    /// The first place from `from` on that has a row, as far as an opening would look for one.
    pub(super) async fn next_stored(&self, room: &RoomId, from: Seq) -> Result<Option<Seq>, Error> {
        let newest = self.store.snapshots(room, 1).await?.into_iter().next();
        let reached = newest.map_or(Seq::ZERO, |key| key.seq).max(from);
        page::next_row(&self.store, room, from, open::far(&self.store, reached)).await
    }

    /// The first place from `from` on, before that of the next row, that has a copy.
    pub(super) async fn next_copy(
        &self,
        room: &RoomId,
        from: Seq,
        row: Option<Seq>,
    ) -> Result<Option<Seq>, Error> {
        let copied = self.store.copied(room).await?;
        let below = row.map_or(copied.below, |row| row.min(copied.below));
        copies::next(&self.store, room, from.max(copied.first), below).await
    }

    /// The copies that count from `first` to `last` before the next row, all of one partition, and
    /// up to where that is.
    pub(super) async fn copies(
        &self,
        room: &RoomId,
        first: Seq,
        last: Seq,
    ) -> Result<(Vec<Row>, Seq), Error> {
        let row = self.store.first_row(room, first, last).await?;
        let last = row.map_or(last, |row| Seq(row.0 - 1));
        Ok((
            copies::counting(&self.store, room, first, last).await?,
            last,
        ))
    }

    fn openings(&self) -> MutexGuard<'_, Openings> {
        self.openings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a room ends with. As long as it is not known whether that is written again, an opening
    /// that is repeated does not read anew: it could find another commit at the same place, and
    /// what the attempt before wrote under this epoch may still appear.
    async fn find(&self, room: &RoomId, epoch: Epoch, reached: Seq) -> Result<Arc<Found>, Error> {
        if let Some((_, found)) = self
            .openings()
            .get(room)
            .filter(|(opened, _)| *opened == epoch)
        {
            return Ok(found.clone());
        }
        let found = Arc::new(open::read(&self.store, room, epoch, reached).await?);
        self.openings().insert(room.clone(), (epoch, found.clone()));
        Ok(found)
    }

    /// Writes rows of a commit and confirms them in one breath. When the confirmation fails, or
    /// comes late, a database that had not synced them may have been restarted and lost them
    /// meanwhile: the identical rows are written again first.
    async fn journal(&self, room: &RoomId, claim: Claim, rows: &[Row]) -> Result<(), Error> {
        let (shard, epoch) = (claim.shard(), claim.epoch());
        // What would follow on something that is gone is not to be there either.
        self.newest.check(&self.store, shard, epoch).await?;
        let mut outages = self.newest.outages();
        self.newest.note(self.store.write(room, rows).await)?;
        loop {
            // From here on they are written: whatever fails, the caller repeats all of it.
            let unknown = |error| match error {
                Error::Unavailable(why) => Error::Unknown(why),
                error => error,
            };
            let written = Instant::now();
            self.confirm_fence(claim).await.map_err(unknown)?;
            if written.elapsed() <= BREATH {
                self.newest.journaled((shard, epoch), room, rows, outages);
                return Ok(());
            }
            outages = self.newest.outages();
            let again = self.newest.note(self.store.write(room, rows).await);
            again.map_err(unknown)?;
        }
    }

    /// Removes the rows of a room below a place, at which an opening needs none.
    async fn remove_rows(&self, claim: Claim, room: &RoomId, below: Seq) -> Result<(), Error> {
        if below > Seq(1) {
            self.confirm_fence(claim).await?;
            self.newest.goes(claim.shard(), room, below);
            self.store.trim(room, below).await?;
        }
        Ok(())
    }

    async fn confirm_fence(&self, claim: Claim) -> Result<(), Error> {
        let begun = Instant::now();
        let confirmed = self.look_at_fence(claim).await;
        metric::CONFIRM_SECONDS.record(begun.elapsed().as_secs_f64());
        confirmed
    }

    async fn look_at_fence(&self, claim: Claim) -> Result<(), Error> {
        let (shard, epoch) = (claim.shard(), claim.epoch());
        let reading = self
            .confirms
            .get(shard, || self.store.fence(shard, Reading::Quorum))
            .instrument(hop::confirm())
            .await;
        match self.newest.note(reading)? {
            Some(fence) if fence.epoch == epoch => {
                self.newest.check(&self.store, shard, epoch).await
            }
            // Lower or none: the database forgot a claim. Whoever relied on it must not go on.
            other => Err(Error::Fenced {
                seen: other.map_or(epoch, |fence| fence.epoch.max(epoch)),
            }),
        }
    }
}

/// The rows of a commit.
fn rows(commit: &Commit) -> Vec<Row> {
    let (epoch, first) = (commit.epoch, commit.first());
    commit
        .events
        .iter()
        .map(|event| Row {
            epoch,
            first,
            event: codec::encode_event(event),
        })
        .collect()
}

#[async_trait]
impl<S: Store> Journal for ReadBack<S> {
    async fn claim(
        &self,
        shard: ShardId,
        owner: Incarnation,
        least: Epoch,
    ) -> Result<Claim, Error> {
        let epoch = claim::claim(&self.store, shard, owner, least).await?;
        self.rooms
            .forget(|room, opened| self.shards.of(room) == shard && opened < epoch);
        self.openings()
            .retain(|room, (opened, _)| self.shards.of(room) != shard || *opened >= epoch);
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
        let mut is_noted = true;
        let found = self.find(room, epoch, reached);
        let (found, ()) = try_join!(found, self.confirm_fence(claim))?;
        let last = rule::last_commit(&found.rows);
        if !last.is_empty() {
            let mine: Vec<Row> = last
                .iter()
                .map(|row| Row {
                    epoch,
                    ..row.clone()
                })
                .collect();
            self.journal(room, claim, &mine).await?;
        } else {
            if reached > Seq::ZERO {
                // Its first commit does not note it: it is not at the first place.
                self.store.note(room).await?;
            } else if found.opened.state.head > Seq::ZERO {
                // It ends with a snapshot alone: there is no row to write again under this epoch,
                // and no name if the room was removed.
                is_noted = false;
                if found.taken_under < epoch {
                    let state = &found.opened.state;
                    snapshot::save(&self.store, room, epoch, &self.snapshots, state).await?;
                }
            }
            self.confirm_fence(claim).await?;
        }
        self.openings().remove(room);
        self.rooms
            .opened(room, epoch, found.opened.head(), is_noted);
        Ok(Arc::unwrap_or_clone(found).opened)
    }

    fn close(&self, room: &RoomId) {
        self.rooms.close(room);
    }

    async fn append(&self, room: &RoomId, claim: Claim, commit: &Commit) -> Result<(), Error> {
        claim.covers(self.shards, room)?;
        assert!(
            commit.last() <= self.boundary(commit.first()),
            "a commit never crosses a partition"
        );
        let begun = self.rooms.begin(room, claim.epoch(), commit)?;
        let written = async {
            if begun.is_first || !begun.at {
                self.store.note(room).await?;
            }
            self.journal(room, claim, &rows(commit)).await
        };
        let written = written.await.map(|()| true);
        self.rooms.end(room, commit, begun, written)
    }

    async fn confirm(&self, claim: Claim) -> Result<(), Error> {
        self.confirm_fence(claim).await
    }

    async fn save_snapshot(&self, room: &RoomId, claim: Claim, state: &State) -> Result<(), Error> {
        claim.covers(self.shards, room)?;
        snapshot::save(&self.store, room, claim.epoch(), &self.snapshots, state).await
    }

    async fn save_carried(
        &self,
        room: &RoomId,
        claim: Claim,
        carried: &Carried,
    ) -> Result<bool, Error> {
        claim.covers(self.shards, room)?;
        snapshot::save_carried(&self.store, room, claim.epoch(), &self.snapshots, carried).await
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
        pins::recorded(&self.store, room, generation, names).await
    }

    async fn record(
        &self,
        room: &RoomId,
        claim: Claim,
        generation: Seq,
        pins: &Moving,
    ) -> Result<(), Error> {
        claim.covers(self.shards, room)?;
        let age = (claim.epoch(), self.snapshots.fetch_add(1, Relaxed));
        pins::record(&self.store, room, age, generation, pins).await
    }

    async fn all_recorded(
        &self,
        room: &RoomId,
        generation: Seq,
    ) -> Result<Vec<(UserId, Pin)>, Error> {
        pins::all(&self.store, room, generation).await
    }

    async fn drop_records(&self, room: &RoomId, generation: Seq) -> Result<(), Error> {
        self.store.drop_pins(room, generation).await
    }

    async fn trim(&self, room: &RoomId, claim: Claim, start: Seq) -> Result<bool, Error> {
        claim.covers(self.shards, room)?;
        let Some((below, is_all)) = trim::below(&self.store, room, start).await? else {
            return Ok(false);
        };
        // No opening needs copies. Before the rows: it is from these that it is known where there
        // may be copies that never came to count.
        if copies::are_below(&self.store, room, start).await? {
            self.confirm_fence(claim).await?;
            self.store.drop_copies(room, claim.epoch(), start).await?;
        }
        self.remove_rows(claim, room, below).await?;
        Ok(is_all)
    }

    async fn rewrite(&self, room: &RoomId, claim: Claim, events: &[Event]) -> Result<(), Error> {
        claim.covers(self.shards, room)?;
        self.confirm_fence(claim).await?;
        let age = (claim.epoch(), self.snapshots.fetch_add(1, Relaxed));
        copies::write(&self.store, room, age, events).await
    }

    async fn adopt_rewritten(&self, room: &RoomId, claim: Claim, below: Seq) -> Result<Seq, Error> {
        claim.covers(self.shards, room)?;
        let Some((below, _)) = trim::below(&self.store, room, below).await? else {
            return Ok(Seq(1));
        };
        if below > Seq(1) {
            copies::check(&self.store, room, claim.epoch(), below).await?;
            self.confirm_fence(claim).await?;
            self.store.note_copies(room, claim.epoch(), below).await?;
        }
        Ok(below)
    }

    async fn drop_rewritten(&self, room: &RoomId, claim: Claim, below: Seq) -> Result<bool, Error> {
        claim.covers(self.shards, room)?;
        let Some((below, is_all)) = trim::below(&self.store, room, below).await? else {
            return Ok(false);
        };
        self.remove_rows(claim, room, below).await?;
        Ok(is_all)
    }

    async fn retire(
        &self,
        room: &RoomId,
        claim: Claim,
        head: Seq,
        before: Millis,
    ) -> Result<(), Error> {
        claim.covers(self.shards, room)?;
        self.rooms.check_quiet(room, claim.epoch(), head)?;
        self.confirm_fence(claim).await?;
        self.newest.goes(claim.shard(), room, Seq(u64::MAX));
        retire::remove(&self.store, room, (claim.epoch(), head), before).await
    }

    async fn fill(
        &self,
        room: &RoomId,
        claim: Claim,
        events: &[Event],
        next: Option<Seq>,
    ) -> Result<bool, Error> {
        claim.covers(self.shards, room)?;
        self.confirm_fence(claim).await?;
        let mut commit = Commit {
            epoch: claim.epoch(),
            events: events.to_vec(),
        };
        let written = rows(&commit);
        let epoch = fill::epoch(&self.store, room, &written, next, claim.epoch()).await?;
        let Some(epoch) = epoch else {
            return Ok(false);
        };
        commit.epoch = epoch;
        self.journal(room, claim, &rows(&commit)).await?;
        Ok(true)
    }

    async fn has_snapshot_below(&self, room: &RoomId, place: Seq) -> Result<bool, Error> {
        let kept = self.store.snapshots(room, snapshot::LISTED).await?;
        Ok(kept.iter().any(|key| key.seq < place))
    }

    async fn read(&self, room: &RoomId, first: Seq, last: Seq) -> Result<Vec<Event>, Error> {
        read(&self.store, room, first, last).await
    }

    async fn last_below(&self, room: &RoomId, below: Seq) -> Result<Option<Seq>, Error> {
        match page::last_below(&self.store, room, below).await? {
            None => copies::last_below(&self.store, room, below).await,
            last => Ok(last),
        }
    }

    async fn rooms(&self, after: Option<&RoomId>, limit: usize) -> Result<Vec<RoomId>, Error> {
        self.store.rooms(after, limit).await
    }

    async fn rooms_of(
        &self,
        shard: ShardId,
        after: Option<&RoomId>,
        limit: usize,
    ) -> Result<Vec<RoomId>, Error> {
        let (mut found, mut after) = (Vec::new(), after.cloned());
        while found.len() < limit {
            let page = self.store.rooms(after.as_ref(), NAMES).await?;
            let is_last = page.len() < NAMES;
            after = page.last().cloned();
            found.extend(
                page.into_iter()
                    .filter(|room| self.shards.of(room) == shard),
            );
            if is_last {
                break;
            }
        }
        found.truncate(limit);
        Ok(found)
    }

    fn boundary(&self, first: Seq) -> Seq {
        self.store.partitions().end(first)
    }

    fn publishes(&self) -> bool {
        false
    }

    fn ready(&self) -> Result<(), String> {
        self.store.ready()
    }
}
