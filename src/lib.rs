//! Group chat as a service: one order, no loss, no duplicate, through any fault.
//!
//! How a message travels, and where to read it:
//!
//! ```text
//! frame -> wire -> gateway -> bus (command) -> writer -> journal -> bus (event) -> gateway -> wire -> frames
//!                                               room::decide
//! ```
//!
//! `room` and `wire` are pure. `gateway`, `writer` and `cluster` know the ports `bus` and
//! `journal`, not their adapters; `app` wires them.

pub mod access;
pub mod app;
pub mod bus;
pub mod chat;
pub mod cli;
pub mod cluster;
pub mod config;
mod fetch;
pub mod gateway;
#[cfg(test)]
#[path = "../tests/support/instructions.rs"]
mod instructions;
pub mod journal;
mod listener;
pub mod metric;
pub mod ops;
mod passphrase;
pub mod pressure;
pub mod proto;
pub mod room;
mod secret;
pub mod shutdown;
pub mod task;
pub mod telemetry;
pub mod tls;
pub mod trace;
pub mod wire;
pub mod writer;
