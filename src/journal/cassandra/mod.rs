//! The journal in Apache Cassandra (4.1 and 5.0): the fencing of [`ReadBack`] over its tables.
//!
//! Appending is one batch of one partition at LOCAL_QUORUM; a claim is the only conditional (LWT)
//! write. Rows carry the epoch in their key, so that two owners never overwrite each other. The
//! size of partitions and the number of shards are kept in the database, and a node that differs
//! does not start.

mod config;
#[cfg(feature = "cassandra")]
mod driver;

pub use config::{Config, Replication};
#[cfg(feature = "cassandra")]
pub use driver::*;

/// This program was built without Cassandra.
#[derive(Debug, thiserror::Error)]
#[error("this program was built without Cassandra: build it with the cargo feature `cassandra`")]
pub struct Absent;

/// Whether this program has Cassandra.
pub fn check_built() -> Result<(), Absent> {
    cfg!(feature = "cassandra").then_some(()).ok_or(Absent)
}
