//! What a conversation has its host do and show.

#[cfg(doc)]
use super::Conversation;
use crate::member::{Content, Error, Holder, Shown};
use crate::shelf::Changes;

/// A message of the room, for the protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outgoing {
    /// `sealed`: what members read.
    Sealed(Vec<u8>),
    /// `handshake`: what changes the group.
    Handshake(Vec<u8>),
}

/// What the host has to do, in this order.
#[derive(Debug)]
pub enum Effect {
    /// Store this, before anything that follows; if it cannot be stored, nothing that follows is to
    /// be done, and the conversation is over. A message is decrypted once: a host that is to show
    /// it again stores what there is to show with it.
    Store(Changes),
    /// Send this. Its answer comes back under this number.
    Send(u64, Outgoing),
    /// Ask for the public state of the room's group: [`Conversation::group`].
    AskGroup,
    /// Ask for a welcome of this device in this room: [`Conversation::welcome`].
    AskWelcome,
    /// Read the room again from behind this place.
    Resume(u64),
    /// Show this.
    Show(Show),
}

/// What there is to show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Show {
    /// Of the room.
    Room {
        /// The place that it happened at; `None`: it is of now.
        seq: Option<u64>,
        /// What.
        what: Shown,
    },
    /// An own message is in the room.
    Said {
        /// Where.
        seq: u64,
        /// What it was.
        content: Content,
    },
    /// Something of one's own was refused.
    Refused {
        /// What was said; `None`: it was a change of the group.
        content: Option<Content>,
        /// The protocol's word.
        reason: String,
    },
    /// What was to be shared, or asked for, was refused.
    NotShared {
        /// The protocol's word.
        reason: String,
    },
    /// The service says that something of one's own is in the room, and does not show it there:
    /// something else is, or nothing came.
    Unseen {
        /// Where it is said to be.
        seq: u64,
        /// What was said; `None`: it was no text.
        content: Option<Content>,
    },
    /// Something of one's own is in the room behind the place at which this device was removed, so
    /// that nobody there can read it.
    Unread {
        /// Where.
        seq: u64,
        /// What was said; `None`: it was no text.
        content: Option<Content>,
    },
    /// So many messages were said while this device was out of the group, and cannot be read by it.
    Missed {
        /// How many.
        count: u64,
    },
    /// What this device does again and again comes to nothing, and why, as far as it sees: a member
    /// or the service hinders it, or a copy of it. It goes on, less and less often. What a person
    /// reads: [`in_vain`](super::in_vain).
    InVain(&'static str),
    /// Nobody has let this device in yet: somebody in the room must add this person.
    NotIn,
    /// The group is open, but takes in nobody by itself for a while: its writer says for how long.
    /// The device tries again every ten minutes, and comes in at once if somebody adds it.
    Shut,
    /// Nobody has let this device in, for the person has revoked it here: another device of theirs
    /// must allow it first.
    Revoked,
    /// The room has no group yet, and whoever made the room is waited for.
    NotFounded,
    /// Before this device comes back, the user is to be asked ([`Conversation::agree`]).
    Ask(Question),
    /// What the server sent is none of what rooms have.
    Odd(Error),
}

/// What a person reads of [`Show::Odd`].
pub fn odd(error: &Error) -> String {
    match error {
        Error::Refused(why) => {
            format!(
                "what the service shows here is nothing that a group takes, and was left out: {why}"
            )
        }
        other => other.to_string(),
    }
}

/// What a message waits for that cannot be sent now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waits {
    /// There is no connection.
    Connection,
    /// The room is being read.
    Reading,
    /// This device is on its way into the group.
    Way,
    /// It is not in the group, and waits for others.
    Outside,
    /// The user was asked something ([`Conversation::agree`]).
    Word,
    /// A change of the group is on its way.
    Change,
    /// The group has changed, and the service does not show how.
    Hidden,
    /// The other one is not in the group of a room of two, and could never read it.
    Other,
}

/// What a user is asked before a device comes (back).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// These are in the group, and were not when this device knew it last.
    Newcomers(Vec<Holder>),
    /// The server has another group than the one that this device was in.
    AnotherGroup,
    /// The server has no group of this room, in which this device was with others.
    NoGroup,
    /// The user has left the group.
    Left,
    /// The user has left the group, and this one adds the device again.
    Invited(Holder),
}
