//! The three protocols: frames to and from what a WebSocket carries. Pure.

pub mod json;
pub mod proto;
pub mod text;

use crate::frame::{ClientFrame, ServerFrame};
use tokio_tungstenite::tungstenite::Message;

/// In which form frames travel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// Lines, made for people: no ids and no answers, so that a message is known to be journaled
    /// when it comes back, and nothing is sent again after a connection broke.
    Text,
    /// One JSON object per frame.
    #[default]
    Json,
    /// One protobuf message per frame: the smallest.
    Proto,
}

/// What could not be read; never the bytes themselves, which may hold somebody's message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a frame of the server that is no {what}")]
pub struct DecodeError {
    what: &'static str,
}

impl DecodeError {
    pub(crate) fn new(what: &'static str) -> Self {
        Self { what }
    }
}

/// Frames of one session.
#[derive(Debug, Clone)]
pub struct Codec {
    protocol: Protocol,
    room: String,
    user: String,
}

impl Codec {
    /// `room` and `user`: lines of the text protocol name them.
    pub fn new(protocol: Protocol, room: &str, user: &str) -> Self {
        Self {
            protocol,
            room: room.into(),
            user: user.into(),
        }
    }

    /// In which form frames travel.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// What a client says; `None`: the text protocol has no words for it.
    pub fn encode(&self, frame: &ClientFrame) -> Option<Message> {
        match self.protocol {
            Protocol::Text => text::encode(&self.user, frame).map(Message::text),
            Protocol::Json => Some(Message::text(json::encode(frame))),
            Protocol::Proto => Some(Message::binary(proto::encode(frame))),
        }
    }

    /// What a server says.
    ///
    /// # Errors
    /// It is not of this protocol.
    pub fn decode(&self, message: &Message) -> Result<ServerFrame, DecodeError> {
        match (self.protocol, message) {
            (Protocol::Text, Message::Text(line)) => text::decode(&self.room, &self.user, line),
            (Protocol::Json, Message::Text(text)) => json::decode(text),
            (Protocol::Proto, Message::Binary(bytes)) => proto::decode(bytes),
            _ => Err(DecodeError::new("frame of this protocol")),
        }
    }
}

impl Protocol {
    /// The subprotocol that a request names; none for text.
    pub fn subprotocol(self) -> Option<&'static str> {
        match self {
            Self::Text => None,
            Self::Json => Some("safechat.v1+json"),
            Self::Proto => Some("safechat.v1+proto"),
        }
    }

    /// Whether messages have ids, and are answered.
    pub fn has_ids(self) -> bool {
        self != Self::Text
    }
}

impl std::str::FromStr for Protocol {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            "proto" | "protobuf" => Ok(Self::Proto),
            other => Err(format!("{other}: is neither text, json nor proto")),
        }
    }
}
