//! WebSockets behind their upgrade, on the way in to their sessions and on the way out from the
//! rooms' replicas.
//!
//! A few threads own the sockets, each with a loop of its own ([`event_loop`]). What a client says
//! goes through a pure state machine ([`connection`], over [`frame`], [`encode`], [`backlog`]) to
//! its session. What a client gets comes through the mailbox of its loop ([`mailbox`]), in one
//! order: what is for it alone by its [`Way`], and the turns of its room by the room's [`Feeds`],
//! encoded once per protocol and written straight to every client that has taken all before. Who
//! cannot take a turn keeps a slice of it in a bounded backlog. A connection has no task, no timer
//! and no buffer of its own.
//!
//! Connections with TLS take the copying way ([`copying`]): a task each, and a queue.

mod backlog;
mod connection;
pub(super) mod copying;
mod deadlines;
mod encode;
mod event_loop;
mod feed;
pub(super) mod first;
mod frame;
mod line;
mod mailbox;
mod rooms;
mod wheel;

pub(super) use feed::Feeds;
pub(super) use line::Way;

use super::{Session, metrics, outbox::Limits};
use crate::{
    listener::Counted,
    room::RoomId,
    wire::{Incoming, Protocol},
};
use bytes::Bytes;
use event_loop::{Current, MAIL, Talk};
use mailbox::Mailbox;
use mio::{Poll, Waker};
use std::{
    hash::{DefaultHasher, Hash, Hasher},
    io,
    net::TcpStream,
    sync::Arc,
    thread,
    time::Duration,
};
use tokio::runtime::Handle;

/// Clients of one room that are together in one loop, before the next ones are in another: the
/// turns of a small room wake one loop.
const TOGETHER: usize = 64;

/// A connection after its upgrade.
pub(super) struct Upgraded {
    stream: TcpStream,
    /// What the client sent right behind its request.
    early: Bytes,
    talk: Talk,
    counted: Option<Counted>,
}

impl Upgraded {
    /// The stream does not block. The connection counts until it is closed.
    pub(super) fn new(
        stream: TcpStream,
        early: Bytes,
        session: Session,
        counted: Option<Counted>,
    ) -> Self {
        let talk = Box::new(session);
        Self {
            stream,
            early,
            talk,
            counted,
        }
    }
}

/// The loops of a gateway. Clones are the same.
#[derive(Clone)]
pub(super) struct Loops(Arc<[Arc<Current>]>);

/// Loops that run. Dropped, they drop all connections at once, without a farewell.
pub(super) struct Running(Vec<Arc<Current>>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.iter().for_each(|current| current.stop());
    }
}

impl Running {
    /// What others hold of them.
    pub(super) fn loops(&self) -> Loops {
        Loops(self.0.clone().into())
    }
}

impl Loops {
    /// Starts so many loops. Sessions spawn their tasks into the runtime of the caller.
    pub(super) fn start(count: usize) -> io::Result<Running> {
        let mut running = Running(Vec::new());
        for number in 0..count.max(1) {
            let poll = Poll::new()?;
            let mailbox = Mailbox::new(Waker::new(poll.registry(), MAIL)?);
            let current = Arc::new(Current::new(mailbox));
            let (runtime, this) = (Handle::current(), current.clone());
            thread::Builder::new()
                .name(format!("sockets-{number}"))
                .spawn(move || {
                    let _within = runtime.enter();
                    event_loop::run(poll, &this);
                })?;
            running.0.push(current);
        }
        Ok(running)
    }

    /// The way to a new client of a room where so many are already. Frames wait until its socket is
    /// there.
    pub(super) fn way(
        &self,
        room: &RoomId,
        crowd: usize,
        protocol: Protocol,
        limits: Limits,
    ) -> Way {
        let mut hasher = DefaultHasher::new();
        room.hash(&mut hasher);
        let at = (hasher.finish() as usize).wrapping_add(crowd / TOGETHER) % self.0.len();
        Way::new(self.0[at].mailbox(), room.clone(), protocol, limits)
    }
}

/// What bytes of a client say that come in pieces of this length, in words.
#[doc(hidden)]
pub fn items(bytes: &[u8], piece: usize) -> Vec<String> {
    let (mut parser, mut items) = (frame::Parser::default(), Vec::new());
    for piece in bytes.to_vec().chunks_mut(piece) {
        let mut at = 0;
        while at < piece.len() {
            match parser.next(&mut piece[at..]) {
                Ok((count, item)) => {
                    at += count;
                    items.extend(item.map(|item| format!("{item:?}")));
                }
                Err(close) => {
                    items.push(format!("{close:?}"));
                    return items;
                }
            }
        }
    }
    items
}

impl connection::Talk for Session {
    fn receive(&mut self, message: Incoming<'_>) -> Option<Duration> {
        self.collect(message)
    }

    fn submit(&mut self) {
        Session::submit(self);
    }

    fn charge_overhead(&mut self, bytes: usize) -> Option<Duration> {
        self.empty(bytes)
    }

    fn ponged(&mut self, after: Duration) {
        metrics::ponged(after);
    }
}

impl connection::Talk for Talk {
    fn receive(&mut self, message: Incoming<'_>) -> Option<Duration> {
        (**self).receive(message)
    }

    fn submit(&mut self) {
        (**self).submit();
    }

    fn charge_overhead(&mut self, bytes: usize) -> Option<Duration> {
        (**self).charge_overhead(bytes)
    }

    fn ponged(&mut self, after: Duration) {
        (**self).ponged(after);
    }
}

#[cfg(test)]
mod instructions_tests;
#[cfg(test)]
mod tests;
