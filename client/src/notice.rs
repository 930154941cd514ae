//! What a client tells whoever runs it.

use crate::{
    close::Lost,
    frame::{ClientFrame, Event, ServerFrame, Welcome},
    message::End,
};
use std::time::Duration;
use tokio_tungstenite::tungstenite::Utf8Bytes;

/// Something that happened, in its order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// A session began.
    Connected {
        /// What the server said first.
        welcome: Welcome,
        /// Whether it goes on where another one ended.
        resumed: bool,
    },
    /// The next event of the room. Between two resets, each is told once, in order, without a gap.
    Event(Event),
    /// Continuity was lost: forget what you know of the room. Events go on at `seq`.
    Reset {
        /// The first event that follows.
        seq: u64,
        /// Why.
        reason: String,
    },
    /// The server refused something that it did not name, or that nobody waits for.
    Rejected {
        /// Of the message, if it was said.
        id: Option<String>,
        /// As the protocol spells it.
        reason: String,
        /// For a person.
        message: String,
    },
    /// The server is about to close the connection.
    Bye {
        /// Why.
        reason: String,
    },
    /// There is no connection. The next attempt begins after `wait`.
    Disconnected {
        /// Why.
        why: Lost,
        /// How long until then.
        wait: Duration,
    },
    /// Only with [`crate::Builder::trace`]: a frame as it came, before what follows from it.
    Received {
        /// Its text; empty for a binary one.
        raw: Utf8Bytes,
        /// What it says.
        frame: ServerFrame,
    },
    /// Only with [`crate::Builder::trace`]: a frame was sent, for the first time or again.
    Sent(ClientFrame),
    /// The client ended; the last notice.
    Ended(End),
}
