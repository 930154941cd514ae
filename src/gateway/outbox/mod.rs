//! What waits for one client: frames already encoded, bounded by bytes and number. A room puts
//! frames in without ever waiting. Over the bound the client is closed as slow.
//!
//! There are two kinds: what is written by a loop of WebSockets ([`Way`]), and a queue that somebody
//! takes out of ([`queue`]). Both keep the order, whoever puts frames in.

mod queue;

pub(super) use queue::BATCH;

use super::{Close, websocket::Way};
use crate::{
    pressure::Pressure,
    room::{RoomId, Seq},
    wire::{Encoded, Protocol, ServerFrame, SharedEvent, Utf8},
};
use queue::Queue;
use std::task::{Context, Poll};

/// What a waiting frame takes beside its bytes.
pub(super) const OVERHEAD: usize = 64;
/// The part of its bytes that a client may still let wait when memory is short.
const SHORT: usize = 8;

/// How much may wait.
#[derive(Debug, Clone)]
pub(super) struct Limits {
    pub(super) bytes: usize,
    pub(super) frames: usize,
    pub(super) pressure: Pressure,
}

impl Limits {
    pub(super) fn bytes(&self) -> usize {
        if self.pressure.is_short() {
            self.bytes / SHORT
        } else {
            self.bytes
        }
    }
}

/// How a client gets what it gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Frames of a protocol.
    Frames(Protocol),
    /// Server-sent events: only events and resets.
    EventStream,
}

/// What is taken out.
#[derive(Debug, PartialEq, Eq)]
pub enum Taken {
    /// Frames, in order; at least one.
    Frames(Vec<Encoded>),
    /// Nothing follows: say this and end.
    Close(Close),
}

/// Frames on their way to one client. Clones are the same outbox.
#[derive(Clone)]
pub struct Outbox(Kind);

#[derive(Clone)]
enum Kind {
    Queue(Queue),
    Loop(Way),
}

impl Outbox {
    /// One that somebody takes out of.
    pub(super) fn new(room: RoomId, form: Form, limits: Limits) -> Self {
        Self(Kind::Queue(Queue::new(room, form, limits)))
    }

    /// One of a client whose socket a loop owns.
    pub(super) fn of_loop(way: Way) -> Self {
        Self(Kind::Loop(way))
    }

    /// The way to its client, if a loop owns its socket.
    pub(super) fn way(&self) -> Option<&Way> {
        match &self.0 {
            Kind::Loop(way) => Some(way),
            Kind::Queue(_) => None,
        }
    }

    /// How its client gets what it gets.
    pub fn form(&self) -> Form {
        match &self.0 {
            Kind::Queue(queue) => queue.form(),
            Kind::Loop(way) => Form::Frames(way.protocol()),
        }
    }

    /// All frames that wait, up to about 32 KiB; then, once none is left, why to end. Of a client
    /// whose socket a loop owns nothing is ever taken out.
    pub async fn take(&self) -> Taken {
        std::future::poll_fn(|cx| self.poll_take(cx)).await
    }

    /// As [`Self::take`]. One task at a time.
    pub fn poll_take(&self, cx: &mut Context<'_>) -> Poll<Taken> {
        match &self.0 {
            Kind::Queue(queue) => queue.poll_take(cx),
            Kind::Loop(_) => Poll::Pending,
        }
    }

    /// Why to end at once, without taking out what waits. Wakes the same task as
    /// [`Self::poll_take`].
    pub(super) fn poll_cut(&self, cx: &mut Context<'_>) -> Poll<Close> {
        match &self.0 {
            Kind::Queue(queue) => queue.poll_cut(cx),
            Kind::Loop(_) => Poll::Pending,
        }
    }

    /// Puts a frame in, if the client's form has such a frame.
    pub(super) fn push(&self, frame: &ServerFrame) {
        match &self.0 {
            Kind::Queue(queue) => queue.push(frame),
            Kind::Loop(way) => way.push(frame),
        }
    }

    /// Tells an event stream the place that it begins after, should it break before its first
    /// event. A session knows that from its welcome.
    pub(super) fn begin_after(&self, seq: Seq) {
        if let Kind::Queue(queue) = &self.0 {
            queue.begin_after(seq);
        }
    }

    /// Puts frames in.
    pub(super) fn extend(&self, frames: &[Encoded]) {
        match &self.0 {
            Kind::Queue(queue) => queue.extend(frames),
            Kind::Loop(way) => way.extend(frames),
        }
    }

    /// Puts events in as long as at least half of the space is free; returns how many. The rest is
    /// for live events.
    pub(super) fn fill<'a>(&self, events: impl Iterator<Item = &'a SharedEvent>) -> usize {
        match &self.0 {
            Kind::Queue(queue) => queue.fill(events),
            Kind::Loop(way) => way.fill(events),
        }
    }

    /// Waits until half of the space is free; `false` when nothing can be put in any more.
    pub(super) async fn space(&self) -> bool {
        match &self.0 {
            Kind::Queue(queue) => queue.space().await,
            Kind::Loop(way) => way.space().await,
        }
    }

    /// Ends it after what waits, or at once when the reason says so. The first reason counts.
    pub(super) fn close(&self, close: Close) {
        match &self.0 {
            Kind::Queue(queue) => queue.close(close),
            Kind::Loop(way) => way.close(close),
        }
    }

    /// Nobody takes out any more: everything is dropped, and nothing is kept from now on.
    pub(super) fn abandon(&self) {
        match &self.0 {
            Kind::Queue(queue) => queue.abandon(),
            Kind::Loop(way) => way.abandon(),
        }
    }

    /// Bytes that wait to be taken out, with what keeping them takes.
    pub(super) fn waiting_bytes(&self) -> usize {
        match &self.0 {
            Kind::Queue(queue) => queue.waiting_bytes(),
            Kind::Loop(way) => way.waiting_bytes(),
        }
    }

    /// Why it ends, if it does.
    pub(super) fn closed(&self) -> Option<Close> {
        match &self.0 {
            Kind::Queue(queue) => queue.closed(),
            Kind::Loop(way) => way.closed(),
        }
    }
}

impl Form {
    /// An event as it goes out.
    pub(super) fn event(self, event: &SharedEvent) -> Encoded {
        match self {
            Self::Frames(protocol) => event.encoded(protocol),
            Self::EventStream => Encoded::Text(stream_entry(
                &format!("id: {}", event.event().seq),
                event.json().as_str(),
            )),
        }
    }

    fn frame(self, room: &RoomId, frame: &ServerFrame) -> Option<Encoded> {
        match (self, frame) {
            (Self::Frames(protocol), _) => protocol.encode(room, frame),
            (Self::EventStream, ServerFrame::Event(event)) => Some(self.event(event)),
            (Self::EventStream, ServerFrame::Reset { seq, .. }) => {
                match Protocol::Json.encode(room, frame)? {
                    Encoded::Text(json) => {
                        // With an id of its own: else a browser keeps the id that was beyond the
                        // head, and skips what has come up to it when it connects again.
                        let fields = format!("event: reset\nid: {}", seq.0.saturating_sub(1));
                        Some(Encoded::Text(stream_entry(&fields, json.as_str())))
                    }
                    Encoded::Binary(_) => None,
                }
            }
            (Self::EventStream, _) => None,
        }
    }
}

fn stream_entry(fields: &str, json: &str) -> Utf8 {
    format!("{fields}\ndata: {json}\n\n").into()
}
