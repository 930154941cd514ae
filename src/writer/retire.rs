//! Removing the rooms that are gone: what the sweep looks for, and what is done about it.

use super::{Parts, trim::of_bus};
use crate::{
    bus::Position,
    journal::{self, Claim, Opened},
    room::{Millis, RoomId, Seq, State},
};

/// Clocks differ by less, in milliseconds: what was noted so long ago was noted before.
const SKEW_MS: u64 = 300_000;

/// A room that is gone, and has been for as long as it takes.
#[derive(Debug)]
pub(super) struct Gone {
    pub(super) room: RoomId,
    /// Its name was noted before this.
    pub(super) noted: Millis,
}

impl Parts {
    /// Whether a room that nobody has open, with this snapshot, is to be removed.
    pub(super) async fn find_gone(
        &self,
        room: &RoomId,
        state: &State,
    ) -> Result<Option<Gone>, journal::Error> {
        if !self.may_retire() || !state.is_gone() {
            return Ok(None);
        }
        let Some(after) = self.config.gone_after() else {
            return Ok(None);
        };
        self.check_trims().await?;
        let last = match state.head {
            Seq::ZERO => Vec::new(),
            head => self.journal.read(room, head, head).await?,
        };
        let now = self.now();
        let noted = match last.first() {
            Some(last) if now.0.saturating_sub(last.at.0) < after => return Ok(None),
            Some(last) => last.at.0 + (now.0 - last.at.0) / 2,
            // Whoever began to remove it knew that it is old enough.
            None => now.0.saturating_sub(SKEW_MS),
        };
        Ok((!self.is_kept_on_bus(room).await?).then(|| Gone {
            room: room.clone(),
            noted: Millis(noted),
        }))
    }

    /// Whether a name is all that there is of a room without a snapshot: who wrote or removed it
    /// died in the middle.
    pub(super) async fn find_left_over(
        &self,
        room: &RoomId,
    ) -> Result<Option<Gone>, journal::Error> {
        let begins = self.journal.read(room, Seq(1), Seq(1)).await?;
        match begins.is_empty() {
            true => self.find_gone(room, &State::default()).await,
            false => Ok(None),
        }
    }

    /// Whether messages of the room stay on the bus, where that is not the journal, until its
    /// bounds drop them: places that were published are not given again.
    async fn is_kept_on_bus(&self, room: &RoomId) -> Result<bool, journal::Error> {
        if self.journal.publishes() {
            return Ok(false);
        }
        let refused = self.bus.removal().await.map_err(of_bus)?.refused;
        Ok(refused.is_some() && self.bus.last(room).await.map_err(of_bus)?.is_some())
    }

    /// Removes a room, if that is what it is still when it is opened under a claim. `false`: it is
    /// not, or nothing may be removed now. Whatever is returned, the journal has it no longer open.
    pub(super) async fn retire(&self, claim: Claim, gone: &Gone) -> Result<bool, journal::Error> {
        if self.is_held().await? {
            return Ok(false);
        }
        let room = &gone.room;
        let opened = self.journal.open(room, claim).await?;
        let retired = self.retire_open(claim, gone, opened).await;
        self.journal.close(room);
        retired
    }

    async fn retire_open(
        &self,
        claim: Claim,
        Gone { room, noted }: &Gone,
        opened: Opened,
    ) -> Result<bool, journal::Error> {
        let has_holes = !opened.holes.is_empty();
        let state = opened.replay();
        if has_holes || !state.is_gone() {
            return Ok(false);
        }
        if !self.journal.publishes() {
            let last = self.bus.last(room).await.map_err(of_bus)?;
            // The journal was put back to when it was gone, and somebody has come since.
            if last.is_some_and(|last| last.seq > state.head) {
                return Ok(false);
            }
        }
        let mut remains = state.remains();
        if state.head > Seq::ZERO {
            self.journal.save_snapshot(room, claim, &remains).await?;
        }
        // Only now what stands for it is stored, so somebody may back up what lacks that.
        if self.is_held().await? {
            return Ok(false);
        }
        if !self.journal.publishes() {
            self.purge_published(room).await?;
        }
        if state.head > Seq::ZERO {
            // Whoever dies before this leaves a room of which it is known what to remove.
            if let Some(generation) = remains.away.stale.pop() {
                self.journal.drop_records(room, generation).await?;
                self.journal.save_snapshot(room, claim, &remains).await?;
            }
        }
        self.journal.retire(room, claim, state.head, *noted).await?;
        Ok(true)
    }

    /// Removes the messages of a room in the feed.
    async fn purge_published(&self, room: &RoomId) -> Result<(), journal::Error> {
        let last = self.bus.last(room).await.map_err(of_bus)?;
        match last.map(|last| last.position) {
            Some(last) => self.bus.purge(room, Position::next(last)).await,
            None => Ok(()),
        }
        .map_err(of_bus)
    }
}
