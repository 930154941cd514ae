//! Getting the servers' programs onto this machine: found, or installed into the cache once for all checkouts.

pub(crate) mod cache;
pub mod cassandra;
mod docker;
mod go;
mod java;
pub mod nats;
mod pip;
pub(crate) mod version;
