//! A subscription: a bounded queue from the hub to one subscriber, which is told when something did
//! not fit or its connection was lost.

use super::ConnectionId;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep_until},
};

/// What one subscriber may leave unread: more than a busy room makes in a second. Beyond it the
/// newest is dropped and it is told so.
const BACKLOG: usize = 4096;

/// The hub's end.
pub(super) struct Line<T> {
    pub(super) connection: ConnectionId,
    queue: mpsc::Sender<(Instant, T)>,
    interruptions: watch::Sender<u64>,
}

/// The subscriber's end.
pub(super) struct Subscription<T> {
    queue: mpsc::Receiver<(Instant, T)>,
    interruptions: watch::Receiver<u64>,
}

/// What a subscriber sees.
pub(super) enum Arrival<T> {
    Item(T),
    Interrupted,
}

pub(super) fn line<T>(connection: ConnectionId) -> (Line<T>, Subscription<T>) {
    let (sender, queue) = mpsc::channel(BACKLOG);
    let (interrupt, interruptions) = watch::channel(0);
    (
        Line {
            connection,
            queue: sender,
            interruptions: interrupt,
        },
        Subscription {
            queue,
            interruptions,
        },
    )
}

impl<T> Line<T> {
    /// Whether its subscriber is still there.
    pub(super) fn is_open(&self) -> bool {
        !self.queue.is_closed()
    }

    /// Queues an item that the subscriber sees at `due`, or later when something before it is due
    /// later.
    pub(super) fn send(&self, due: Instant, item: T) {
        if let Err(mpsc::error::TrySendError::Full(_)) = self.queue.try_send((due, item)) {
            self.interrupt();
        }
    }

    /// Tells the subscriber that it may have missed something.
    pub(super) fn interrupt(&self) {
        self.interruptions.send_modify(|count| *count += 1);
    }
}

impl<T> Subscription<T> {
    /// The next arrival; `None` when the hub is gone.
    pub(super) async fn next(&mut self) -> Option<Arrival<T>> {
        tokio::select! {
            biased; // The interruption first: a gap is known before what comes after it.
            changed = self.interruptions.changed() => changed.ok().map(|()| Arrival::Interrupted),
            item = self.queue.recv() => {
                let (due, item) = item?;
                if due > Instant::now() {
                    sleep_until(due).await;
                }
                Some(Arrival::Item(item))
            }
        }
    }
}
