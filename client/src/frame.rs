//! What clients and servers say to each other, whichever protocol carries it.

use crate::token::Token;
use bytes::Bytes;

/// What a client says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientFrame {
    /// A message for the room.
    Send {
        /// 1-64 visible ASCII characters, unique per room and user; the text protocol has none.
        id: String,
        /// A label: whom it is addressed to.
        to: Option<String>,
        /// What it says.
        content: Content,
    },
    /// Asks for earlier events.
    History {
        /// Comes back with the answer.
        id: String,
        /// Only events below this place; `None`: the newest.
        before: Option<u64>,
        /// How many, 1-500.
        limit: u16,
    },
    /// Asks who is there.
    Members {
        /// Comes back with the answer.
        id: String,
        /// Only users behind this name; `None`: from the first one on.
        after: Option<String>,
    },
    /// Asks whether the server is there.
    Ping {
        /// Comes back with the answer.
        id: String,
    },
    /// Stays, with a new token.
    Token {
        /// Comes back with the answer.
        id: String,
        /// The token.
        token: Token,
    },
    /// Answers a challenge.
    Proof {
        /// The server as this client calls it.
        host: String,
        /// Over what the protocol says.
        signature: [u8; 64],
        /// The same by the former key, if one was named.
        former: Option<[u8; 64]>,
    },
}

/// What a message says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// 1-16384 bytes of text.
    Text(String),
    /// At most 64 KiB that the service cannot read.
    Sealed(Bytes),
    /// What changes the group of a sealed room: at most 96,000 bytes.
    Handshake(Bytes),
}

/// What a room asks of those who come, since it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// Nothing.
    Open,
    /// A proven key.
    Proven,
    /// A proven key, and content that only members of its group read.
    Sealed,
}

impl Policy {
    /// As the protocol spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Proven => "proven",
            Self::Sealed => "sealed",
        }
    }
}

/// What a server says. A frame of a later protocol is `Other`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerFrame {
    /// A proof of the key is asked for, as the client wished; before the welcome.
    Challenge {
        /// 32 bytes.
        nonce: Bytes,
    },
    /// The session is in; the first frame.
    Welcome(Welcome),
    /// Something happened in the room.
    Event(Event),
    /// A message is stored and will be decided.
    Accepted {
        /// Its id.
        id: String,
    },
    /// A message is in the journal, for good.
    Journaled {
        /// Its id.
        id: String,
        /// Its place in the room.
        seq: u64,
        /// The ownership of the room's shard that wrote it.
        epoch: u64,
        /// Whether it was sent before, and has the place that it got then.
        duplicate: bool,
    },
    /// A message, or a frame that was not understood, is refused.
    Rejected {
        /// Its id, if it has one.
        id: Option<String>,
        /// Why, as the protocol spells it.
        reason: String,
        /// Why, for a person.
        message: String,
        /// When trying again can help, after so many milliseconds.
        retry_after_ms: Option<u64>,
        /// Of `stale_epoch`: the place of the event that was faster.
        seq: Option<u64>,
    },
    /// Earlier events, ascending.
    History(Page),
    /// Who is there.
    Members {
        /// That of the question.
        id: String,
        /// Users, by name.
        members: Vec<String>,
        /// Whether there are more behind the last of them.
        more: bool,
    },
    /// The answer to a ping.
    Pong {
        /// That of the question.
        id: String,
    },
    /// Continuity was lost: forget.
    Reset {
        /// The first event that follows.
        seq: u64,
        /// Why.
        reason: String,
    },
    /// The server is about to close.
    Bye {
        /// Why.
        reason: String,
        /// When to come back.
        reconnect_after_ms: u64,
    },
    /// The token of this session expires.
    Expiring {
        /// When, from now.
        expires_in_ms: u64,
    },
    /// A new token was taken.
    Refreshed {
        /// That of its frame.
        id: String,
        /// When it expires, from now.
        expires_in_ms: Option<u64>,
    },
    /// A type that this client does not know.
    Other,
}

/// The first frame of a session.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Welcome {
    /// The room.
    pub room: String,
    /// The user.
    pub user: String,
    /// The name of this session.
    pub session: String,
    /// The last place of the room, the own `joined` included; `None` over the text protocol.
    pub seq: Option<u64>,
    /// Whether everything that was missed follows.
    pub recovered: bool,
    /// Who is there, by name: of many the first part.
    pub members: Vec<String>,
    /// How many are there, when `members` has not all of them.
    pub member_count: Option<u64>,
    /// The ownership of the room's shard.
    pub epoch: u64,
    /// The gateway's node.
    pub node: String,
    /// Whether this session has proven its key; older servers never say so.
    pub proven: bool,
    /// What the room asks, as [`Policy`] or a later word; empty: nothing, or an older server.
    pub policy: String,
}

/// One place in the room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The place: 1, 2, 3 ...
    pub seq: u64,
    /// Milliseconds since 1970 UTC; 0 over the text protocol, which does not tell.
    pub at: u64,
    /// Whose it is.
    pub from: String,
    /// Whom it is addressed to; `None`: the whole room.
    pub to: Option<String>,
    /// The id of the message, if it has one.
    pub id: Option<String>,
    /// What happened.
    pub body: Body,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// A user came.
    Joined,
    /// A user went.
    Left,
    /// A message. Over the text protocol control characters in it are escaped for ever.
    Text(String),
    /// A message that the service cannot read.
    Sealed(Bytes),
    /// A sealed message of which the text protocol tells only the length in bytes.
    SealedOf(usize),
    /// What changes the group of a sealed room.
    Handshake(Bytes),
    /// An operator took the key away from the name: whoever comes next under it may be another
    /// one.
    Unpinned,
    /// The key of the name signed that another one takes its place, that of the next who joins under
    /// it.
    KeyChanged,
    /// An operator had everything before it removed: forget it, too. `from` is `*`.
    Purged,
    /// An operator had the content of what this user said before it erased: forget it, too.
    Erased,
    /// A message whose content was erased.
    ErasedText,
    /// A kind that this client does not know: skip it, but count its place.
    Other(String),
}

impl Event {
    /// The kind as the protocol spells it.
    pub fn kind(&self) -> &str {
        match &self.body {
            Body::Joined => "joined",
            Body::Left => "left",
            Body::Unpinned | Body::KeyChanged => "unpinned",
            Body::Purged => "purged",
            Body::Erased => "erased",
            Body::Text(_) | Body::ErasedText => "text",
            Body::Sealed(_) | Body::SealedOf(_) => "sealed",
            Body::Handshake(_) => "handshake",
            Body::Other(kind) => kind,
        }
    }

    /// The text of a message.
    pub fn text(&self) -> Option<&str> {
        match &self.body {
            Body::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The bytes of a sealed message.
    pub fn sealed_bytes(&self) -> Option<usize> {
        match &self.body {
            Body::Sealed(bytes) => Some(bytes.len()),
            Body::SealedOf(bytes) => Some(*bytes),
            _ => None,
        }
    }
}

/// Earlier events.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// That of the question.
    pub id: String,
    /// Ascending.
    pub events: Vec<Event>,
    /// Whether there are earlier ones.
    pub more: bool,
    /// First and last place between the last event and what was asked for that are gone for ever.
    pub missing: Option<(u64, u64)>,
}
