//! The fencing argument of the Cassandra journal as a model for all interleavings.
//!
//! One room of one shard. Owners claim the shard one after the other, open the room, commit,
//! answer, save snapshots, as `src/journal/readback/` and `src/writer/` do. What must hold: what
//! was answered once has one content and one place for ever, every later owner starts from it, and
//! a reader who stays below the published head finds it, whatever it asks. [`Mutation`] has what
//! the argument rests on; each is left out once, to see it fail.
//!
//! Nobody ever has to go on: an owner that does nothing more is a crash, one that goes on late is a
//! freeze, both possible at every step. A write that was sent may be seen at once, much later or
//! never, by each reading anew. That covers delays, losses, and unknown outcomes, whether the write
//! is given up or repeated: an identical repetition is the same write.
//!
//! Explored at two [`Level`]s, by the same code: with three replicas, and with nothing but what
//! readings at a quorum promise, which reaches further. At the first it is also checked that the
//! replicas keep what the second takes for granted.
//!
//! What makes it small, and loses nothing: a write arrives at a replica when that replica is read
//! and not before; nobody could tell. Steps of an owner that touch nothing shared are part of the
//! step before them. An owner that could only find out that it is fenced is at rest. Replicas have
//! no names. `tests/levels.rs` compares what clients can be told with and without the first, and at
//! both levels.
//!
//! Not in it: the compare-and-set of a claim (epochs are unique and ascending), slices of a tail
//! (each begins with a whole commit), the bus, more than one room.

mod fencing;
mod mutation;
mod reading;
pub mod record;
pub mod rule;
mod step;
mod world;

pub use fencing::{Action, Fencing};
pub use mutation::Mutation;
pub use world::{Owner, Sent, Step, World};

/// What is explored.
#[derive(Debug, Clone, Default)]
pub struct Scenario {
    /// How close to the replicas.
    pub level: Level,
    /// How many owners claim the shard, one epoch each.
    pub owners: usize,
    /// How many commands wait on the bus. Every owner decides those that it does not find decided.
    pub commands: u8,
    /// How many events a commit may have.
    pub sizes: &'static [usize],
    /// Whether owners also save snapshots.
    pub snapshots: bool,
    /// How often the replicas may be killed and lose a write that returned and was not confirmed:
    /// that is not on a disk yet. What was confirmed in one breath with its write is.
    pub crashes: usize,
    /// How often an owner may open the room again under its epoch.
    pub reopens: usize,
    /// Whether writes may arrive at any time, not only when a replica is read. It adds nothing but
    /// states.
    pub eager: bool,
    /// What is wrong, if anything.
    pub mutation: Option<Mutation>,
}

/// How close to the replicas the journal is modelled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Level {
    /// A reading sees every write that had returned when it began, and of all others that were sent
    /// until it ends any choice.
    #[default]
    Quorums,
    /// A write reaches each of three replicas by itself and returns when two have it; a reading
    /// asks two of them, one after the other.
    Replicas,
}
