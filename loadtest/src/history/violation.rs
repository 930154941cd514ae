//! The promises that can be broken.

use super::{Event, Removal};
use std::fmt;

/// A broken promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Violation {
    /// A client was shown another place than the next one.
    NotDense {
        /// The client.
        client: String,
        /// What came next.
        expected: u64,
        /// What it saw.
        saw: u64,
    },
    /// Two clients, or one at two times, saw different events at one place.
    Diverged {
        /// The place.
        seq: u64,
        /// One event.
        one: Event,
        /// The other.
        other: Event,
    },
    /// One message is at two places.
    Duplicated {
        /// The user.
        user: String,
        /// The id.
        id: String,
        /// Its places.
        places: (u64, u64),
    },
    /// A message was answered with a place at which it is not.
    Lost {
        /// The user.
        user: String,
        /// The id.
        id: String,
        /// The place of the answer.
        seq: u64,
    },
    /// A message that nobody sent.
    Invented {
        /// The event.
        event: Event,
    },
    /// Two messages of one user, each sent once through one connection, are in another order than
    /// they were sent.
    Reordered {
        /// The user.
        user: String,
        /// The one that was sent first.
        first: String,
        /// The one that was sent later and comes before it.
        second: String,
    },
    /// A message was never answered, although everything was given time to settle.
    Unanswered {
        /// The user.
        user: String,
        /// The id.
        id: String,
    },
    /// A client was told to forget, although nothing was cut.
    Reset {
        /// The client.
        client: String,
        /// The event that followed.
        seq: u64,
    },
    /// A client was told that a message is accepted, when that was not, or not any more, to be
    /// said.
    Accepted {
        /// The client.
        client: String,
        /// The id.
        id: String,
    },
    /// A message that had its answer was sent again, and got another answer.
    Forgotten {
        /// The user.
        user: String,
        /// The id.
        id: String,
        /// The place of the first answer.
        first: u64,
        /// The place of the later answer.
        then: u64,
    },
    /// A message that was sent once was answered as one that is sent again.
    FalseDuplicate {
        /// The user.
        user: String,
        /// The id.
        id: String,
    },
    /// Who is a member does not fit what was seen before.
    Membership {
        /// The place.
        seq: u64,
        /// What does not fit.
        what: String,
    },
    /// A client was shown what was gone, as far as its gateway knew the room.
    Shown {
        /// The client.
        client: String,
        /// The place.
        seq: u64,
        /// The place of the event that says that it, or its content, is gone.
        by: u64,
    },
    /// Something was removed that no operator wanted removed.
    NotOrdered {
        /// The event that says so.
        event: Event,
    },
    /// An operator was told that something was removed, and something else is there.
    NotDone {
        /// What was to be removed.
        removal: Removal,
        /// What is at the place that he was told.
        event: Event,
    },
    /// A message is without its content, which nobody had erased.
    Emptied {
        /// The event.
        event: Event,
    },
    /// A client did not see the end of the room.
    Behind {
        /// The client.
        client: String,
        /// The last place that it saw.
        saw: u64,
        /// The last place that anyone saw.
        head: u64,
    },
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotDense {
                client,
                expected,
                saw,
            } => write!(f, "{client} expected seq {expected} and saw {saw}"),
            Self::Diverged { seq, one, other } => {
                write!(
                    f,
                    "seq {seq} is {} {} {:?} and also {} {} {:?}",
                    one.kind, one.from, one.id, other.kind, other.from, other.id
                )
            }
            Self::Duplicated { user, id, places } => {
                write!(f, "{id} of {user} is at {} and at {}", places.0, places.1)
            }
            Self::Lost { user, id, seq } => {
                write!(f, "{id} of {user} was journaled at {seq}, but is not there")
            }
            Self::Invented { event } => write!(
                f,
                "seq {}: {} never sent {:?}",
                event.seq, event.from, event.id
            ),
            Self::Reordered {
                user,
                first,
                second,
            } => write!(f, "{user} sent {first} before {second}, which comes first"),
            Self::Unanswered { user, id } => write!(f, "{id} of {user} was never answered"),
            Self::Reset { client, seq } => write!(
                f,
                "{client} was told to forget and to go on at {seq}, although nothing was cut"
            ),
            Self::Accepted { client, id } => write!(
                f,
                "{client} was told that {id} is accepted, once too often or too late"
            ),
            Self::Forgotten {
                user,
                id,
                first,
                then,
            } => {
                write!(
                    f,
                    "{id} of {user} was journaled at {first}; sent again, it was answered with {then} as if it were new, or another one"
                )
            }
            Self::FalseDuplicate { user, id } => write!(
                f,
                "{user} sent {id} once and was told that it is a duplicate"
            ),
            Self::Membership { seq, what } => write!(f, "at seq {seq} {what}"),
            Self::Shown { client, seq, by } => write!(
                f,
                "{client} was shown seq {seq}, which is gone since seq {by}, or its content"
            ),
            Self::NotOrdered { event } => write!(
                f,
                "seq {}: {} {}, which no operator wanted",
                event.seq, event.from, event.kind
            ),
            Self::NotDone { removal, event } => write!(
                f,
                "seq {} is {} of {}, and not what an operator was told: {removal:?}",
                event.seq, event.kind, event.from
            ),
            Self::Emptied { event } => write!(
                f,
                "seq {} of {} is without its content, which nobody had erased",
                event.seq, event.from
            ),
            Self::Behind { client, saw, head } => {
                write!(f, "{client} saw the room up to {saw}, it ends at {head}")
            }
        }
    }
}
