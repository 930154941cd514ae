//! How a writer may be tuned.

use crate::room::Retention;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Settings of the writer. Times in milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Config {
    /// A room that nobody used for this long leaves the memory (default 120000); one that everybody
    /// has left does after 10 s at the latest.
    pub idle_ms: u64,
    /// Open rooms per shard; beyond it the one that was not used for the longest time leaves the
    /// memory, at twice as many no question opens another (default 10000). Rooms that were never
    /// written do not stay anyway.
    pub max_rooms_per_shard: usize,
    /// How often the floor is stored when it moved (default 1000).
    pub checkpoint_ms: u64,
    /// Changes that no event carried for this long are stored in a snapshot, or beside one (default
    /// 5000).
    pub carry_ms: u64,
    /// How often heads of rooms that changed lately are repeated to gateways (default 2000).
    pub heads_ms: u64,
    /// How long a released shard may take to finish its commits (default 2000): a stop
    /// waits for nothing that takes 3 s.
    pub release_ms: u64,
    /// Rooms let events go that are older, in seconds; 0: none for that reason (default 0). This
    /// and the next two are the same at all nodes; `safe-chat admin retain` says otherwise for a
    /// room.
    pub keep_age_s: u64,
    /// Rooms keep about so many of their last events; 0: all (default 0).
    pub keep_events: u64,
    /// Rooms keep about so many bytes of their last messages; 0: all (default 0).
    pub keep_bytes: u64,
    /// How often it is looked whether an open room keeps more than it is to (default 60000); 360
    /// times as seldom at those that nobody uses.
    pub trim_ms: u64,
    /// Rooms that were purged, or have let all their events go, and that nobody has come back to,
    /// go with their names so many seconds after their last event; 0: never (default 7776000, 90
    /// days). Ids of messages are known for no longer. Those where a name has a key stay, and those
    /// that an operator has set something of. The same at all nodes.
    pub gone_after_s: u64,
    /// Keys that a room's snapshot has of people who are not there: when there are more, they move
    /// into records of their own, which are read when somebody comes back (default 1024).
    pub names_in_snapshot: usize,
    /// Names that a room has at most; then people who are new to it are refused as `rate_limited`,
    /// and `/ready` names it (default 10000000). The same at all nodes.
    pub max_names_per_room: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            idle_ms: 120_000,
            max_rooms_per_shard: 10_000,
            checkpoint_ms: 1_000,
            carry_ms: 5_000,
            heads_ms: 2_000,
            release_ms: 2_000,
            keep_age_s: 0,
            keep_events: 0,
            keep_bytes: 0,
            trim_ms: 60_000,
            gone_after_s: 90 * 86_400,
            names_in_snapshot: 1024,
            max_names_per_room: 10_000_000,
        }
    }
}

impl Config {
    /// Says what is wrong with the settings, and what to do.
    pub fn validate(&self) -> Result<(), String> {
        if self.max_rooms_per_shard == 0 {
            return Err("writer.max_rooms_per_shard is 0: allow at least one room".into());
        }
        if self.checkpoint_ms == 0 || self.heads_ms == 0 {
            return Err("writer.checkpoint_ms and writer.heads_ms must be above 0".into());
        }
        if self.trim_ms == 0 {
            return Err("writer.trim_ms must be above 0".into());
        }
        if self.max_names_per_room == 0 {
            return Err("writer.max_names_per_room must be above 0".into());
        }
        Ok(())
    }

    /// What is wanted of all rooms.
    pub fn retention(&self) -> Retention {
        let bound = |most: u64| (most > 0).then_some(most);
        Retention {
            age: bound(self.keep_age_s),
            events: bound(self.keep_events),
            bytes: bound(self.keep_bytes),
        }
    }

    /// After how many milliseconds rooms that are gone are removed; `None`: never.
    pub(super) fn gone_after(&self) -> Option<u64> {
        let after = self.gone_after_s.saturating_mul(1000);
        (after > 0).then_some(after)
    }

    pub(super) fn trim(&self) -> Duration {
        Duration::from_millis(self.trim_ms)
    }

    pub(super) fn idle(&self) -> Duration {
        Duration::from_millis(self.idle_ms)
    }

    pub(super) fn checkpoint(&self) -> Duration {
        Duration::from_millis(self.checkpoint_ms)
    }

    pub(super) fn carry(&self) -> Duration {
        Duration::from_millis(self.carry_ms)
    }

    pub(super) fn heads(&self) -> Duration {
        Duration::from_millis(self.heads_ms)
    }

    pub(super) fn release(&self) -> Duration {
        Duration::from_millis(self.release_ms)
    }
}
