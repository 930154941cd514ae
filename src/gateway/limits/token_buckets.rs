//! How much one session, user or address may send: so many frames and so many bytes, each with a
//! bucket of its own.

use super::{Limit, Settings, bucket::Bucket, keyed::Idle};
use crate::room::{Body, Rejection};

/// How many frames a question costs: it is more work to answer than a message is to take.
const QUESTION: u32 = 5;
/// Events of a page of history that count as one frame more.
const EVENTS: u32 = 100;

/// What something costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::gateway) struct Cost {
    frames: u32,
    bytes: u32,
}

impl Cost {
    /// One frame or request, whatever is in it.
    pub(in crate::gateway) const FRAME: Self = Self {
        frames: 1,
        bytes: 0,
    };

    /// A message that came without a frame.
    pub(in crate::gateway) fn message(body: &Body) -> Self {
        Self::bytes(body.size())
    }

    /// A frame of so many bytes.
    pub(super) fn bytes(bytes: usize) -> Self {
        Self::FRAME.of(bytes)
    }

    /// The same, in so many bytes.
    pub(super) fn of(self, bytes: usize) -> Self {
        Self {
            bytes: u32::try_from(bytes).unwrap_or(u32::MAX),
            ..self
        }
    }

    /// A question for the members.
    pub(super) const MEMBERS: Self = Self {
        frames: QUESTION,
        bytes: 0,
    };

    /// A token, whose signature has to be checked: a frame with one, or beside a request.
    pub(in crate::gateway) const TOKEN: Self = Self::MEMBERS;

    /// A proof of a request, beside the request: checking it is dear.
    pub(in crate::gateway) const PROOF: Self = Self {
        frames: QUESTION,
        bytes: 0,
    };

    /// So many signatures to check in one request.
    pub(in crate::gateway) fn frames(count: usize) -> Self {
        Self {
            frames: u32::try_from(count).unwrap_or(u32::MAX),
            bytes: 0,
        }
    }

    /// A handshake. Deciding it takes milliseconds of the owner, and it is read here, too.
    pub(in crate::gateway) const HANDSHAKE: Self = Self {
        frames: 10 * QUESTION,
        bytes: 0,
    };

    /// The public state of a group, which may be some hundred kilobytes.
    pub(in crate::gateway) const GROUP: Self = Self {
        frames: 2 * QUESTION,
        bytes: 0,
    };

    /// A page of history.
    pub(in crate::gateway) fn history(limit: u16) -> Self {
        Self {
            frames: QUESTION + u32::from(limit) / EVENTS,
            bytes: 0,
        }
    }

    /// The same where one frame is paid for already.
    pub(in crate::gateway) fn beyond_a_frame(self) -> Self {
        Self {
            frames: self.frames.saturating_sub(1),
            ..self
        }
    }
}

/// So many frames and so many bytes.
pub(in crate::gateway) struct TokenBuckets {
    frames: (Limit, Bucket),
    bytes: (Limit, Bucket),
}

impl TokenBuckets {
    pub(super) fn session(settings: &Settings) -> Self {
        Self {
            frames: (Limit::Session, Bucket::new(settings.session)),
            bytes: (Limit::SessionBytes, Bucket::new(settings.session_bytes)),
        }
    }

    pub(super) fn user(settings: &Settings) -> Self {
        Self {
            frames: (Limit::User, Bucket::new(settings.user)),
            bytes: (Limit::UserBytes, Bucket::new(settings.user_bytes)),
        }
    }

    pub(super) fn address(settings: &Settings) -> Self {
        Self {
            frames: (Limit::Address, Bucket::new(settings.address)),
            bytes: (Limit::AddressBytes, Bucket::new(settings.address_bytes)),
        }
    }

    /// Takes a cost, or says when it can be paid.
    pub(super) fn take(&self, cost: Cost, message: &str) -> Result<(), Rejection> {
        self.frames.0.take(&self.frames.1, cost.frames, message)?;
        self.bytes.0.take(&self.bytes.1, cost.bytes, message)
    }
}

impl Idle for TokenBuckets {
    fn is_idle(&self) -> bool {
        self.frames.1.is_full() && self.bytes.1.is_full()
    }
}
