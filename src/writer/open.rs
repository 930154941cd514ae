//! Opening a room: replay it, and publish what its last owner journaled but did not get to publish.

use super::{Parts, definite::definite, room::Room, trim::of_bus};
use crate::{
    bus::{Commit, Position, while_newer},
    journal::{self, Behind, Claim, Hole, Limits, Opened},
    room::{RoomId, Seq, ShardId, State},
};
use std::time::Duration;
use tokio::time::Instant;

/// Between two attempts while the journal is away.
const PAUSE: Duration = Duration::from_millis(250);

/// Messages of the bus that are read at a time; it bounds them by bytes as well.
const MESSAGES: usize = 500;

impl Parts {
    /// Opens a room under a claim of its shard. Waits as long as the journal is away, and where a
    /// node of a newer version is to read it; fails when the shard is lost or the room cannot be
    /// read.
    pub(super) async fn open(&self, claim: Claim, room: &RoomId) -> Result<Room, journal::Error> {
        use journal::Error::{Damaged, Unsupported};
        let opened = self.read(claim, room).await;
        if let Err(error @ (Damaged(_) | Unsupported { .. })) = &opened {
            // Whoever waits for the room would be refused for good.
            let newer = || self.bus.stores_newer_forms();
            let tell = || tracing::warn!(%room, %error, "a room is left to a newer version");
            while_newer(newer, tell).await;
        }
        opened
    }

    async fn read(&self, claim: Claim, room: &RoomId) -> Result<Room, journal::Error> {
        let shard = claim.shard();
        let last = match self.journal.publishes() {
            true => None,
            false => self.last_published(room).await,
        };
        let reached = last.map_or(Seq::ZERO, |last| last.seq);
        let opened = definite(shard, "open", PAUSE, || {
            self.journal.open_reaching(room, claim, reached)
        })
        .await?;
        let (mut saved, replayed) = (opened.state.head, opened.events.len());
        let holes = opened.holes.clone();
        if let Some(hole) = holes.last().filter(|hole| hole.last == reached) {
            self.warnings.behind(Behind {
                room: room.clone(),
                journaled: Seq(hole.first.0 - 1),
                published: reached,
            });
        }
        let state = self.replay(shard, room, opened).await?;
        if !holes.is_empty() {
            saved = saved.max(self.close_holes(claim, room, &state, &holes).await?);
        }
        let position = if self.journal.publishes() {
            Position::ZERO
        } else {
            self.publish_tail(claim, room, &state).await?
        };
        tracing::debug!(%shard, %room, head = %state.head, replayed, "room opened");
        Ok(Room::new(state, saved, position, Instant::now()))
    }

    /// The state at the head. What the journal has lost at its end the bus may have still. That is
    /// not written back, but it counts what it did: who came, whose a name is, what was set, and
    /// above all what was to go, which an older journal has again.
    async fn replay(
        &self,
        shard: ShardId,
        room: &RoomId,
        mut opened: Opened,
    ) -> Result<State, journal::Error> {
        let head = opened.head();
        let at_end = opened.holes.pop_if(|hole| hole.last == head);
        let lost = at_end.filter(|_| !self.journal.publishes());
        let mut state = opened.replay();
        if let Some(lost) = lost {
            let find = || async { self.bus.find(room, lost.first).await.map_err(of_bus) };
            let mut next = definite(shard, "find", PAUSE, find).await?;
            while let Some(from) = next {
                let stored =
                    || async { self.bus.stored(room, from, MESSAGES).await.map_err(of_bus) };
                let page = definite(shard, "read", PAUSE, stored).await?;
                next = page.last().map(|last| last.position.next());
                let events = page.into_iter().flat_map(|message| message.events);
                for event in events.filter(|event| event.seq <= head) {
                    if event.seq > state.head {
                        state.skip_to(Seq(event.seq.0 - 1));
                        state.evolve(&event);
                    }
                }
            }
        }
        state.skip_to(head);
        Ok(state)
    }

    /// Says once what of a room is gone, and saves it as it is now: later openings start behind the
    /// holes, and the places are not given again even if nothing else remembers them. Whether
    /// it can be saved or not, the room goes on; returns up to where it is saved.
    async fn close_holes(
        &self,
        claim: Claim,
        room: &RoomId,
        state: &State,
        holes: &[Hole],
    ) -> Result<Seq, journal::Error> {
        let shard = claim.shard();
        let events = Hole::list(holes);
        tracing::warn!(
            %shard, %room, %events, holes = holes.len(), head = %state.head,
            "events of the room are gone from the journal; it goes on without them: \
             look at it with `safe-chat journal verify {room}`"
        );
        match self.journal.save_snapshot(room, claim, state).await {
            Ok(()) => Ok(state.head),
            Err(error @ journal::Error::Fenced { .. }) => Err(error),
            Err(error) => {
                tracing::warn!(%shard, %room, %error, "what is left of the room is saved later");
                Ok(Seq::ZERO)
            }
        }
    }

    /// Publishes the journaled events that are not on the bus, and returns where the last message
    /// of the room is then. Of a room that the bus knows nothing of any more only the newest
    /// events: gateways read older ones from the journal. Nothing that is not kept any more.
    async fn publish_tail(
        &self,
        claim: Claim,
        room: &RoomId,
        state: &State,
    ) -> Result<Position, journal::Error> {
        let (head, first) = (state.head, state.kept.first());
        let (shard, epoch) = (claim.shard(), claim.epoch());
        let last = self.last_published(room).await;
        if let Some(last) = last.filter(|last| last.epoch > epoch) {
            return Err(journal::Error::Fenced { seen: last.epoch });
        }
        let (published, mut position) = last.map_or((Seq::ZERO, Position::ZERO), |last| {
            (last.seq, last.position)
        });
        if published > head {
            return Err(journal::Error::Damaged(format!(
                "{room}: event {published} was published, but the journal ends at {head}"
            )));
        }
        let oldest = Seq(head.0.saturating_sub(Limits::EVENTS as u64));
        let mut from = published.max(oldest).max(Seq(first.0 - 1));
        while from < head {
            let events = definite(shard, "read", PAUSE, || {
                self.journal.read(room, from.next(), head)
            })
            .await?;
            let commit = Commit {
                epoch,
                events: first_commit(events, self.fits()),
            };
            // Gateways are told the head, and find that what is missing below it is gone.
            if commit.events.is_empty() {
                break;
            }
            from = commit.last();
            position = self.publish(claim, room, &commit, position).await?;
        }
        Ok(position)
    }
}

/// As many events as one commit may hold.
fn first_commit(events: Vec<crate::room::Event>, fits: usize) -> Vec<crate::room::Event> {
    let mut batch = super::batch::Batch::default();
    for event in events {
        if !batch.has_room_for(&event, Seq(u64::MAX), fits) {
            break;
        }
        batch.push(event);
    }
    batch.events
}
