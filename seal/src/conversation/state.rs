//! Where a conversation is: how far it has read, how it comes in, what is on its way.

use crate::member::Frame;

/// What a number was given to.
pub(super) enum Sent {
    /// By the number that the member gave it.
    Message(u64),
    Change(Frame),
}

/// An own message that was sent.
pub(super) struct Unplaced {
    pub(super) content: Vec<u8>,
    /// Where it is, says the answer.
    pub(super) seq: Option<u64>,
}

/// How far the room was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    /// There is no connection.
    Away,
    /// Up to this place there are events from before.
    Until(u64),
    Live,
}

/// What it does to come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Entering {
    No,
    AskedWelcome,
    AskedGroup,
    /// The founding or the external commit is on its way.
    Sent,
    /// Somebody has to let it in.
    Waiting,
}
