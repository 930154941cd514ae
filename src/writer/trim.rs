//! Finding from where on the events of a room stay, and the rooms that nobody has open whose past
//! is too long, or which are gone.

use super::{Parts, past::Found, retire::Gone};
use crate::{
    bus::{Admissions as _, Error as BusError, Position},
    journal::{self, Claim},
    room::{Excess, Kept, Millis, Policy, RoomId, Seq, State},
};
use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

/// Pages of events that are looked through at a time: well under a second, so that a shard that is
/// handed over waits for no more.
const PAGES: usize = 20;

/// What time it is, in milliseconds since 1970.
pub type Clock = Arc<dyn Fn() -> Millis + Send + Sync>;

/// By this machine's clock.
pub(super) fn clock() -> Millis {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    Millis(now.unwrap_or_default().as_millis() as u64)
}

/// A call of the bus that failed, as one of the journal that is made again.
pub(super) fn of_bus(error: BusError) -> journal::Error {
    journal::Error::Unavailable(error.to_string())
}

impl Parts {
    /// From where on events of a room stay that ends at `head`. They are read once, before they go.
    pub(super) async fn find_start(
        &self,
        room: &RoomId,
        kept: Kept,
        head: Seq,
        excess: Excess,
    ) -> Result<Found, journal::Error> {
        self.check_trims().await?;
        let mut found = Found {
            said: kept.said,
            start: kept.first(),
            since: Millis(0),
            bytes: 0,
            more: false,
        };
        for _ in 0..PAGES {
            let page = self.journal.read(room, found.start, head).await?;
            if page.is_empty() {
                found.start = head.next();
                return Ok(found);
            }
            for event in page {
                let is_old = excess.before.is_some_and(|before| event.at < before);
                if event.seq >= excess.below && !is_old && found.bytes >= excess.bytes {
                    (found.start, found.since) = (event.seq, event.at);
                    return Ok(found);
                }
                if event.seq >= kept.counted {
                    found.bytes += event.size() as u64;
                }
                found.start = event.seq.next();
            }
        }
        found.more = true;
        Ok(found)
    }

    /// Refuses where rooms cannot let their past go, and says so.
    pub(super) async fn check_trims(&self) -> Result<(), journal::Error> {
        let trims = self.journal.trims().await;
        if let Err(journal::Error::Denied(why)) = &trims {
            self.warnings.keeps_all(why);
        }
        trims
    }

    /// Removes what a room does not keep: `false` while some of it stays.
    pub(super) async fn remove(
        &self,
        claim: Claim,
        room: &RoomId,
        (kept, policy, records): &(Kept, Policy, Vec<Seq>),
    ) -> Result<bool, journal::Error> {
        if self.is_held().await? {
            return Ok(false);
        }
        let purged = kept.purge.map(|purge| purge.seq);
        if let Some(purged) = purged.filter(|purged| *purged == kept.start) {
            self.journal.confirm(claim).await?;
            self.remove_beside(room, *policy, purged).await?;
        }
        let all = self.journal.trim(room, claim, kept.start).await;
        if let Err(journal::Error::Denied(why)) = &all {
            self.warnings.keeps_all(why);
        }
        let all = all?;
        for generation in records {
            self.journal.drop_records(room, *generation).await?;
        }
        match purged.filter(|_| all) {
            // Names of then are in snapshots.
            Some(purged) => Ok(!self.journal.has_snapshot_below(room, purged).await?),
            None => Ok(all),
        }
    }

    /// Whether nothing may be removed now. What is stored instead (a snapshot, copies) was stored
    /// before this is asked, so that a backup that begins once it is so has one or the other.
    pub(super) async fn is_held(&self) -> Result<bool, journal::Error> {
        let held = self.bus.held().await.map_err(of_bus)?;
        self.warnings.held(held);
        Ok(held.is_some())
    }

