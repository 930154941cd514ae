//! Who waits for the answer to which command. An answer arrives at most once, in the node's inbox,
//! under the tag of its command. Tags are random: who cannot read what this node submits can guess
//! none, and so answer nothing.

use super::{lane::Lane, metrics};
use crate::{bus::Answered, room::Turn};
use rand::{RngExt, rngs::StdRng};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};
use tokio::sync::oneshot;

/// The commands that wait for an answer. Bounded by what waits: one per join and POST, and the
/// bounded sends of each session.
pub(super) struct PendingReplies(Mutex<Table>);

struct Table {
    random: StdRng,
    waiters: HashMap<u64, Waiter>,
}

/// Who waits.
pub(super) enum Waiter {
    /// A request.
    Once(oneshot::Sender<Answered>),
    /// A message of a session, which went alone.
    Lane(Weak<Lane>, Turn),
}

/// A place in the table; leaves it when dropped.
pub(super) struct Place {
    pending: Arc<PendingReplies>,
    pub(super) tag: u64,
}

/// A request that waits for its answer.
pub(super) struct Waiting {
    pub(super) place: Place,
    pub(super) answer: oneshot::Receiver<Answered>,
}

impl PendingReplies {
    /// Nobody waits; tags come from `random`.
    pub(super) fn new(random: StdRng) -> Self {
        Self(Mutex::new(Table {
            random,
            waiters: HashMap::new(),
        }))
    }

    /// Waits under a new tag until the answer or the returned place is dropped.
    pub(super) fn wait(self: &Arc<Self>, waiter: Waiter) -> Place {
        let mut table = self.table();
        let tag = loop {
            let tag = table.random.random();
            if !table.waiters.contains_key(&tag) {
                break tag;
            }
        };
        table.waiters.insert(tag, waiter);
        let pending = self.clone();
        Place { pending, tag }
    }

    /// A request waits under a new tag.
    pub(super) fn wait_once(self: &Arc<Self>) -> Waiting {
        let (sender, answer) = oneshot::channel();
        Waiting {
            place: self.wait(Waiter::Once(sender)),
            answer,
        }
    }

    /// Hands an answer to who waits for it; one that nobody waits for is a late or second one, and
    /// dropped.
    pub(super) fn answer(&self, tag: u64, answered: Answered) {
        let waiter = self.table().waiters.remove(&tag);
        match waiter {
            Some(Waiter::Once(sender)) => drop(sender.send(answered)),
            Some(Waiter::Lane(lane, turn)) => {
                if let Some(lane) = lane.upgrade() {
                    lane.answered(turn, answered);
                }
            }
            None => metrics::answer_unasked(),
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.pending.table().waiters.remove(&self.tag);
    }
}
