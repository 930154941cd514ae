//! Finding from where on the events of a room stay, and the rooms that nobody has open whose past
//! is too long.

use super::{Parts, past::Found};
use crate::{
    journal,
    room::{Excess, Kept, Millis, RoomId, Seq},
};
use std::time::{SystemTime, UNIX_EPOCH};

/// Pages of events that are looked through at a time: well under a second, so that a shard that is
/// handed over waits for no more.
const PAGES: usize = 20;

/// By this machine's clock.
pub(super) fn clock() -> Millis {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    Millis(now.unwrap_or_default().as_millis() as u64)
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
        let trims = self.journal.trims().await;
        if let Err(journal::Error::Denied(why)) = &trims {
            self.keeps_all(why);
        }
        trims?;
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

    /// Of these rooms, which nobody has open, those whose past is too long.
    pub(super) async fn overlong(&self, rooms: Vec<RoomId>) -> Vec<RoomId> {
        let default = &self.config.retention();
        let mut overlong = Vec::new();
        for room in rooms {
            match self.journal.glance(&room).await {
                Ok(Some(state)) => {
                    if state.kept.excess(default, state.head, clock()).is_some() {
                        overlong.push(room);
                    }
                }
                // Only an opening tells; a room that was never saved is short. Nothing was said of it
                // either, which would be saved.
                Ok(None) if !default.keeps_all() => overlong.push(room),
                Ok(None) => {}
                Err(error) => tracing::debug!(%room, %error, "its past is looked at later"),
            }
        }
        overlong
    }
}
