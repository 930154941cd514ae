//! Pages of earlier events, for those who ask.

use super::{
    core::{Core, unavailable},
    join,
};
use crate::room::{Event, Kind, Rejection, RoomId, Seq};
use std::time::Duration;
use tokio::time::timeout;

/// Bytes of content in an answer, unless its only event is larger; the rest is asked for again.
const BYTES: usize = 192 * 1024;
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
pub(super) async fn history(core: &Core, room: &RoomId, before: Option<Seq>, limit: u16) -> Result<History, Rejection> {
    let read = async {
        let known = core.replica(room).and_then(|replica| replica.head());
        let head = match known {
            Some(head) => head,
            None => join::head(core, room).await?,
        };
        let last = before.map_or(head, |before| Seq(before.0.saturating_sub(1)).min(head));
        walk(core, room, last, limit.into()).await
    };
    timeout(DEADLINE, read).await.unwrap_or_else(|_| Err(unavailable("the history could not be read in time: ask again")))
}

/// Page by page backwards from `last`.
async fn walk(core: &Core, room: &RoomId, last: Seq, limit: usize) -> Result<History, Rejection> {
    let (mut events, mut bytes, mut next) = (Vec::new(), 0, last);
    while next > Seq::ZERO {
        let page = core.past.page(room, next, last).await;
        let page = page.map_err(|why| unavailable(format!("the history cannot be read now: {why}")))?;
        let from = next;
        for event in page.events.iter().rev().map(|event| event.event()).skip_while(|event| event.seq > from) {
            bytes += size(event);
            if events.len() == limit || (bytes > BYTES && !events.is_empty()) {
                events.reverse();
                return Ok(History { events, more: true });
            }
            next = Seq(event.seq.0 - 1);
            events.push(event.clone());
        }
        // A page that does not reach down to its beginning was cut by retention; so is all before it.
        if !page.begins_aligned() {
            break;
        }
    }
    events.reverse();
    Ok(History { events, more: false })
}

fn size(event: &Event) -> usize {
    match &event.kind {
        Kind::Message { body, .. } => body.size(),
        Kind::Joined { .. } | Kind::Left { .. } => 0,
    }
}
