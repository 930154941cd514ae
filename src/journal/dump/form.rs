//! The form of the file: a line of JSON for each thing, in this order.
//!
//! A header; for each room a line that begins it, its events, its state and its end, or, instead of
//! what could not be read, why; at last the total. Each room's end has the SHA-256 of its lines,
//! the total that of all lines before it. Events and states are there as they are stored
//! ([`crate::journal::codec`]), in base64; what stands beside them is for people, and must agree.

use serde::{Deserialize, Serialize};

/// The version of this form.
pub const FORM: u32 = 1;

/// What the file is, and from where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The version of the form.
    pub version: u32,
    /// The cluster whose rooms these are, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// Where they were kept: `bus` or `cassandra`.
    pub journal: String,
    /// How many shards they were spread over.
    pub shards: u16,
    /// When, in UTC.
    pub at: String,
}

/// A line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Line {
    #[serde(rename = "safe-chat journal")]
    Header(Header),
    Room {
        room: String,
        head: u64,
    },
    Event {
        seq: u64,
        at: u64,
        name: String,
        version: u32,
        stored: String,
    },
    State {
        head: u64,
        version: u32,
        stored: String,
    },
    End {
        room: String,
        events: u64,
        first: u64,
        last: u64,
        holes: Vec<(u64, u64)>,
        sha256: String,
    },
    Failed {
        room: String,
        why: String,
    },
    Total {
        rooms: u64,
        failed: u64,
        events: u64,
        sha256: String,
    },
}

impl Line {
    /// With its end.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec(self).expect("strings and numbers become JSON");
        bytes.push(b'\n');
        bytes
    }
}

/// As digests are written.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
