//! Where a simulation decides what goes wrong: consulted at every call to the database.

use crate::journal::readback::Reading;
use std::time::Duration;

/// A call to the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // The methods of `Store`.
pub enum Op {
    Fence(Reading),
    Raise,
    Write,
    Rows,
    Trim,
    Trimmed,
    Note,
    Unnote,
    Rooms,
    Snapshots,
    Snapshot,
    PutSnapshot,
    PutCarried,
    DropSnapshot,
    Pins,
    PutPin,
    DropPins,
    Copied,
    Copies,
    PutCopies,
    NoteCopies,
    DropCopies,
}

/// How a call goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Fate {
    /// Passes before the database sees it.
    pub before: Duration,
    /// What happens then.
    pub outcome: Outcome,
    /// Passes before the caller sees the answer.
    pub after: Duration,
}

/// What the database does with a call. To a reading, everything but `Done` is the same: no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Outcome {
    /// It is done and answered.
    #[default]
    Done,
    /// It is refused and not done.
    Refused,
    /// It is not done, and the caller does not know.
    Vanished,
    /// It is done, and the caller does not know.
    Unanswered,
    /// It is done when this time has passed, long after the caller was told that its outcome is not
    /// known.
    Late(Duration),
}

/// Decides how calls of a connection go. Must be deterministic in a simulation.
pub trait Faults: Send + Sync + 'static {
    /// How the next call goes.
    fn call(&self, op: Op) -> Fate;

    /// Whether the connection says that the database can be reached.
    fn ready(&self) -> Result<(), String> {
        Ok(())
    }
}

/// Nothing goes wrong.
pub struct NoFaults;

impl Faults for NoFaults {
    fn call(&self, _: Op) -> Fate {
        Fate::default()
    }
}
