//! Publishing a journaled commit: again and again until it is definitely on the bus, or the shard
//! has a newer owner.

use super::{Parts, definite::definite};
use crate::{
    bus::{Commit, Error as BusError, Position, Published},
    journal::{self, Claim},
    room::{RoomId, Seq},
};
use std::time::Duration;

/// Between two attempts while the bus is away.
const PAUSE: Duration = Duration::from_millis(200);

impl Parts {
    /// Publishes a commit after the room's last message, which is believed to be at `after`.
    /// Returns where the room's last message is then. Fails only when the shard is lost.
    ///
    /// After a failed attempt the epoch is confirmed before the next one: a publish that was held
    /// up during an outage must not come from an owner that was replaced meanwhile.
    pub(super) async fn publish(
        &self,
        claim: Claim,
        room: &RoomId,
        commit: &Commit,
        mut after: Position,
    ) -> Result<Position, journal::Error> {
        let (shard, mut rest) = (claim.shard(), commit.clone());
        loop {
            match self.bus.publish(room, &rest, after).await {
                Ok(position) => return Ok(position),
                // It is journaled. Gateways hear of the head, and read from the journal what the
                // bus does not carry.
                Err(BusError::TooLarge(why)) => {
                    tracing::warn!(%shard, %room, %why, "an event is not published: gateways read it from the journal");
                    return Ok(after);
                }
                Err(error) => {
                    tracing::debug!(%shard, %room, %error, "publish again");
                    if !matches!(error, BusError::Conflict(_)) {
                        tokio::time::sleep(PAUSE).await;
                    }
                }
            }
            self.confirm(claim).await?;
            let last = self.last_published(room).await;
            if let Some(last) = last.filter(|last| last.epoch > commit.epoch) {
                return Err(journal::Error::Fenced { seen: last.epoch });
            }
            (after, rest) = match last {
                Some(last) if last.seq >= commit.last() => return Ok(last.position),
                Some(last) => (last.position, beyond(commit, last.seq)),
                // The bus lost or dropped the room's messages. Gateways find what is missing in the
                // journal.
                None => (Position::ZERO, commit.clone()),
            };
        }
    }

    /// The last message of a room, however long it takes to learn.
    pub(super) async fn last_published(&self, room: &RoomId) -> Option<Published> {
        loop {
            match self.bus.last(room).await {
                Ok(last) => return last,
                Err(error) => tracing::debug!(%room, %error, "read the last message again"),
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Whether the claim still holds, however long it takes to learn.
    pub(super) async fn confirm(&self, claim: Claim) -> Result<(), journal::Error> {
        definite(claim.shard(), "confirm", PAUSE, || {
            self.journal.confirm(claim)
        })
        .await
    }

    /// Whether the claim still holds and a room is as this owner knows it, however long it takes to
    /// learn.
    pub(super) async fn verify(&self, claim: Claim, room: &RoomId) -> Result<(), journal::Error> {
        definite(claim.shard(), "verify", PAUSE, || {
            self.journal.verify(room, claim)
        })
        .await
    }
}

/// The events of a commit after a place.
fn beyond(commit: &Commit, seq: Seq) -> Commit {
    let events = commit
        .events
        .iter()
        .filter(|event| event.seq > seq)
        .cloned()
        .collect();
    Commit {
        epoch: commit.epoch,
        events,
    }
}
