//! What becomes of a loop after a panic. One in a client's session costs this client only, and the
//! loop catches it where it happens. Any other leaves the loop in a state that nobody knows: it is
//! replaced by a new one with a mailbox of its own. What others still send to the old one is
//! dropped, and its clients are closed with a code that tells them to come back, here or elsewhere.

use super::{Client, Loop, Mailbox};
use crate::gateway::{Close, metrics};
use mio::{Interest, Poll, Token};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// The mailbox of the loop that a thread runs now.
pub(in super::super) struct Current(Mutex<State>);

struct State {
    mailbox: Arc<Mailbox>,
    is_stopped: bool,
}

impl Current {
    pub(in super::super) fn new(mailbox: Mailbox) -> Self {
        Self(Mutex::new(State {
            mailbox: Arc::new(mailbox),
            is_stopped: false,
        }))
    }

    pub(in super::super) fn mailbox(&self) -> Arc<Mailbox> {
        self.state().mailbox.clone()
    }

    /// Tells the loop to stop, and the thread not to begin another one.
    pub(in super::super) fn stop(&self) {
        let mut state = self.state();
        state.is_stopped = true;
        state.mailbox.send(super::Mail::Stop);
    }

    /// The mailbox of the next loop; `None`: none is wanted.
    fn renew(&self) -> Option<Arc<Mailbox>> {
        let mut state = self.state();
        if state.is_stopped {
            return None;
        }
        state.mailbox = Arc::new(state.mailbox.renewed());
        Some(state.mailbox.clone())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs a loop, and another one in its place when it breaks, until one is told to stop.
pub(in super::super) fn run(poll: Poll, current: &Current) {
    let mut now = Loop::new(poll, current.mailbox());
    loop {
        let ended = catch_unwind(AssertUnwindSafe(|| now.run()));
        let next = ended.err().and_then(|_| current.renew());
        // Whose mail it drops may panic as well. The hook has said so, and the rest is dropped.
        let _ = catch_unwind(AssertUnwindSafe(|| now.mailbox.close()));
        let Some(mailbox) = next else { return };
        metrics::loop_replaced();
        tracing::error!(
            clients = now.clients.len() + now.stranded.len(),
            "a loop of WebSockets broke: its clients are closed with 4010 and come back; \
             report the panic that was logged before"
        );
        now = now.replaced(mailbox);
    }
}

impl Loop {
    /// A loop in the place of this one, which has broken. It has the same sockets and clock.
    fn replaced(self, mailbox: Arc<Mailbox>) -> Self {
        let (began, now) = (self.began, self.now);
        let mut stranded = self.stranded;
        stranded.extend(self.clients.into_iter().map(|(_, client)| *client));
        Self {
            began,
            now,
            stranded,
            ..Self::new(self.poll, mailbox)
        }
    }

    pub(super) fn send_away_stranded(&mut self) {
        self.now = self.began.elapsed();
        while let Some(client) = self.stranded.pop() {
            self.send_away(client);
        }
        self.stranded = Vec::new();
    }

    /// Closes a client of the loop before. One whose upgrade is not over has no socket to say
    /// anything to: it is dropped.
    fn send_away(&mut self, mut client: Client) {
        let Some(io) = &mut client.io else { return };
        let slot = self.clients.vacant_key() as u32;
        let interests = Interest::READABLE | Interest::WRITABLE;
        let registry = self.poll.registry();
        if let Err(error) = registry.reregister(io, Token(slot as usize), interests) {
            return tracing::error!(%error, "a socket cannot be waited for: its client is dropped");
        }
        self.serial = self.serial.wrapping_add(1);
        client.serial = self.serial;
        (client.member, client.next) = (None, super::Next::NONE);
        (client.is_readable, client.is_blocked) = (true, false);
        (client.is_to_read, client.is_to_write) = (false, false);
        client.connection.break_off(self.now, Close::Unavailable);
        client.line.slot.store(slot, super::Relaxed);
        self.clients.insert(Box::new(client));
        self.settle(slot);
    }
}
