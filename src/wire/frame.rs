//! The frames, independent of how they look on a connection.

use super::{SharedEvent, proof::Nonce};
use crate::room::{
    Body, CommandId, Epoch, Event, Identity, Policy, Reason, Rejection, Seq, SessionId, Token,
    UserId,
};
use bytes::Bytes;
use std::{borrow::Cow, fmt, sync::Arc};

/// A WebSocket message as it came in.
#[derive(Clone, Copy)]
pub enum Incoming<'a> {
    /// A text message.
    Text(&'a str),
    /// A binary message.
    Binary(&'a [u8]),
}

impl Incoming<'_> {
    /// What it is made of.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Binary(bytes) => bytes,
        }
    }
}

/// What a client wants. Everything in it is checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientFrame {
    /// To say something.
    Send(Message),
    /// Earlier events.
    History {
        /// For the answer: 1 to 64 visible ASCII characters.
        id: Arc<str>,
        /// Events below this place; `None`: the last ones.
        before: Option<Seq>,
        /// How many at most: 1 to 500.
        limit: u16,
    },
    /// Who is here.
    Members {
        /// For the answer.
        id: Arc<str>,
        /// Those behind this name; `None`: from the first one on.
        after: Option<UserId>,
    },
    /// A sign of life.
    Ping {
        /// For the answer.
        id: Arc<str>,
    },
    /// To stay, with a new token.
    Token {
        /// For the answer.
        id: Arc<str>,
        /// The token, as it came.
        token: Token,
    },
}

/// What a client wants to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The client's id; `None` only in the text protocol, where the gateway gives one.
    pub id: Option<CommandId>,
    /// Label: whom it is addressed to; `None`: the whole room.
    pub to: Option<UserId>,
    /// The content, within the limits of a room.
    pub body: Body,
}

/// What a client sent, not accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The id of the frame, when it has a valid one and was read that far.
    pub id: Option<Arc<str>>,
    /// Why.
    pub rejection: Rejection,
    /// Whether the frame was understood, which ends a row of bad frames. Not for `bad_frame` and
    /// `unsupported`.
    pub understood: bool,
}

impl Refused {
    fn new(id: Option<Arc<str>>, reason: Reason, message: impl Into<String>) -> Self {
        let understood = !matches!(reason, Reason::BadFrame | Reason::Unsupported);
        Self {
            id,
            rejection: Rejection::new(reason, message),
            understood,
        }
    }

    pub(super) fn bad_frame(message: impl Into<String>) -> Self {
        Self::new(None, Reason::BadFrame, message)
    }

    pub(super) fn bad_field(id: Option<Arc<str>>, message: impl Into<String>) -> Self {
        Self::new(id, Reason::BadField, message)
    }

    pub(super) fn unsupported(id: Option<Arc<str>>) -> Self {
        Self::new(
            id,
            Reason::Unsupported,
            "this type of frame is not known: send, history, members, ping and token are",
        )
    }

    pub(super) fn too_large(id: Option<Arc<str>>, message: impl Into<String>) -> Self {
        Self::new(id, Reason::TooLarge, message)
    }
}

impl From<Refused> for ServerFrame {
    fn from(refused: Refused) -> Self {
        Self::Rejected {
            id: refused.id,
            rejection: refused.rejection,
        }
    }
}

/// What the server says.
#[derive(Debug, Clone)]
pub enum ServerFrame {
    /// A client that wants to prove its key is to sign this first.
    Challenge {
        /// Never used before or again.
        nonce: Nonce,
        /// How long the proof may take, in milliseconds.
        within_ms: u64,
    },
    /// The first frame: the session is in.
    Welcome {
        /// Whose session.
        user: UserId,
        /// The session.
        session: SessionId,
        /// The head of the room.
        seq: Seq,
        /// Whether everything after the wanted place follows.
        recovered: bool,
        /// Who is here, by name: the first part, if they are many.
        members: Vec<UserId>,
        /// How many more there are behind the last of them.
        left_out: usize,
        /// The owner's epoch.
        epoch: Epoch,
        /// The name of the node.
        node: String,
        /// What the client has shown of its key.
        identity: Identity,
        /// What the room asks of those who come.
        policy: Policy,
    },
    /// Something happened.
    Event(SharedEvent),
    /// A message is stored on the bus.
    Accepted {
        /// Its id.
        id: Arc<str>,
    },
    /// A message is in the journal.
    Journaled {
        /// Its id.
        id: Arc<str>,
        /// Its place.
        seq: Seq,
        /// The owner's epoch.
        epoch: Epoch,
        /// Whether it was there before.
        duplicate: bool,
    },
    /// A frame or a message is refused.
    Rejected {
        /// Its id, if it had a valid one.
        id: Option<Arc<str>>,
        /// Why.
        rejection: Rejection,
    },
    /// Earlier events.
    History {
        /// The id of the question; `None` over HTTP.
        id: Option<Arc<str>>,
        /// The events, ascending.
        events: Vec<Event>,
        /// Whether there are earlier ones.
        more: bool,
        /// Places that are gone for ever, between the last of the events and what was asked for.
        missing: Option<(Seq, Seq)>,
    },
    /// Who is here.
    Members {
        /// The id of the question.
        id: Arc<str>,
        /// The users, by name.
        members: Vec<UserId>,
        /// Whether there are more behind the last of them.
        more: bool,
    },
    /// The answer to a ping.
    Pong {
        /// Its id.
        id: Arc<str>,
    },
    /// The token of the session expires: bring another one.
    Expiring {
        /// When, in milliseconds from now.
        expires_in_ms: u64,
    },
    /// A new token was taken.
    Refreshed {
        /// The id of its frame.
        id: Arc<str>,
        /// When it expires, in milliseconds from now; `None`: this room asks for no token.
        expires_in_ms: Option<u64>,
    },
    /// Continuity was lost: forget what was before.
    Reset {
        /// The first event that follows.
        seq: Seq,
        /// Why, for a person.
        reason: Cow<'static, str>,
    },
    /// The server is about to close.
    Bye {
        /// Why: a word, such as `draining`.
        reason: Cow<'static, str>,
        /// When to come back, in milliseconds.
        reconnect_after_ms: u64,
    },
}

/// A frame as it goes out. Cheap to clone: the bytes are shared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Encoded {
    /// A text message.
    Text(Utf8),
    /// A binary message.
    Binary(Bytes),
}

impl Encoded {
    /// The bytes of the message.
    pub fn bytes(&self) -> &Bytes {
        match self {
            Self::Text(text) => text.bytes(),
            Self::Binary(bytes) => bytes,
        }
    }
}

/// Shared bytes that are valid UTF-8. `Debug` shows their number only, for they hold messages.
#[derive(Clone, PartialEq, Eq)]
pub struct Utf8(Bytes);

impl Utf8 {
    /// The bytes.
    pub fn bytes(&self) -> &Bytes {
        &self.0
    }

    /// The text. Checks the bytes again, as safe Rust must.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("made of a String, never changed")
    }
}

impl From<String> for Utf8 {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl From<Utf8> for Bytes {
    fn from(text: Utf8) -> Self {
        text.0
    }
}

impl fmt::Debug for Utf8 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Utf8({} bytes)", self.0.len())
    }
}
