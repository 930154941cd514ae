//! What a server speaks: how a session joins and sends, and what a frame says. All that is checked
//! and measured is the same for every dialect, so that figures can be compared.
//!
//! Only the first member that gets an event has it read here; the others compare its bytes. So a
//! dialect cuts a frame into messages in the same way for all members.

mod centrifugo;
mod safechat;
mod socketio;

use bytes::Bytes;
use safe_chat_client::Event;
pub(super) use safechat::{proof, send_sealed};

/// See the module.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Dialect {
    /// The protocol of safe-chat, as JSON.
    #[default]
    SafeChat,
    /// Centrifugo's bidirectional JSON protocol. `keeps`: its channels have a history, from which
    /// sessions resume; without one it is faster.
    Centrifugo {
        /// See above.
        keeps: bool,
    },
    /// Events of socket.io that carry the frames of safe-chat.
    SocketIo,
}

/// A message of a server, whatever it speaks.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Incoming {
    /// A part of a handshake.
    Greeting,
    /// A key is to be proven.
    Challenge(Bytes),
    /// The session is in.
    Welcome {
        /// The last place of the room.
        head: u64,
        /// Whether everything that was missed follows.
        recovered: bool,
    },
    /// The session is not let in.
    Refused(String),
    Event(Event),
    /// A message is as safe as this server makes it.
    Answered {
        id: String,
        /// Its place, where the server tells.
        seq: Option<u64>,
    },
    Rejected {
        id: Option<String>,
        reason: String,
    },
    /// The answer to a ping of this side.
    Pong,
    /// A ping of the other side, and what to answer.
    Ping(&'static str),
    Reset {
        seq: u64,
        reason: String,
    },
    Bye {
        reason: String,
    },
    /// Nothing that matters here.
    Other,
}

/// Who joins what.
pub(super) struct Seat<'a> {
    pub(super) room: &'a str,
    pub(super) user: &'a str,
    pub(super) since: Option<u64>,
    /// Whether it proves its key, of a server of this project.
    pub(super) is_proven: bool,
}

impl Dialect {
    /// Path with query, and subprotocol, of the request for a WebSocket.
    pub(super) fn target(self, seat: &Seat<'_>) -> (String, Option<&'static str>) {
        match self {
            Self::SafeChat => safechat::target(seat),
            Self::Centrifugo { .. } => ("/connection/websocket".into(), None),
            Self::SocketIo => ("/socket.io/?EIO=4&transport=websocket".into(), None),
        }
    }

    /// What is said first, if the request did not say it all.
    pub(super) fn opening(self, seat: &Seat<'_>) -> Option<String> {
        match self {
            Self::SafeChat => None,
            Self::Centrifugo { keeps } => Some(centrifugo::opening(seat, keeps)),
            Self::SocketIo => Some(socketio::opening(seat)),
        }
    }

    /// A message for a room.
    pub(super) fn send(self, room: &str, id: String, text: String) -> String {
        match self {
            Self::SafeChat => safechat::send(id, text),
            Self::Centrifugo { keeps } => centrifugo::send(room, keeps, &id, &text),
            Self::SocketIo => socketio::send(id, text),
        }
    }

    /// Opcode and payload of a ping: one that the service answers, or else its WebSocket.
    pub(super) fn ping(self) -> (u8, &'static [u8]) {
        match self {
            Self::SafeChat => (1, br#"{"type":"ping","id":"p"}"#),
            Self::Centrifugo { .. } | Self::SocketIo => (9, b"p"),
        }
    }

    /// Cuts a frame into messages.
    pub(super) fn messages(self, payload: &[u8], each: &mut dyn FnMut(&[u8])) {
        match self {
            Self::SafeChat => each(payload),
            Self::Centrifugo { .. } => centrifugo::messages(payload, each),
            Self::SocketIo => each(socketio::message(payload)),
        }
    }

    /// What a message says; `None`: it is none. `next`: the place of an event that does not tell
    /// its own.
    pub(super) fn read(self, message: &[u8], next: u64) -> Option<Incoming> {
        let text = std::str::from_utf8(message).ok()?;
        match self {
            Self::SafeChat => safechat::read(text),
            Self::Centrifugo { .. } => centrifugo::read(text, next),
            Self::SocketIo => socketio::read(text),
        }
    }
}
