//! What a client, or the cluster on its behalf, wants of a room.

use super::{
    DeviceId, Identity, Incarnation, Key, Millis, Policy, RequestId, Retention, SessionId, UserId,
};
use bytes::Bytes;
use std::{fmt, sync::Arc};

/// A command as it lies on the bus. Deciding it needs nothing else but the room's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// When the bus stored it; the time of the events that it causes.
    pub at: Millis,
    /// What is wanted.
    pub action: Action,
}

/// What is wanted of a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// A session opens. Answered before the connection is upgraded.
    Open {
        /// The new session; never seen before, except when this very command is repeated.
        session: SessionId,
        /// Whose session.
        user: UserId,
        /// The key that the user brings.
        key: Key,
        /// What the gateway was shown of it.
        identity: Identity,
        /// An earlier session of the same user and device is replaced.
        device: Option<DeviceId>,
        /// The node that holds the connection.
        gateway: Incarnation,
        /// The policy that the room is to have if this makes it, or must have; `None`: any.
        policy: Option<Policy>,
        /// A key that signed, to this gateway, that `key` takes its place: the name changes hands
        /// if this is its key.
        former: Option<Key>,
    },
    /// A session ended. One that was never opened cannot be opened any more.
    Close {
        /// The session that ended.
        session: SessionId,
        /// Its gateway, which alone may say so; `None`: an older version submitted it, which does
        /// not say.
        gateway: Option<Incarnation>,
    },
    /// The node is gone, and all of its sessions with it.
    Abandon {
        /// The node that is gone.
        gateway: Incarnation,
    },
    /// A message for the room.
    Send {
        /// Who sends.
        user: UserId,
        /// The key that the user brought.
        key: Key,
        /// What the gateway was shown of it; of no account in a session, which has shown it.
        identity: Identity,
        /// The session it came through, which must be open, and which of its messages it is;
        /// `None`: sent over HTTP, where no membership is needed.
        turn: Option<Turn>,
        /// Which message of the session must be in the room before this one: the last that was not
        /// when this one was submitted; 0: none.
        after: u64,
        /// Which request brought it; `None`: it came through a session, or an older version
        /// submitted it.
        request: Option<RequestId>,
        /// Unique per room and user within the dedupe window.
        id: CommandId,
        /// Label: whom it is addressed to; `None`: the whole room.
        to: Option<UserId>,
        /// The content.
        body: Body,
    },
    /// What waited at a gateway when it submitted: messages of its sessions, in order.
    Batch {
        /// Whose batch, and which.
        from: ProducerSeq,
        /// The messages, 1 to [`super::Limits::BATCH`].
        messages: Arc<[BatchMessage]>,
    },
    /// An operator takes the key away from a name: its sessions end, and the next key is pinned.
    Unpin {
        /// The name.
        user: UserId,
    },
    /// An operator says how much of the past stays.
    Retain {
        /// Of this room; `None`: as much as of all rooms.
        own: Option<Retention>,
    },
    /// An operator has everything forgotten that was said, and who said it.
    Purge,
    /// An operator has the content of what a user said so far erased.
    Erase {
        /// The user.
        user: UserId,
    },
}

impl Action {
    /// How many decisions it takes.
    pub fn commands(&self) -> usize {
        match self {
            Self::Batch { messages, .. } => messages.len(),
            _ => 1,
        }
    }
}

/// A gateway's lane to a room, which numbers what it submits, like an idempotent producer of Kafka.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Producer {
    /// The gateway.
    pub gateway: Incarnation,
    /// A gateway that cannot go on with its numbers begins anew, in a higher generation.
    pub generation: u64,
}

/// A batch of a producer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProducerSeq {
    /// Whose.
    pub producer: Producer,
    /// Dense from 1 within the generation.
    pub sequence: u64,
}

/// A message of a session, within a batch. It has no key: that of its session was checked when it
/// opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchMessage {
    /// The session it came through, and which of its messages it is.
    pub turn: Turn,
    /// Who sends: the session's user.
    pub user: UserId,
    /// Unique per room and user within the dedupe window.
    pub id: CommandId,
    /// Label: whom it is addressed to; `None`: the whole room.
    pub to: Option<UserId>,
    /// The content.
    pub body: Body,
}

/// A message among those of its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Turn {
    /// The session.
    pub session: SessionId,
    /// Counts from 1 in the order in which the session sent them; 0: a gateway of an older version
    /// does not say.
    pub number: u64,
}

/// What a client did once that led to a message. Whatever submits or decides it again, a gateway or
/// the shard's next owner, does so for the same attempt; a client that sends again makes another
/// one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    /// A message of a session.
    Turn(Turn),
    /// A request without a session.
    Request(RequestId),
}

impl Attempt {
    /// The attempt of a message with these; `None`: an older version does not say.
    pub fn of(turn: Option<Turn>, request: Option<RequestId>) -> Option<Self> {
        match turn {
            Some(turn) => (turn.number > 0).then_some(Self::Turn(turn)),
            None => request.map(Self::Request),
        }
    }
}

/// What makes a repeated command recognisable.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum CommandId {
    /// Chosen by the client: 1 to 64 visible ASCII characters.
    Client(Arc<str>),
    /// Given by the gateway to a message of the text protocol, whose clients have no ids; never
    /// shown. `n` counts within the session.
    Gateway(SessionId, u64),
}

impl CommandId {
    /// The most characters of a client's id.
    pub const MAX: usize = 64;

    /// Accepts a client's id: 1 to 64 visible ASCII characters (0x21 to 0x7e).
    pub fn parse(text: &str) -> Option<Self> {
        let fits =
            (1..=Self::MAX).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        fits.then(|| Self::Client(text.into()))
    }

    /// The id as clients see it; `None` for one that a gateway gave.
    pub fn shown(&self) -> Option<&str> {
        match self {
            Self::Client(id) => Some(id),
            Self::Gateway(..) => None,
        }
    }
}

/// The content of a message. `Debug` shows its size only.
#[derive(Clone, PartialEq, Eq)]
pub enum Body {
    /// 1 to 16384 bytes of UTF-8.
    Text(Arc<str>),
    /// 1 to 65536 bytes that the service cannot read.
    Sealed(Bytes),
    /// 1 to [`super::Limits::HANDSHAKE`] bytes that change the group of a sealed room.
    Handshake(Bytes),
    /// None any more: an operator had what the user said erased. Nobody sends it.
    Erased,
}

impl Body {
    /// Bytes of content.
    pub fn size(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Sealed(bytes) | Self::Handshake(bytes) => bytes.len(),
            Self::Erased => 0,
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "Text({} bytes)", text.len()),
            Self::Sealed(bytes) => write!(f, "Sealed({} bytes)", bytes.len()),
            Self::Handshake(bytes) => write!(f, "Handshake({} bytes)", bytes.len()),
            Self::Erased => f.write_str("Erased"),
        }
    }
}
