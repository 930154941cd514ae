//! Opening a room: replay it, write back what the journal has lost of its end and the bus has
//! still, and publish what its last owner journaled but did not get to publish.

use super::{Parts, definite::definite, room::Room};
use crate::{
    bus::{Commit, Position, while_newer},
    journal::{self, Behind, Claim, Draft, Hole, Limits, Opened},
    room::{RoomId, Seq, State},
};
use std::time::Duration;
use tokio::time::Instant;

/// Between two attempts while the journal is away.
const PAUSE: Duration = Duration::from_millis(250);

/// A room as it was found.
struct Replayed {
    /// At the head.
    state: State,
    /// What is gone for good.
    holes: Vec<Hole>,
    /// Whether something was put back below the end.
    is_refilled: bool,
}

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
        let Replayed {
            state,
            holes,
            is_refilled,
        } = self.replay(claim, room, opened, reached).await?;
        if !holes.is_empty() {
            self.tell_holes(claim, room, state.head, &holes);
        }
        if is_refilled || !holes.is_empty() {
            saved = saved.max(self.save_as_it_is(claim, room, &state).await?);
        }
        let position = if self.journal.publishes() {
            Position::ZERO
        } else {
            self.publish_tail(claim, room, &state).await?
        };
        tracing::debug!(%shard, %room, head = %state.head, replayed, "room opened");
        Ok(Room::new(state, saved, position, Instant::now()))
    }

    /// The state at the head, and what is gone for good. What the journal has lost the bus may have
    /// still, up to `reached`: it is written back.
    async fn replay(
        &self,
        claim: Claim,
        room: &RoomId,
        mut opened: Opened,
        reached: Seq,
    ) -> Result<Replayed, journal::Error> {
        if opened.holes.is_empty() || self.journal.publishes() {
            let holes = opened.holes.clone(); // the last one says where the room ends
            return Ok(Replayed {
                state: opened.replay(),
                holes,
                is_refilled: false,
            });
        }
        let head = opened.head();
        let is_lost = |hole: &mut Hole| hole.last == reached && hole.last == head;
        let (mut lost, mut other) = (opened.holes.pop_if(is_lost), None);
        if let Some(end) = lost
            && !self.is_of_this_history(claim, room, end).await?
        {
            other = lost.take();
        }
        let refilled = self.refill(claim, room, opened, lost).await?;
        for (hole, events) in refilled.into {
            self.tell_written_back(claim, room, hole, (hole.first, events));
        }
        let (mut state, mut holes) = (refilled.state, refilled.holes);
        if let Some(lost) = lost {
            let back = self.write_back(claim, room, lost, state).await?;
            self.tell_written_back(claim, room, lost, (back.from, back.events));
            holes.extend(back.holes);
            state = back.state;
        }
        state.end_at(head);
        holes.extend(other);
        Ok(Replayed {
            state,
            holes,
            is_refilled: refilled.events > 0,
        })
    }

    /// `written`: the first event that was, and how many.
    fn tell_written_back(&self, claim: Claim, room: &RoomId, lost: Hole, written: (Seq, u64)) {
        let (shard, (from, events), to) = (claim.shard(), written, lost.last);
        if events > 0 {
            tracing::warn!(
                %shard, %room, %from, %to, events,
                "the journal had less of the room than the bus, which still had so many events of \
                 it: they were written back"
            );
        }
        self.warnings.behind(Behind {
            room: room.clone(),
            journaled: Seq(lost.first.0 - 1),
            published: lost.last,
        });
    }

    /// Says once what of a room is gone.
    fn tell_holes(&self, claim: Claim, room: &RoomId, head: Seq, holes: &[Hole]) {
        let (shard, events) = (claim.shard(), Hole::list(holes));
        tracing::warn!(
            %shard, %room, %events, holes = holes.len(), %head,
            "events of the room are gone from the journal; it goes on without them: \
             look at it with `safe-chat journal verify {room}`"
        );
    }

    /// Saves a room as it is now: later openings start behind its holes, and the places are not
    /// given again even if nothing else remembers them. Whether it can be saved or not, the room
    /// goes on; returns up to where it is saved.
    async fn save_as_it_is(
        &self,
        claim: Claim,
        room: &RoomId,
        state: &State,
    ) -> Result<Seq, journal::Error> {
        match self.journal.save_snapshot(room, claim, state).await {
            Ok(()) => Ok(state.head),
            Err(error @ journal::Error::Fenced { .. }) => Err(error),
            Err(error) => {
                let shard = claim.shard();
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
    let mut draft = Draft::default();
    for event in events {
        if !draft.has_room_for(&event, |_| Seq(u64::MAX), fits) {
            break;
        }
        draft.push(event);
    }
    draft.take()
}
