//! Pages of earlier events, for those who ask.

use super::{
    core::{Core, unavailable},
    owner,
};
use crate::{
    bus::Ask,
    journal::Hole,
    room::{Event, Rejection, RoomId, Seq},
    wire::SharedEvent,
};
use std::{sync::Arc, time::Duration};
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
/// large. Those that the room's replica has are not read from the journal.
pub(super) async fn history(
    core: &Core,
    room: &RoomId,
    before: Option<Seq>,
    limit: u16,
) -> Result<History, Rejection> {
    let read = async {
        let replica = core.replica(room);
        let known = replica.as_ref().and_then(|replica| replica.head());
        let (head, purged, erasing) = match (known, &replica) {
            (Some(head), Some(replica)) => {
                core.check_hears()?;
                (head, replica.purged(), replica.erasing())
            }
            _ => {
                let view = owner::owner(core, &Ask::head(room.clone())).await?;
                (view.head, view.purged, Arc::new(view.erasing))
            }
        };
        let last = before.map_or(head, |before| Seq(before.0.saturating_sub(1)).min(head));
        let mut walk = Walk::new(last, limit.into(), purged);
        if let Some(replica) = &replica {
            walk.take(&replica.recent(last, walk.wanted()).await);
        }
        walk.read(core, room).await?;
        let mut history = walk.done();
        if history.events.is_empty() && history.missing.is_some() {
            let view = owner::owner(core, &Ask::head(room.clone())).await?;
            // Nothing is kept of the room, and nothing of it is lost: it was removed.
            history.missing = history.missing.filter(|_| view.first <= view.head);
        }
        // Before and after: a replica that has started again since may know less.
        erasing.apply(&mut history.events);
        if let Some(replica) = &replica {
            replica.erasing().apply(&mut history.events);
        }
        history.forget_below(replica.map_or(purged, |replica| replica.purged()));
        Ok(history)
    };
    timeout(DEADLINE, read).await.unwrap_or_else(|_| {
        Err(unavailable(
            "the history could not be read in time: ask again",
        ))
    })
}

impl History {
    /// What was purged while it was read is not told.
    fn forget_below(&mut self, purged: Seq) {
        let told = self.events.len();
        self.events.retain(|event| event.seq >= purged);
        self.more &= self.events.len() == told;
    }
}

/// The way backwards through a room.
struct Walk {
    limit: usize,
    /// Nothing below is told, whether it is there or not.
    first: Seq,
    /// Descending.
    events: Vec<Event>,
    bytes: usize,
    /// The place that comes next; 0: there is none.
    next: Seq,
    /// Set once it is over: whether there are earlier events than those that were taken.
    more: Option<bool>,
    missing: Option<Hole>,
}

impl Walk {
    fn new(last: Seq, limit: usize, first: Seq) -> Self {
        Self {
            limit,
            first,
            events: Vec::new(),
            bytes: 0,
            next: last,
            more: None,
            missing: None,
        }
    }

    /// How many events may still be told, and one more, which tells whether there are earlier ones.
    fn wanted(&self) -> usize {
        self.limit + 1 - self.events.len()
    }

    /// Takes events (ascending, dense, up to the next place) as far as they fit.
    fn take(&mut self, page: &[SharedEvent]) {
        for event in page.iter().rev().map(SharedEvent::event) {
            self.bytes += event.size();
            let is_full = self.bytes > BYTES && !self.events.is_empty();
            if self.events.len() == self.limit || is_full {
                self.more = Some(true);
                return;
            }
            self.next = Seq(event.seq.0 - 1);
            self.events.push(event.clone());
        }
    }

    /// Reads on in the journal, twice as many each time as before. It ends at a hole; only one
    /// right below `last` is skipped, and named: so nobody sees both sides of a hole without
    /// knowing it.
    async fn read(&mut self, core: &Core, room: &RoomId) -> Result<(), Rejection> {
        let cannot =
            |why: String| unavailable(format!("the history cannot be read now: {why}: ask again"));
        let mut span = FEW;
        while self.next > Seq::ZERO && self.more.is_none() {
            let next = self.next;
            if next < self.first {
                self.skip(None);
                break;
            }
            let count = span.min(self.wanted() as u64);
            let first = Seq((next.0 + 1).saturating_sub(count).max(1)).max(self.first);
            let page = core
                .history_cache
                .read(room, first, next)
                .await
                .map_err(cannot)?;
            if page.last() == Some(next) {
                span = MOST.min(2 * span);
                self.take(&page.events);
            } else if page.last().is_some() && first < next {
                // It is too large to be read at once, or it has a hole.
                span = if span > FEW { FEW } else { 1 };
            } else {
                let below = core
                    .history_cache
                    .last_below(room, next)
                    .await
                    .map_err(cannot)?;
                self.skip(below.filter(|below| *below >= self.first));
            }
        }
        Ok(())
    }

    /// Nothing is there from behind `below` up to the next place.
    fn skip(&mut self, below: Option<Seq>) {
        if !self.events.is_empty() {
            self.more = Some(below.is_some());
            return;
        }
        let below = below.unwrap_or_default();
        let last = self.missing.map_or(self.next, |hole| hole.last);
        self.missing = Some(Hole {
            first: below.next(),
            last,
        });
        self.next = below;
    }

    fn done(mut self) -> History {
        self.events.reverse();
        History {
            events: self.events,
            more: self.more.unwrap_or(false),
            missing: self.missing,
        }
    }
}
