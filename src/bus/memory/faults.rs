//! Where a simulation decides what goes wrong: consulted at every call to the hub and at every
//! delivery from it.

use super::ConnectionId;
use std::time::Duration;

/// A call to the hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // The methods of the port.
pub enum Op {
    Submit,
    Commands,
    Discard,
    Publish,
    PublishClaim,
    Stored,
    Find,
    Rooms,
    Last,
    Purge,
    Live,
    TellHeads,
    Heads,
    Tell,
    Inbox,
    Ask,
    Questions,
    Consult,
    Consultations,
    Probe,
    AnswerProbes,
    Settings,
    Beat,
    Forget,
    Down,
    Nodes,
    Shard,
    SetShard,
    Plan,
    SetPlan,
    Shards,
    Mark,
    Unmark,
    Marks,
    Put,
    Get,
}

impl Op {
    /// Whether it changes what is stored, so that a lost answer leaves its outcome unknown.
    pub fn writes(self) -> bool {
        use Op::*;
        matches!(
            self,
            Submit
                | Discard
                | Publish
                | PublishClaim
                | Purge
                | Settings
                | Beat
                | Forget
                | Down
                | Consult
                | SetShard
                | SetPlan
                | Mark
                | Unmark
                | Put
                | Tell
                | TellHeads
        )
    }
}

/// What is delivered to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // Named after what is delivered.
pub enum Delivered {
    Command,
    Event,
    Head,
    Inbound,
    Question,
    Answer,
    Probe,
    Record,
}

/// How a call goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Fate {
    /// Passes before the hub sees it; calls of one connection may overtake each other.
    pub before: Duration,
    /// What happens then.
    pub outcome: Outcome,
    /// Passes before the caller sees the answer.
    pub after: Duration,
}

/// What the hub does with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Outcome {
    /// It is done and answered.
    #[default]
    Done,
    /// Nothing happens and the caller knows it.
    Refused,
    /// Nothing happens and the caller does not know it.
    Vanished,
    /// It is done; the answer is lost.
    Unanswered,
}

/// How a delivery goes. Deliveries to one subscription keep their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Passage {
    /// Passes before the node sees it.
    pub delay: Duration,
    /// How often it arrives. 0: lost, and 2: repeated, which only what is delivered at most once
    /// can be: a command or a record is delivered once.
    pub copies: usize,
}

impl Default for Passage {
    fn default() -> Self {
        Self {
            delay: Duration::ZERO,
            copies: 1,
        }
    }
}

/// Decides what goes wrong. By default nothing does.
pub trait Faults: Send + Sync {
    /// How a call goes.
    fn call(&self, _by: ConnectionId, _op: Op) -> Fate {
        Fate::default()
    }

    /// How a delivery goes.
    fn delivery(&self, _to: ConnectionId, _what: Delivered) -> Passage {
        Passage::default()
    }
}

/// Nothing goes wrong.
pub struct NoFaults;

impl Faults for NoFaults {}
