//! Who waits for the answer to which command. An answer arrives at most once, in the node's inbox,
//! under the tag of its command.

use super::sends::Sends;
use crate::bus::Answered;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};
use tokio::sync::oneshot;

/// The commands that wait for an answer. Bounded by what waits: one per join and POST, and the
/// bounded sends of each session.
#[derive(Default)]
pub(super) struct Answers(Mutex<Table>);

#[derive(Default)]
struct Table {
    last: u64,
    waiters: HashMap<u64, Waiter>,
}

/// Who waits.
pub(super) enum Waiter {
    /// A request.
    Once(oneshot::Sender<Answered>),
    /// A message of a session, by its number there.
    Send(Weak<Sends>, u64),
}

/// A request's place in the table; leaves it when dropped.
pub(super) struct Waiting {
    answers: Arc<Answers>,
    pub(super) tag: u64,
    pub(super) answer: oneshot::Receiver<Answered>,
}

impl Answers {
    /// Waits under a new tag, until [`Self::forget`] or the answer.
    pub(super) fn wait(&self, waiter: Waiter) -> u64 {
        let mut table = self.table();
        table.last += 1;
        let tag = table.last;
        table.waiters.insert(tag, waiter);
        tag
    }

    /// Waits under a new tag until the answer or the returned place is dropped.
    pub(super) fn wait_once(self: &Arc<Self>) -> Waiting {
        let (sender, answer) = oneshot::channel();
        Waiting {
            tag: self.wait(Waiter::Once(sender)),
            answers: self.clone(),
            answer,
        }
    }

    /// Nobody waits under this tag any more.
    pub(super) fn forget(&self, tag: u64) {
        self.table().waiters.remove(&tag);
    }

    /// Hands an answer to who waits for it; one that nobody waits for is a late or second one, and
    /// dropped.
    pub(super) fn answer(&self, tag: u64, answered: Answered) {
        let waiter = self.table().waiters.remove(&tag);
        match waiter {
            Some(Waiter::Once(sender)) => drop(sender.send(answered)),
            Some(Waiter::Send(sends, number)) => {
                if let Some(sends) = sends.upgrade() {
                    sends.answered(number, answered);
                }
            }
            None => {}
        }
    }

    /// Tells a session that its message came too early; the answer is still to come.
    pub(super) fn early(&self, tag: u64) {
        let sends = match self.table().waiters.get(&tag) {
            Some(Waiter::Send(sends, number)) => sends.upgrade().map(|sends| (sends, *number)),
            _ => None,
        };
        if let Some((sends, number)) = sends {
            sends.early(number);
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.answers.forget(self.tag);
    }
}
