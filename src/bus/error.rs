//! What can go wrong on the bus, by what the caller does next.

use crate::room::Seq;

/// A failed call to the bus.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// There is no room for it; nothing was stored. Answer `busy`.
    #[error("the bus is full: {0}")]
    Full(String),
    /// It is larger than the servers take now; nothing was stored, and nothing will be until they
    /// take more.
    #[error("too large for the bus: {0}")]
    TooLarge(String),
    /// Somebody was faster: what was expected to be the last state is not. Nothing was stored.
    #[error("the bus has moved on: {0}")]
    Conflict(String),
    /// Nobody listens there.
    #[error("nobody answers at {0}")]
    NoResponders(String),
    /// It may or may not have happened. Find out before deciding anything.
    #[error("the outcome on the bus is not known: {0}")]
    Unknown(String),
    /// It did not happen. Try again later.
    #[error("the bus is not available: {0}")]
    Unavailable(String),
    /// The servers are there, and refuse this node or what it asks: why, and what to do. Trying
    /// again helps once somebody has done it.
    #[error("{0}")]
    Denied(String),
    /// A stored event is newer than this version. Nothing may be written to the room; install a
    /// newer version.
    #[error(
        "event {seq} is `{name}` version {version}, which this version cannot read: install a newer one"
    )]
    Unsupported {
        /// Its place.
        seq: Seq,
        /// The event's stored name.
        name: String,
        /// Its stored version.
        version: u32,
    },
    /// What is stored cannot be used: it names what differs and what to do.
    #[error("{0}")]
    Unusable(String),
}
