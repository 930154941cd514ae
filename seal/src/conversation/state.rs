//! Where a conversation is: how far it has read, how it comes in, what is on its way; and how long
//! it waits for what.

use crate::member::Frame;

/// Seconds until it asks again whether somebody has let it in: at first, and at most.
pub(super) const ASK_AGAIN: (u64, u64) = (1, 30);
/// Seconds after which a device removes who asked to leave, though it is another one's turn.
pub(super) const TIDY_AFTER: u64 = 60;
/// Seconds after which a group is founded again that only the maker of the room may found yet.
pub(super) const FOUND_AFTER: u64 = 60;
/// Seconds until it tries again to come into an open group that takes in nobody by itself now.
pub(super) const KNOCK_AFTER: u64 = 600;
/// Seconds that it waits for the event of whoever was faster, before it asks for the way in anew.
pub(super) const OVERTAKEN_AFTER: u64 = 3;
/// Seconds for which a device changes nothing by itself after a change was refused.
pub(super) const CHANGE_AFTER: u64 = 600;

/// Seconds until the room is read again for a change that the server has left out.
pub(super) const READ_AGAIN_AFTER: u64 = 60;
/// Places that could not be taken, of which it remembers.
pub(super) const MOST_GAPS: usize = 1000;

/// What a number was given to.
pub(super) enum Sent {
    /// By the number that the member gave it.
    Message(u64),
    Change(Frame),
}

/// An own message that was sent.
pub(super) struct Unplaced {
    pub(super) inside: Vec<u8>,
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
