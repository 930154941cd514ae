//! Pages of earlier events, for those who ask.

use super::{
    core::{Core, unavailable},
    join,
};
use crate::{
    journal::Hole,
    room::{Event, Rejection, RoomId, Seq},
};
use std::time::Duration;
use tokio::time::timeout;

/// Bytes of content in an answer, unless its only event is larger; the rest is asked for again.
const BYTES: usize = 192 * 1024;
/// Events that are read first. Only when these are small more are read at once: what is read and
/// not told is work for nothing.
const FEW: u64 = 4;
/// The most that are read at once.
const MOST: u64 = 128;
/// How long an answer may take.
const DEADLINE: Duration = Duration::from_secs(10);

/// Earlier events.
#[derive(Debug)]
pub(super) struct History {
    /// Ascending.
    pub(super) events: Vec<Event>,
    /// Whether there are earlier ones.
    pub(super) more: bool,
    /// Places that are gone, between the last of the events and what was asked for.
    pub(super) missing: Option<Hole>,
}

/// The last events of a room below `before` (`None`: all): at most `limit`, and fewer when they are
/// large.
pub(super) async fn history(
    core: &Core,
    room: &RoomId,
    before: Option<Seq>,
    limit: u16,
) -> Result<History, Rejection> {
    let read = async {
        let known = core.replica(room).and_then(|replica| replica.head());
        let head = match known {
            Some(head) => head,
            None => join::head(core, room).await?,
        };
        let last = before.map_or(head, |before| Seq(before.0.saturating_sub(1)).min(head));
        walk(core, room, last, limit.into()).await
    };
    timeout(DEADLINE, read).await.unwrap_or_else(|_| {
        Err(unavailable(
            "the history could not be read in time: ask again",
        ))
    })
}

/// Backwards from `last`, twice as many each time as before. It ends at a hole; only one right
/// below `last` is skipped, and named: so nobody sees both sides of a hole without knowing it.
async fn walk(core: &Core, room: &RoomId, last: Seq, limit: usize) -> Result<History, Rejection> {
    let cannot =
        |why: String| unavailable(format!("the history cannot be read now: {why}: ask again"));
    let (mut events, mut bytes, mut next, mut span) = (Vec::new(), 0, last, FEW);
    let mut missing: Option<Hole> = None;
    let history = |mut events: Vec<Event>, more, missing| {
        events.reverse();
        Ok(History {
            events,
            more,
            missing,
        })
    };
    while next > Seq::ZERO {
        // One more than wanted tells whether there are earlier ones.
        let count = span.min((limit + 1 - events.len()) as u64);
        let first = Seq((next.0 + 1).saturating_sub(count).max(1));
        let page = core.past.read(room, first, next).await.map_err(cannot)?;
        if page.last() != Some(next) && page.last().is_some() && first < next {
            // It is too large to be read at once, or it has a hole.
            span = if span > FEW { FEW } else { 1 };
            continue;
        }
        if page.last() != Some(next) {
            let below = core.past.last_below(room, next).await.map_err(cannot)?;
            if !events.is_empty() {
                return history(events, below.is_some(), missing);
            }
            let (first, last) = (
                below.unwrap_or_default().next(),
                missing.map_or(next, |hole| hole.last),
            );
            missing = Some(Hole { first, last });
            next = below.unwrap_or_default();
            continue;
        }
        span = MOST.min(2 * span);
        for event in page.events.iter().rev().map(|event| event.event()) {
            bytes += event.size();
            if events.len() == limit || (bytes > BYTES && !events.is_empty()) {
                return history(events, true, missing);
            }
            next = Seq(event.seq.0 - 1);
            events.push(event.clone());
        }
    }
    history(events, false, missing)
}