    /// Removes what lies beside the journal of a room that was purged: its messages in the feed,
    /// where that is not the journal, and welcomes.
    async fn remove_beside(
        &self,
        room: &RoomId,
        policy: Policy,
        purged: Seq,
    ) -> Result<(), journal::Error> {
        if policy == Policy::Sealed {
            let forgotten = self.bus.forget_welcomes(room, purged).await;
            forgotten.map_err(of_bus)?;
        }
        self.remove_published(room, purged).await
    }

    /// Removes the messages of a room in the feed below an event, where the feed is not the
    /// journal.
    pub(super) async fn remove_published(
        &self,
        room: &RoomId,
        below: Seq,
    ) -> Result<(), journal::Error> {
        if self.journal.publishes() {
            return Ok(());
        }
        let oldest = self.bus.stored(room, Position::ZERO, 1).await;
        let oldest = oldest.map_err(of_bus)?.into_iter().next();
        if oldest.is_none_or(|oldest| oldest.seq >= below) {
            return Ok(());
        }
        let Some(from) = self.bus.find(room, below).await.map_err(of_bus)? else {
            return Ok(()); // It is not there yet.
        };
        match self.bus.purge(room, from).await {
            Err(BusError::Unusable(why)) => {
                tracing::warn!(
                    %room, why,
                    "what was purged or erased stays in the stream of events until its bounds \
                     drop it"
                );
                Ok(())
            }
            removed => removed.map_err(of_bus),
        }
    }

    /// Whether something is left of a room that should have gone when it was purged: its owner died
    /// meanwhile.
    async fn is_left(&self, room: &RoomId, kept: &Kept) -> Result<bool, journal::Error> {
        let Some(purge) = kept.purge else {
            return Ok(false);
        };
        let last = self.journal.last_below(room, purge.seq).await?;
        Ok(last.is_some() || self.journal.has_snapshot_below(room, purge.seq).await?)
    }

    /// Whether the journal, with this snapshot, lacks the last event of a room that was published:
    /// who opens it writes back what the bus has still.
    async fn is_behind(&self, room: &RoomId, state: Option<&State>) -> bool {
        if self.journal.publishes() {
            return false;
        }
        let saved = state.map_or(Seq::ZERO, |state| state.head);
        let last = match self.bus.last(room).await {
            Ok(Some(last)) if last.seq > saved => last.seq,
            _ => return false,
        };
        let there = self.journal.read(room, last, last).await;
        there.is_ok_and(|there| there.is_empty())
    }

    /// Of these rooms, which nobody has open, those of which something is to be removed or written
    /// back, and those that are to be removed.
    pub(super) async fn look_at(&self, rooms: Vec<RoomId>) -> (Vec<RoomId>, Vec<Gone>) {
        let default = &self.config.retention();
        let (mut overlong, mut gone) = (Vec::new(), Vec::new());
        for room in rooms {
            let found = self.journal.glance(&room).await;
            if let Ok(state) = &found
                && self.is_behind(&room, state.as_ref()).await
            {
                overlong.push(room);
                continue;
            }
            let ends = match &found {
                Ok(Some(state)) => self.find_gone(&room, state).await,
                Ok(None) => self.find_left_over(&room).await,
                Err(_) => Ok(None),
            };
            match ends {
                Ok(None) => {}
                Ok(Some(ends)) => {
                    gone.push(ends);
                    continue;
                }
                Err(error) => tracing::debug!(%room, %error, "whether it is gone is seen later"),
            }
            match found {
                Ok(Some(state)) => {
                    let excess = state.kept.excess(default, state.head, self.now());
                    let is_left = self.is_left(&room, &state.kept).await;
                    let has_records = !state.away.stale.is_empty();
                    let erases = !state.erasures.pending.is_empty();
                    if excess.is_some() || has_records || erases || is_left.unwrap_or(true) {
                        overlong.push(room);
                    }
                }
                // Only an opening tells; a room that was never saved is short. Nothing was said of
                // it either, which would be saved.
                Ok(None) if !default.keeps_all() => overlong.push(room),
                Ok(None) => {}
                Err(error) => tracing::debug!(%room, %error, "its past is looked at later"),
            }
        }
        (overlong, gone)
    }
}
