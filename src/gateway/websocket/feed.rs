//! The turns of a room on their way to the loops that own the sockets of its clients. A room's
//! events of one turn are encoded once per protocol, with the heads of their frames; each loop gets
//! them in one mail, whatever the number of clients there.

use super::{
    encode,
    line::{Line, Way},
    mailbox::{Mail, Mailbox},
};
use crate::wire::{Protocol, SharedEvent};
use bytes::Bytes;
use std::sync::{
    Arc,
    atomic::{AtomicU32, AtomicUsize, Ordering::Relaxed},
};
use tokio::sync::Notify;

/// Bytes of a room's turns that may wait for a loop that is late. Beyond them the room waits with
/// what it has not heard yet; what waits is written together, so that a late loop gets on faster.
const WAITING: usize = 1024 * 1024;

/// A room at one loop.
pub(super) struct Feed {
    mailbox: Arc<Mailbox>,
    /// Where the loop has the room; only the loop uses it.
    pub(super) slot: AtomicU32,
    waiting: AtomicUsize,
    freed: Arc<Notify>,
}

impl Feed {
    /// The loop has dealt with a fan-out.
    fn release(&self, bytes: usize) {
        if self.waiting.fetch_sub(bytes, Relaxed) >= WAITING {
            self.freed.notify_waiters();
        }
    }

    #[cfg(test)]
    pub(super) fn new(mailbox: Arc<Mailbox>) -> Arc<Self> {
        at(mailbox, Arc::default())
    }
}

/// Events of a room on their way to its clients at one loop: the bytes of each protocol. It counts
/// as waiting until it is dropped, wherever that is.
pub(super) struct Fanout {
    pub(super) feed: Arc<Feed>,
    pub(super) bytes: [Bytes; 3],
    /// How many events.
    pub(super) frames: u32,
}

impl Fanout {
    pub(super) fn new(feed: Arc<Feed>, bytes: [Bytes; 3], frames: u32) -> Self {
        let fanout = Self {
            feed,
            bytes,
            frames,
        };
        fanout.feed.waiting.fetch_add(fanout.size(), Relaxed);
        fanout
    }

    /// Bytes of it, over all protocols.
    pub(super) fn size(&self) -> usize {
        self.bytes.iter().map(Bytes::len).sum()
    }
}

impl Drop for Fanout {
    fn drop(&mut self) {
        self.feed.release(self.size());
    }
}

fn at(mailbox: Arc<Mailbox>, freed: Arc<Notify>) -> Arc<Feed> {
    Arc::new(Feed {
        mailbox,
        slot: AtomicU32::new(super::line::NOWHERE),
        waiting: AtomicUsize::new(0),
        freed,
    })
}

/// The loops that have live clients of a room, and how many of each protocol.
#[derive(Default)]
pub(in crate::gateway) struct Feeds {
    loops: Vec<(Arc<Feed>, [usize; 3])>,
    freed: Arc<Notify>,
}

impl Feeds {
    /// How many clients are live.
    pub(in crate::gateway) fn len(&self) -> usize {
        self.loops.iter().flat_map(|(_, counts)| counts).sum()
    }

    /// From now on a client gets all turns.
    pub(in crate::gateway) fn join(&mut self, line: &Way) {
        let line = &line.0;
        let known = self.position(line);
        let at = known.unwrap_or_else(|| {
            let feed = at(line.mailbox().clone(), self.freed.clone());
            self.loops.push((feed, [0; 3]));
            self.loops.len() - 1
        });
        let (feed, counts) = &mut self.loops[at];
        counts[index(line.protocol())] += 1;
        let mail = Mail::Live(line.clone(), feed.clone());
        line.mailbox().send(mail);
    }

    /// A client that was live is gone. Its loop knows that from the client's own end.
    pub(in crate::gateway) fn leave(&mut self, line: &Way) {
        let Some(at) = self.position(&line.0) else {
            return;
        };
        let counts = &mut self.loops[at].1;
        let count = &mut counts[index(line.0.protocol())];
        *count = count.saturating_sub(1);
        if *counts == [0; 3] {
            self.loops.swap_remove(at);
        }
    }

    fn position(&self, line: &Line) -> Option<usize> {
        let mut feeds = self.loops.iter();
        feeds.position(|(feed, _)| Arc::ptr_eq(&feed.mailbox, line.mailbox()))
    }

    /// Gives events to all who are live.
    pub(in crate::gateway) fn send(&self, events: &[SharedEvent]) {
        let mut turns: [Option<Bytes>; 3] = Default::default();
        for (feed, counts) in &self.loops {
            let bytes = Protocol::ALL.map(|protocol| {
                let at = index(protocol);
                if counts[at] == 0 {
                    return Bytes::new();
                }
                turns[at]
                    .get_or_insert_with(|| encoded(events, protocol))
                    .clone()
            });
            let fanout = Fanout::new(feed.clone(), bytes, events.len() as u32);
            feed.mailbox.send(Mail::Fanout(fanout));
        }
    }

    /// Whether a loop is so late that the room has to wait.
    pub(in crate::gateway) fn is_late(&self) -> bool {
        let mut loops = self.loops.iter();
        loops.any(|(feed, _)| feed.waiting.load(Relaxed) >= WAITING)
    }

    /// Waits until no loop is late.
    pub(in crate::gateway) async fn caught_up(&self) {
        loop {
            let freed = self.freed.notified();
            tokio::pin!(freed);
            freed.as_mut().enable();
            if !self.is_late() {
                return;
            }
            freed.await;
        }
    }
}

/// Where a protocol is in arrays of all of them.
pub(super) fn index(protocol: Protocol) -> usize {
    match protocol {
        Protocol::Text => 0,
        Protocol::Json => 1,
        Protocol::Proto => 2,
    }
}

/// The frames of events.
fn encoded(events: &[SharedEvent], protocol: Protocol) -> Bytes {
    let encoded: Vec<_> = events.iter().map(|event| event.encoded(protocol)).collect();
    let length = encoded
        .iter()
        .map(|event| encode::length(event.bytes().len()))
        .sum();
    let mut out = Vec::with_capacity(length);
    encoded
        .iter()
        .for_each(|event| encode::put(&mut out, event));
    out.into()
}
