//! Operating a node: the internal port (`/live`, `/ready`, `/metrics`), the banner, and what the machine gives the process.
//!
//! `/live` answers from the first moment, `/ready` says why not. Metrics are named `safechat_...` where they happen and never carry a room or a
//! user as a label. The internal port is for operators only: it belongs on an address that clients cannot reach.

pub mod banner;
mod cgroup;
pub mod host;
mod process;
mod readiness;
mod service;

pub use readiness::{Check, Readiness};
pub use service::{Error, Service};

use serde::{Deserialize, Serialize};

/// Where the internal port listens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    /// The address. Default 127.0.0.1.
    pub host: String,
    /// The port; 0: any free one. Default 8558.
    pub port: u16,
}

impl Default for Config {
    fn default() -> Self {
        Self { host: "127.0.0.1".into(), port: 8558 }
    }
}
