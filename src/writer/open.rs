//! Opening a room: replay it, and publish what its last owner journaled but did not get to publish.

use super::{Parts, definite::definite, room::Room};
use crate::{
    bus::{Commit, Position},
    journal::{self, Claim, Limits},
    room::{RoomId, Seq},
};
use std::time::Duration;
use tokio::time::Instant;

/// Between two attempts while the journal is away.
const PAUSE: Duration = Duration::from_millis(250);

impl Parts {
    /// Opens a room under a claim of its shard. Waits as long as the journal is away; fails when
    /// the shard is lost or the room cannot be read.
    pub(super) async fn open(&self, claim: Claim, room: &RoomId) -> Result<Room, journal::Error> {
        let shard = claim.shard();
        let opened = definite(shard, "open", PAUSE, || self.journal.open(room, claim)).await?;
        let mut state = opened.state;
        let saved = state.head;
        for event in &opened.events {
            state.evolve(event);
        }
        let position = if self.journal.publishes() {
            Position::ZERO
        } else {
            self.publish_tail(claim, room, state.head).await?
        };
        tracing::debug!(%shard, %room, head = %state.head, replayed = opened.events.len(), "room opened");
        Ok(Room::new(state, saved, position, Instant::now()))
    }

    /// Publishes the journaled events that are not on the bus, and returns where the last message of the room is then. Of a room that the bus knows
    /// nothing of any more only the newest events: gateways read older ones from the journal.
    async fn publish_tail(
        &self,
        claim: Claim,
        room: &RoomId,
        head: Seq,
    ) -> Result<Position, journal::Error> {
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
        let mut from = published.max(oldest);
        while from < head {
            let events = definite(shard, "read", PAUSE, || {
                self.journal.read(room, from.next(), head)
            })
            .await?;
            let commit = Commit {
                epoch,
                events: first_commit(events, self.fits()),
            };
            if commit.events.is_empty() {
                return Err(journal::Error::Damaged(format!(
                    "{room}: event {} is missing, the journal ends at {head}",
                    from.next()
                )));
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
