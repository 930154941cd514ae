//! What clients of one room sent and saw, and whether that keeps the promises of the client
//! protocol. Pure.
//!
//! `session` checks what one client was told, `room` what all of them together saw, `members` who
//! was said to be there, `removed` what an operator had removed, `settled` what must be true in the
//! end.

mod members;
mod removed;
mod room;
mod session;
mod settled;
#[cfg(test)]
mod tests;
mod violation;

use removed::Gone;
pub use removed::{Removal, Removed};
use serde_json::Value;
use std::collections::BTreeMap;
pub use violation::Violation;

/// How many messages of a room are known when they are sent again.
const WINDOW: u64 = 4096;

/// An event as a client saw it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Event {
    /// Its place.
    pub seq: u64,
    /// When it was stored: milliseconds since 1970 UTC.
    pub at: u64,
    /// `joined`, `left`, `text`, ...
    pub kind: String,
    /// Whose.
    pub from: String,
    /// The id of the command, if it is shown.
    pub id: Option<String>,
    /// Whom it is addressed to, if not to all.
    pub to: Option<String>,
    /// The text, if there is one.
    pub text: Option<String>,
    /// Content that the service cannot read, encoded, if there is some.
    pub sealed: Option<String>,
    /// Whether an operator had its content erased.
    pub erased: bool,
}

impl Event {
    /// Reads an event as it stands in JSON frames; `None`: it lacks what every event has.
    pub fn of_json(event: &Value) -> Option<Self> {
        let text = |name: &str| event[name].as_str().map(str::to_owned);
        let (seq, at) = (event["seq"].as_u64()?, event["at"].as_u64()?);
        let (kind, from) = (text("kind")?, text("from")?);
        Some(Self {
            seq,
            at,
            kind,
            from,
            id: text("id"),
            to: text("to"),
            text: text("text"),
            sealed: text("sealed"),
            erased: event["erased"] == true,
        })
    }

    /// Whether it is the same event, of which the content may be erased meanwhile.
    pub fn agrees(&self, other: &Self) -> bool {
        match self.erased == other.erased {
            true => self == other,
            false => self.without_content() == other.without_content(),
        }
    }

    fn without_content(&self) -> Self {
        Self {
            kind: "text".into(),
            text: None,
            sealed: None,
            erased: true,
            ..self.clone()
        }
    }
}

/// Something that a client did or saw, in its own order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// It sent a message, for the first time or again.
    Sent {
        /// The id.
        id: String,
    },
    /// It was told that the message is in the journal, or saw that after it was refused for now.
    Journaled {
        /// The id.
        id: String,
        /// Its place.
        seq: u64,
    },
    /// It was told that the message is in the journal, and was there before (`duplicate`).
    Repeated {
        /// The id.
        id: String,
        /// Its place.
        seq: u64,
    },
    /// It was told that the message is stored and will be decided.
    Accepted {
        /// The id.
        id: String,
    },
    /// It was told that the message is refused now, and to try it again.
    Refused {
        /// The id.
        id: String,
        /// Why.
        reason: String,
    },
    /// It was told that the message is refused.
    Rejected {
        /// The id.
        id: String,
        /// Why.
        reason: String,
    },
    /// It connected and expects the event after `after` next.
    Connected {
        /// The last place that it has.
        after: u64,
    },
    /// It was welcomed, right after it connected.
    Welcomed {
        /// The end of the room, with its own `joined`.
        seq: u64,
        /// Who is there.
        members: Vec<String>,
        /// Whether all that it missed follows.
        recovered: bool,
    },
    /// It began to connect after an operator was told that what this place says is done.
    Told {
        /// The place.
        seq: u64,
    },
    /// Its connection ended.
    Closed {
        /// Whether the server had said `bye`.
        bye: bool,
    },
    /// It was told to forget, and expects the event at `seq` next.
    Reset {
        /// The place.
        seq: u64,
    },
    /// It saw an event.
    Saw(Event),
}

/// All that the clients of one room did and saw.
#[derive(Debug, Default)]
pub struct History {
    /// Steps by client. A client is one user.
    pub clients: BTreeMap<String, Vec<Step>>,
    /// What an operator had removed.
    pub removed: Removed,
}

impl History {
    /// The promises that are broken whatever happens later (safety). Nothing may have been cut from
    /// the room's history but what was to be removed.
    pub fn safety(&self) -> Vec<Violation> {
        let mut violations = Vec::new();
        for (client, steps) in &self.clients {
            session::dense(client, steps, &mut violations);
            session::accepted(client, steps, &mut violations);
            session::remembered(client, steps, &mut violations);
            session::repeated(client, steps, &mut violations);
        }
        let room = room::seen(self, &mut violations);
        let gone = Gone::of(self, &room);
        removed::ordered(self, &room, &mut violations);
        for (client, steps) in &self.clients {
            removed::continuous(client, steps, &gone, &mut violations);
            removed::shown(client, steps, &gone, &mut violations);
        }
        room::places(self, &room, &gone, &mut violations);
        members::consistent(self, &room, &mut violations);
        for (client, steps) in &self.clients {
            room::ordered(client, steps, &room, &mut violations);
        }
        violations
    }

    /// The last place before which everything may be gone by a purge.
    pub fn last_purge(&self) -> Option<u64> {
        let room = room::seen(self, &mut Vec::new());
        Gone::of(self, &room).last_purge()
    }

    /// Whether a client ever had a session. One that is not known here may have had one.
    fn has_session(&self, client: &str) -> bool {
        let connected = |step: &Step| matches!(step, Step::Connected { .. });
        self.clients
            .get(client)
            .is_none_or(|steps| steps.iter().any(connected))
    }

    /// The promises that are broken once everything had time to settle (liveness).
    pub fn liveness(&self) -> Vec<Violation> {
        let room = room::seen(self, &mut Vec::new());
        let mut violations = settled::missing(self);
        violations.extend(removed::erased(&Gone::of(self, &room), &room));
        violations
    }
}
