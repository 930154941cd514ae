//! What a run of scenarios leaves behind: figures and broken promises, as data. Rendered as a page
//! and as a table.
//!
//! [`html`] and [`markdown`] are pure: the same reports give the same text. [`files`] puts them,
//! and the data, on disk; [`command`] makes one page of several reports.

pub mod command;
mod drift;
pub mod files;
mod group;
mod page;
mod scale;
mod soak;
mod svg;
mod table;
#[cfg(test)]
mod tests;
mod text;
mod timeline;

pub use page::html;
pub use soak::{Series, Soak};
pub use table::markdown;

use loadtest::sealed::Counts;
use serde::{Deserialize, Serialize};

/// Everything of one call of `chaos`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// When, in UTC, as a person reads it.
    pub made_at: String,
    /// The commit that was built.
    pub commit: String,
    /// Processors, memory, kernel.
    pub machine: String,
    /// Programs and their versions: `nats-server 2.15.2`.
    pub versions: Vec<String>,
    /// The command that repeats it.
    pub command: String,
    /// Where all chance comes from.
    pub seed: u64,
    /// The runs, in the order in which they were made.
    pub runs: Vec<Run>,
    /// Long runs at a steady load, in the order in which they were made.
    #[serde(default)]
    pub soaks: Vec<Soak>,
}

/// One scenario on one journal.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Its name, such as `owner-kill`.
    pub scenario: String,
    /// `bus` or `cassandra`.
    pub journal: String,
    /// When, in UTC, as a person reads it.
    pub started: String,
    /// How long the clients sent.
    pub seconds: f64,
    /// How many clients.
    pub clients: usize,
    /// How many rooms.
    pub rooms: usize,
    /// Messages sent, each counted once.
    pub sent: u64,
    /// Messages that were answered `journaled`.
    pub journaled: u64,
    /// Messages that were refused for good.
    pub rejected: u64,
    /// How often clients connected.
    pub connects: u64,
    /// What a client could see of the faults: refusals that ask for another try, and connections
    /// that were lost without a `bye`.
    pub failures_seen: u64,
    /// What there was in encrypted rooms, if there were any.
    #[serde(default)]
    pub sealed: Option<Sealed>,
    /// Broken promises.
    pub violations: Vec<String>,
    /// What was done to it.
    pub faults: Vec<Fault>,
    /// Second by second from the first message on.
    pub per_second: Vec<Second>,
    /// The longest time without a `journaled` in any one room.
    pub longest_gap_ms: f64,
    /// The longest time without a `journaled` in any one room, counted from a fault on; `None`
    /// without faults.
    pub gap_after_fault_ms: Option<f64>,
    /// From when a message was due to its `journaled`, median, microseconds.
    pub p50_us: u64,
    /// From when a message was due to its `journaled`, 99 of 100, microseconds.
    pub p99_us: u64,
    /// What was wanted besides kept promises; `None`: nothing more.
    pub wanted: Option<String>,
    /// Whether all promises were kept and `wanted` was met.
    pub met: bool,
}

/// What there was in encrypted rooms. What was wrong with it is a broken promise of the run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Sealed {
    /// How many.
    pub rooms: usize,
    /// What was done in all of them together.
    #[serde(flatten)]
    pub counts: Counts,
    /// Files of servers and nodes in which none of what was said was found.
    pub files: usize,
}

impl Sealed {
    /// As a person reads it.
    pub fn told(&self) -> String {
        let Self {
            rooms,
            counts,
            files,
        } = self;
        let Counts {
            devices,
            epochs,
            journaled,
            read,
            not_theirs,
            came_back,
            crashes,
            forgot,
        } = counts;
        format!(
            "{journaled} messages in {rooms} rooms of {devices} devices, {read} times read by \
             others; {epochs} epochs, {came_back} times back ({not_theirs} times not read: from \
             before a device came, or while it was out), {crashes} crashes, {forgot} times all \
             state lost; {files} files searched"
        )
    }
}

/// Something that was done to the system.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Fault {
    /// When, in seconds from the first message.
    pub at_s: f64,
    /// When it was over; `None`: at once.
    pub until_s: Option<f64>,
    /// What, such as `kill -9 node-2 (owner)`.
    pub what: String,
}

/// What happened in one second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Second {
    /// Messages that were answered `journaled`.
    pub journaled: u64,
    /// Of these, from when they were due to the answer, median, microseconds; 0 when there are
    /// none.
    pub p50_us: u64,
    /// Of these, 99 of 100, microseconds; 0 when there are none.
    pub p99_us: u64,
    /// Clients that connected.
    pub connects: u64,
}
