//! The settings of the cluster part, with their defaults.

use super::Error;
use crate::room::Shards;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How nodes watch each other. All durations in milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Config {
    /// How many shards there are; the same at every node, for the life of the cluster. 1 to 4096.
    pub shards: u16,
    /// Between two heartbeats.
    pub beat_ms: u64,
    /// A node whose heartbeat has not changed for so long is probed; when the bus knows nobody at
    /// its address, it is dead.
    pub late_ms: u64,
    /// A node whose heartbeat has not changed for so long is dead, whatever a probe says: it is
    /// frozen or cut off.
    pub dead_ms: u64,
    /// How long a stopping node waits for its shards to be handed over.
    pub drain_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        // late: one heartbeat is missing, so that kill -9 is answered by the next owner within 2 s
        // even right after a heartbeat. dead: above the 5.5-8.5 s for which a leader change of the
        // bus can stall heartbeats.
        Self {
            shards: 64,
            beat_ms: 500,
            late_ms: 1_000,
            dead_ms: 10_000,
            drain_ms: 20_000,
        }
    }
}

impl Config {
    /// The shards, when the configuration makes sense; else what is wrong with it.
    pub fn validate(&self) -> Result<Shards, Error> {
        if !(0 < self.beat_ms && self.beat_ms < self.late_ms && self.late_ms < self.dead_ms) {
            let Self {
                beat_ms,
                late_ms,
                dead_ms,
                ..
            } = self;
            return Err(Error::Config(format!(
                "cluster.beat_ms ({beat_ms}) must be above 0 and below cluster.late_ms ({late_ms}), and that below cluster.dead_ms ({dead_ms})"
            )));
        }
        Shards::new(self.shards).ok_or_else(|| {
            Error::Config(format!(
                "cluster.shards must be 1 to {}, not {}",
                Shards::MAX,
                self.shards
            ))
        })
    }

    pub(super) fn timing(&self) -> Timing {
        Timing {
            beat: Duration::from_millis(self.beat_ms),
            late: Duration::from_millis(self.late_ms),
            dead: Duration::from_millis(self.dead_ms),
        }
    }
}

/// The durations by which nodes are judged.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timing {
    pub(super) beat: Duration,
    pub(super) late: Duration,
    pub(super) dead: Duration,
}
