//! An event with its encodings: each protocol's is made when first needed, once, and shared by all
//! who get it.

use super::{Encoded, Protocol, Utf8, json, proto, text};
use crate::room::{Event, RoomId};
use bytes::Bytes;
use std::{
    fmt,
    sync::{Arc, OnceLock},
};

/// An event of a room, to be sent to many. Cheap to clone; all clones share the event and its
/// bytes.
#[derive(Clone)]
pub struct SharedEvent(Arc<Inner>);

struct Inner {
    room: RoomId,
    event: Event,
    text: OnceLock<Utf8>,
    json: OnceLock<Utf8>,
    proto: OnceLock<Bytes>,
}

impl SharedEvent {
    /// Wraps an event of `room`. Encodes nothing yet.
    pub fn new(room: RoomId, event: Event) -> Self {
        Self(Arc::new(Inner {
            room,
            event,
            text: OnceLock::new(),
            json: OnceLock::new(),
            proto: OnceLock::new(),
        }))
    }

    /// The event.
    pub fn event(&self) -> &Event {
        &self.0.event
    }

    /// The same event without its content.
    pub fn erased(&self) -> Self {
        Self::new(self.0.room.clone(), self.0.event.erased())
    }

    /// The frame of the event.
    pub fn encoded(&self, protocol: Protocol) -> Encoded {
        let Inner {
            room,
            event,
            text,
            proto,
            ..
        } = &*self.0;
        match protocol {
            Protocol::Text => Encoded::Text(text.get_or_init(|| text::event(room, event)).clone()),
            Protocol::Json => Encoded::Text(self.json()),
            Protocol::Proto => Encoded::Binary(proto.get_or_init(|| proto::event(event)).clone()),
        }
    }

    /// The JSON object of the event: the frame of the JSON protocol, and the data of a server-sent
    /// event.
    pub fn json(&self) -> Utf8 {
        self.0
            .json
            .get_or_init(|| json::event(&self.0.event))
            .clone()
    }
}

impl fmt::Debug for SharedEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.event.fmt(f)
    }
}
