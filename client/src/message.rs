//! What is sent, and what becomes of it.

use crate::{close::Lost, frame::Content};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;

/// Bytes of a text that the service takes. A longer one is not even sent: its frame could break the
/// limit that ends a connection.
pub const TEXT_BYTES: usize = 16_384;
/// Bytes of sealed content that the service takes.
pub const SEALED_BYTES: usize = 65_536;

/// Bytes of a handshake that the service takes.
pub const HANDSHAKE_BYTES: usize = 96_000;

/// A message for the room. A text is one already: `client.send("Hello")`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub(crate) id: String,
    pub(crate) to: Option<String>,
    pub(crate) content: Content,
}

impl Message {
    /// A text, with an id that no other session of the same user chooses, too.
    pub fn text(text: impl Into<String>) -> Self {
        Self::new(Content::Text(text.into()))
    }

    /// Bytes that the service cannot read.
    pub fn sealed(bytes: impl Into<Bytes>) -> Self {
        Self::new(Content::Sealed(bytes.into()))
    }

    /// What changes the group of a sealed room.
    pub fn handshake(bytes: impl Into<Bytes>) -> Self {
        Self::new(Content::Handshake(bytes.into()))
    }

    fn new(content: Content) -> Self {
        Self {
            id: URL_SAFE_NO_PAD.encode(rand::random::<[u8; 12]>()),
            to: None,
            content,
        }
    }

    /// Addresses it: a label, not privacy.
    #[must_use]
    pub fn to(mut self, user: impl Into<String>) -> Self {
        self.to = Some(user.into());
        self
    }

    /// Gives it an id of yours, 1-64 visible ASCII characters: the same id sent again, even by
    /// another process, is the same message.
    #[must_use]
    pub fn with_id(mut self, id: impl Into<String>) -> Self {
        self.id = id.into();
        self
    }

    /// Its id.
    pub fn id(&self) -> &str {
        &self.id
    }

    pub(crate) fn check(&self) -> Result<(), SendError> {
        let (bytes, most) = match &self.content {
            Content::Text(text) => (text.len(), TEXT_BYTES),
            Content::Sealed(bytes) => (bytes.len(), SEALED_BYTES),
            Content::Handshake(bytes) => (bytes.len(), HANDSHAKE_BYTES),
        };
        if bytes > most {
            return Err(SendError::Rejected {
                reason: "too_large".into(),
                message: format!("{bytes} bytes, at most {most} are possible"),
            });
        }
        Ok(())
    }
}

impl<T: Into<String>> From<T> for Message {
    fn from(text: T) -> Self {
        Self::text(text)
    }
}

/// The message is in the journal: no failure takes it back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The id.
    pub id: String,
    /// Its place in the room.
    pub seq: u64,
    /// What is known of whether it was there before this call.
    pub duplicate: Duplicate,
}

/// Whether a message was in the room before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Duplicate {
    /// It got its place by this sending.
    No,
    /// The server says that the id was sent before: by this client, which sends again after a
    /// connection broke, or by somebody else with the same user and id.
    Yes,
    /// The server never said: the message was seen in the room after a connection broke, or the
    /// protocol has no answers.
    Unknown,
}

/// A message that is not known to be journaled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The service refused it, for good or more often than it was to be tried. It is not in the
    /// room.
    #[error("rejected ({reason}): {message}")]
    Rejected {
        /// As the protocol spells it.
        reason: String,
        /// For a person.
        message: String,
    },
    /// No answer in time: it may still come into the room. Sending it again with the same id makes
    /// one message of both.
    #[error("no answer in time: it may be journaled; send it again with the same id")]
    Unanswered,
    /// The connection broke before it came back, over a protocol without ids: whether it is in the
    /// room shows what follows.
    #[error("the connection broke, and the text protocol does not tell whether it was journaled")]
    Unknown,
    /// This protocol cannot carry it.
    #[error("the text protocol carries nothing but text")]
    NotInThisProtocol,
    /// A message with this id waits for its answer already.
    #[error("a message with this id waits for its answer already")]
    InUse,
    /// The client has ended; it may be journaled if it was under way.
    #[error("the client has ended")]
    Ended,
}

/// Why a client ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum End {
    /// It was closed here.
    #[error("closed")]
    Closed,
    /// Trying again cannot help.
    #[error("{0}")]
    Final(Lost),
    /// Sessions of the same device took over, again and again.
    #[error("replaced: again and again by a session of the same device")]
    Replaced,
    /// Nobody took the notices of this client, far beyond what its queue holds.
    #[error("nobody takes what this client has to tell: read its notices, or drop it")]
    NotRead,
}
