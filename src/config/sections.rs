//! The sections that belong to no single part: this node, and the choice of the journal.

use crate::bus::{JournalKind, Role};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Where rooms are kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Journal {
    /// Which journal. Default: bus, or cassandra when `cassandra.hosts` is set.
    pub kind: JournalKind,
}

/// This node, and how patiently it starts and stops.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Node {
    /// Its name: 1 to 64 visible ASCII characters. It stands in subjects, where a permission of
    /// NATS may name it. Default: the host name.
    pub name: String,
    /// What it does. Default: everything.
    pub roles: Vec<Role>,
    /// Milliseconds that a start waits for NATS and Cassandra. Default 60000.
    pub start_timeout_ms: u64,
    /// Milliseconds that a stop may take. Default 8000, less than the 10 s that `docker stop` waits
    /// before it kills. Without NATS or Cassandra a stop takes about 5 s.
    pub drain_timeout_ms: u64,
}

impl Default for Node {
    fn default() -> Self {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let name = if host.trim().is_empty() {
            "node".to_owned()
        } else {
            host.trim().to_owned()
        };
        Self {
            name,
            roles: vec![Role::Gateway, Role::Writer],
            start_timeout_ms: 60_000,
            drain_timeout_ms: 8_000,
        }
    }
}

impl Node {
    /// Whether it has a role.
    pub fn has(&self, role: Role) -> bool {
        self.roles.contains(&role)
    }

    /// How long a start waits for NATS and Cassandra.
    pub fn start_timeout(&self) -> Duration {
        Duration::from_millis(self.start_timeout_ms)
    }

    /// How long a stop may take.
    pub fn drain_timeout(&self) -> Duration {
        Duration::from_millis(self.drain_timeout_ms)
    }

    /// Says what is wrong, if something is.
    pub fn validate(&self) -> Result<(), String> {
        if !(1..=64).contains(&self.name.len()) || !self.name.bytes().all(|b| b.is_ascii_graphic())
        {
            return Err(
                "node.name must be 1 to 64 visible ASCII characters: set it with --node".into(),
            );
        }
        if self.roles.is_empty() {
            return Err("node.roles is empty: use gateway, writer, or both".into());
        }
        Ok(())
    }
}
