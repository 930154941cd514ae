//! What a long run at a steady load leaves behind: how much each process held, over time.

use serde::{Deserialize, Serialize};

/// A long run at a steady load.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Soak {
    /// `bus` or `cassandra`.
    pub journal: String,
    /// When, in UTC, as a person reads it.
    pub started: String,
    /// How long the load lasted.
    pub seconds: f64,
    /// Seconds from the beginning that count for no slope: caches fill, streams reach their length.
    pub warm_up: f64,
    /// The load in words: who does what.
    pub load: Vec<String>,
    /// Messages sent, each counted once.
    pub sent: u64,
    /// Messages that were answered `journaled`.
    pub journaled: u64,
    /// Messages that were refused, among them those of floods.
    pub rejected: u64,
    /// How often clients connected.
    pub connects: u64,
    /// From when a message was due to its `journaled`, median, microseconds.
    pub p50_us: u64,
    /// From when a message was due to its `journaled`, 99 of 100, microseconds.
    pub p99_us: u64,
    /// Broken promises, and processes that ended.
    pub violations: Vec<String>,
    /// What was measured.
    pub series: Vec<Series>,
}

/// A figure of one process over time.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Series {
    /// Whose: `node-1`, `nats-1`.
    pub process: String,
    /// Of what: `resident memory`.
    pub what: String,
    /// `bytes`, or nothing for a count.
    pub unit: String,
    /// Seconds from the beginning, and the figure then.
    pub points: Vec<(f64, f64)>,
    /// What it grows by in an hour, after the warm-up; `None`: too few points.
    pub slope: Option<f64>,
    /// The most that it may grow by in an hour; `None`: it is shown, not judged.
    pub tolerance: Option<f64>,
}

impl Series {
    /// Whether it stays within its tolerance. What is not judged does; what is judged and could not
    /// be measured does not.
    pub fn is_flat(&self) -> bool {
        self.tolerance
            .is_none_or(|most| self.slope.is_some_and(|slope| slope <= most))
    }

    /// The last figure.
    pub fn last(&self) -> Option<f64> {
        self.points.last().map(|(_, value)| *value)
    }

    /// The greatest figure.
    pub fn most(&self) -> Option<f64> {
        self.points.iter().map(|(_, value)| *value).reduce(f64::max)
    }
}

impl Soak {
    /// Whether every promise was kept, and something was judged and all of that stayed flat.
    pub fn met(&self) -> bool {
        let judged = self.series.iter().any(|series| series.tolerance.is_some());
        self.violations.is_empty() && judged && self.series.iter().all(Series::is_flat)
    }
}
