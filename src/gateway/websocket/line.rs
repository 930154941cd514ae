//! What others hold of one client whose socket a loop owns: they put frames in and end it, from any
//! thread, without ever waiting. What waits for the client is counted here, from the moment it is
//! put in until it is written to the socket; over its bound the client is closed as slow.

use super::{
    Upgraded, encode,
    mailbox::{Mail, Mailbox},
};
use crate::{
    gateway::{
        Close, metrics,
        outbox::{Limits, OVERHEAD},
    },
    room::RoomId,
    wire::{Encoded, Protocol, ServerFrame, SharedEvent},
};
use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering::Relaxed},
};
use tokio::sync::Notify;

/// The slot of what the loop does not know, or not any more.
pub(super) const NOWHERE: u32 = u32::MAX;

/// A client of a loop.
pub(super) struct Line {
    mailbox: Arc<Mailbox>,
    /// Where the loop has it; only the loop uses it.
    pub(super) slot: AtomicU32,
    room: RoomId,
    protocol: Protocol,
    limits: Limits,
    bytes: AtomicUsize,
    frames: AtomicUsize,
    close: OnceLock<Close>,
    /// Nothing is kept for it any more.
    is_gone: AtomicBool,
    space: Notify,
}

/// The way to a client of a loop. Clones are the same.
#[derive(Clone)]
pub(in crate::gateway) struct Way(pub(super) Arc<Line>);

impl Way {
    pub(super) fn new(
        mailbox: Arc<Mailbox>,
        room: RoomId,
        protocol: Protocol,
        limits: Limits,
    ) -> Self {
        Self(Arc::new(Line {
            mailbox,
            slot: AtomicU32::new(NOWHERE),
            room,
            protocol,
            limits,
            bytes: AtomicUsize::new(0),
            frames: AtomicUsize::new(0),
            close: OnceLock::new(),
            is_gone: AtomicBool::new(false),
            space: Notify::new(),
        }))
    }

    /// Gives the loop the client's socket, with its session.
    pub(in crate::gateway) fn attach(&self, upgraded: Upgraded) {
        let mail = Mail::Socket(self.0.clone(), Box::new(upgraded));
        self.0.mailbox.send(mail);
    }

    pub(in crate::gateway) fn protocol(&self) -> Protocol {
        self.0.protocol
    }

    /// Puts a frame in, if the protocol has it.
    pub(in crate::gateway) fn push(&self, frame: &ServerFrame) {
        if let Some(encoded) = self.0.protocol.encode(&self.0.room, frame) {
            self.extend(std::slice::from_ref(&encoded));
        }
    }

    /// Puts frames in.
    pub(in crate::gateway) fn extend(&self, frames: &[Encoded]) {
        let length = frames
            .iter()
            .map(|frame| encode::length(frame.bytes().len()))
            .sum();
        let mut bytes = Vec::with_capacity(length);
        frames
            .iter()
            .for_each(|frame| encode::put(&mut bytes, frame));
        self.put(bytes, frames.len());
    }

    /// Puts events in as long as at least half of the space is free; returns how many.
    pub(in crate::gateway) fn fill<'a>(
        &self,
        events: impl Iterator<Item = &'a SharedEvent>,
    ) -> usize {
        let line = &self.0;
        let (mut bytes, mut count) = (Vec::new(), 0);
        for event in events {
            if line.is_closed() || !line.has_space(bytes.len() + count * OVERHEAD, count) {
                break;
            }
            encode::put(&mut bytes, &event.encoded(line.protocol));
            count += 1;
        }
        if count > 0 {
            self.put(bytes, count);
        }
        count
    }

    fn put(&self, bytes: Vec<u8>, count: usize) {
        let line = &self.0;
        if line.is_closed() || count == 0 {
            return;
        }
        let is_within = line.count(bytes.len(), count);
        let mail = Mail::Frames(line.clone(), bytes.into(), count as u32);
        line.mailbox.send(mail);
        if !is_within {
            metrics::slow();
            self.close(Close::Slow);
        }
    }

    /// Waits until half of the space is free; `false` when nothing can be put in any more.
    pub(in crate::gateway) async fn space(&self) -> bool {
        let line = &self.0;
        loop {
            let freed = line.space.notified();
            tokio::pin!(freed);
            freed.as_mut().enable();
            if line.is_closed() {
                return false;
            }
            if line.has_space(0, 0) {
                return true;
            }
            freed.await;
        }
    }

    /// Ends it after what waits, or at once when the reason says so. The first reason counts.
    pub(in crate::gateway) fn close(&self, close: Close) {
        if self.0.close.set(close).is_ok() {
            self.0.mailbox.send(Mail::Close(self.0.clone(), close));
            self.0.space.notify_waiters();
        }
    }

    /// Nothing is kept for it from now on.
    pub(in crate::gateway) fn abandon(&self) {
        self.0.drop_all();
        self.0.mailbox.send(Mail::Gone(self.0.clone()));
    }

    pub(in crate::gateway) fn waiting_bytes(&self) -> usize {
        match self.0.is_gone.load(Relaxed) {
            true => 0,
            false => self.0.bytes.load(Relaxed),
        }
    }

    pub(in crate::gateway) fn closed(&self) -> Option<Close> {
        self.0.close.get().copied()
    }
}

impl Line {
    pub(super) fn mailbox(&self) -> &Arc<Mailbox> {
        &self.mailbox
    }

    pub(super) fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Counts what waits from now on. Whether that is within the bounds; a single frame may be
    /// larger: the members of a large room.
    pub(super) fn count(&self, bytes: usize, frames: usize) -> bool {
        let cost = bytes + frames * OVERHEAD;
        let bytes = self.bytes.fetch_add(cost, Relaxed) + cost;
        let frames = self.frames.fetch_add(frames, Relaxed) + frames;
        frames <= 1 || (bytes <= self.limits.bytes() && frames <= self.limits.frames)
    }

    /// So much does not wait any more.
    pub(super) fn release(&self, bytes: usize, frames: usize) {
        if self.is_gone.load(Relaxed) {
            return;
        }
        self.bytes.fetch_sub(bytes + frames * OVERHEAD, Relaxed);
        self.frames.fetch_sub(frames, Relaxed);
        if self.has_space(0, 0) {
            self.space.notify_waiters();
        }
    }

    /// Ends it from its loop: why, if nobody has said that before.
    pub(super) fn end(&self, close: Option<Close>) {
        if let Some(close) = close {
            let _ = self.close.set(close);
        }
        self.drop_all();
    }

    fn drop_all(&self) {
        self.is_gone.store(true, Relaxed);
        self.space.notify_waiters();
    }

    fn is_closed(&self) -> bool {
        self.is_gone.load(Relaxed) || self.close.get().is_some()
    }

    /// Whether half of the space is free beside so much.
    fn has_space(&self, bytes: usize, frames: usize) -> bool {
        self.bytes.load(Relaxed) + bytes <= self.limits.bytes() / 2
            && self.frames.load(Relaxed) + frames <= self.limits.frames / 2
    }
}
