//! The settings of the gateway, with their defaults and bounds.

use super::outbox;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How the gateway serves clients.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    /// The address to listen on. Default 127.0.0.1.
    pub host: String,
    /// The port. Default 8080; 0: any free one.
    pub port: u16,
    /// The most sessions and event streams at a time; beyond them a join is `unavailable`. Default 100000.
    pub max_sessions: usize,
    /// The most open TCP connections; beyond them new ones wait in the listen queue. Default 120000.
    pub max_connections: usize,
    /// Bytes that may wait for one client before it is closed as slow (4003). 262144 to 67108864, default 1048576.
    pub backlog_bytes: usize,
    /// Frames that may wait for one client before it is closed as slow. 256 to 1048576, default 8192.
    pub backlog_frames: usize,
    /// Milliseconds that a stop waits until the ends of all sessions are stored. Default 10000.
    pub drain_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            host: "127.0.0.1".into(),
            port: 8080,
            max_sessions: 100_000,
            max_connections: 120_000,
            backlog_bytes: 1024 * 1024,
            backlog_frames: 8192,
            drain_ms: 10_000,
        }
    }
}

impl Config {
    /// Says what is wrong, if something is.
    pub fn validate(&self) -> Result<(), String> {
        let within = |name: &str, value: usize, least: usize, most: usize| match (least..=most).contains(&value) {
            true => Ok(()),
            false => Err(format!("gateway.{name} must be {least} to {most}, not {value}")),
        };
        within("max_sessions", self.max_sessions, 1, 10_000_000)?;
        within("max_connections", self.max_connections, 1, 10_000_000)?;
        // The least holds the largest frame (a page of history) beside what is paced.
        within("backlog_bytes", self.backlog_bytes, 256 * 1024, 64 * 1024 * 1024)?;
        within("backlog_frames", self.backlog_frames, 256, 1024 * 1024)?;
        within("drain_ms", self.drain_ms as usize, 1, 600_000)?;
        if self.host.is_empty() {
            return Err("gateway.host is empty: name an address to listen on, such as 127.0.0.1".into());
        }
        Ok(())
    }

    pub(super) fn backlog(&self) -> outbox::Limits {
        outbox::Limits { bytes: self.backlog_bytes, frames: self.backlog_frames }
    }

    pub(super) fn drain(&self) -> Duration {
        Duration::from_millis(self.drain_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid_and_a_bound_names_its_key() {
        assert_eq!(Config::default().validate(), Ok(()));
        let small = Config { backlog_bytes: 1, ..Config::default() };
        assert!(small.validate().unwrap_err().starts_with("gateway.backlog_bytes must be 262144 to"));
    }
}
