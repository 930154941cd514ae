//! What comes to a loop from other threads: one queue, in the order in which it was sent, so that
//! whatever a client gets comes in the order in which it was said, by whomever.
//!
//! Never longer than what its senders are bounded by: the frames of a client by its backlog
//! ([`super::line`]), the turns of a room by [`super::feed`], and a few messages per client.

use super::{
    feed::{Fanout, Feed},
    line::Line,
};
use crate::gateway::Close;
use bytes::Bytes;
use mio::Waker;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What a loop is told.
pub(super) enum Mail {
    /// Whole frames for a client, and how many.
    Frames(Arc<Line>, Bytes, u32),
    /// A client gets the turns of a room from now on.
    Live(Arc<Line>, Arc<Feed>),
    /// Events of a room for all who are live.
    Fanout(Fanout),
    /// A client's session ends.
    Close(Arc<Line>, Close),
    /// Nothing will be for this client any more.
    Gone(Arc<Line>),
    /// The client's socket is there.
    Socket(Arc<Line>, Box<super::Upgraded>),
    /// The loop ends, and drops all that it has.
    Stop,
}

/// Pieces of mail for which there is always room. What a burst takes beyond them is given back.
const KEPT: usize = 64;

/// The mailbox of a loop.
pub(super) struct Mailbox {
    state: Mutex<State>,
    waker: Arc<Waker>,
}

#[derive(Default)]
struct State {
    mail: Vec<Mail>,
    /// The loop waits for sockets, and has to be woken.
    is_asleep: bool,
    /// The loop has ended.
    is_closed: bool,
}

impl Mailbox {
    pub(super) fn new(waker: Waker) -> Self {
        Self::of(Arc::new(waker))
    }

    /// An empty one that wakes the same thread.
    pub(super) fn renewed(&self) -> Self {
        Self::of(self.waker.clone())
    }

    fn of(waker: Arc<Waker>) -> Self {
        Self {
            state: Mutex::default(),
            waker,
        }
    }

    /// Puts mail in. What comes after the loop's end is dropped.
    pub(super) fn send(&self, mail: Mail) {
        let mut state = self.state();
        if state.is_closed {
            // Not under the lock: what is dropped may send mail.
            drop(state);
            return drop(mail);
        }
        state.mail.push(mail);
        let wake = std::mem::take(&mut state.is_asleep);
        drop(state);
        if wake && let Err(error) = self.waker.wake() {
            tracing::error!(%error, "a loop of WebSockets cannot be woken");
        }
    }

    /// Takes all mail into `empty`.
    pub(super) fn take(&self, empty: &mut Vec<Mail>) {
        empty.shrink_to(KEPT);
        let mut state = self.state();
        state.is_asleep = false;
        std::mem::swap(&mut state.mail, empty);
    }

    /// Whether there is no mail: then the next one wakes the loop.
    pub(super) fn sleep(&self) -> bool {
        let mut state = self.state();
        state.is_asleep = state.mail.is_empty();
        state.is_asleep
    }

    /// Takes no mail any more, and drops what is there.
    pub(super) fn close(&self) {
        let mut state = self.state();
        state.is_closed = true;
        let left = std::mem::take(&mut state.mail);
        drop(state);
        drop(left);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A mailbox that nobody is behind, and whatever wakes it.
#[cfg(test)]
pub(super) fn unattended() -> std::io::Result<(Mailbox, mio::Poll)> {
    let poll = mio::Poll::new()?;
    let waker = Waker::new(poll.registry(), mio::Token(0))?;
    Ok((Mailbox::new(waker), poll))
}
