//! Getting the servers' programs onto this machine: found, or installed into the cache once for all
//! checkouts.

pub(crate) mod cache;
pub(crate) mod cargo_cyclonedx;
pub(crate) mod cargo_deny;
pub mod cassandra;
mod docker;
mod go;
mod java;
pub(crate) mod kubernetes;
pub mod nats;
mod npm;
pub(crate) mod openapi;
pub(crate) mod peers;
pub(crate) mod pip;
pub(crate) mod playwright;
mod program;
pub mod promtool;
pub(crate) mod version;
