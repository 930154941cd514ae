//! Pages of earlier events, for those who ask.

use super::{
    core::{Core, unavailable},
    join,
};
use crate::room::{Event, Rejection, RoomId, Seq};
use std::time::Duration;
use tokio::time::timeout;

/// Bytes of content in an answer, unless its only event is larger; the rest is asked for again.
const BYTES: usize = 192 * 1024;
/// Events that are read first. Only when these are small more are read at once: what is read and not told is work for nothing.
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
}

/// The last events of a room below `before` (`None`: all): at most `limit`, and fewer when they are large.
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

/// Backwards from `last`, twice as many each time as before.
async fn walk(core: &Core, room: &RoomId, last: Seq, limit: usize) -> Result<History, Rejection> {
    let (mut events, mut bytes, mut next, mut span) = (Vec::new(), 0, last, FEW);
    let history = |mut events: Vec<Event>, more| {
        events.reverse();
        Ok(History { events, more })
    };
    while next > Seq::ZERO {
        // One more than wanted tells whether there are earlier ones.
        let count = span.min((limit + 1 - events.len()) as u64);
        let first = Seq((next.0 + 1).saturating_sub(count).max(1));
        let page = core.past.read(room, first, next).await;
        let page =
            page.map_err(|why| unavailable(format!("the history cannot be read now: {why}")))?;
        match page.last() {
            // Retention has cut all of it.
            None => return history(events, false),
            // It is too large to be read at once.
            Some(end) if end < next => {
                span = FEW;
                continue;
            }
            Some(_) => span = MOST.min(2 * span),
        }
        for event in page.events.iter().rev().map(|event| event.event()) {
            bytes += event.size();
            if events.len() == limit || (bytes > BYTES && !events.is_empty()) {
                return history(events, true);
            }
            next = Seq(event.seq.0 - 1);
            events.push(event.clone());
        }
        // So it has what was before this.
        if page.first() > Some(first) {
            return history(events, false);
        }
    }
    history(events, false)
}
