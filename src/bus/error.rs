//! What can go wrong on the bus, by what the caller does next.

/// A failed call to the bus.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// There is no room for it; nothing was stored. Answer `busy`.
    #[error("the bus is full: {0}")]
    Full(String),
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
    /// What is stored cannot be used: it names what differs and what to do.
    #[error("{0}")]
    Unusable(String),
}
