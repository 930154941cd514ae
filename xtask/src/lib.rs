//! Development commands: start safe-chat with real servers, break it by hand, run every test.
//!
//! What a command starts is described by a [`server::Server`], runs in a [`cluster::Cluster`] and
//! is recorded in a [`state::State`], so that another terminal (or the next run, after a SIGKILL)
//! finds it. [`nats`], [`cassandra`] and [`node`] describe servers; [`obtain`] gets their programs;
//! `up`, `by_hand`, `test`, `chaos`, `simulate`, `kubernetes`, `audit`,
//! `sbom`, `bench`, `fuzz`, `wasm` and `browser` are the commands.
//! A library, so that the crate `chaos` can build on the same parts.

mod audit;
mod bench;
pub mod binary;
mod browser;
mod by_hand;
pub mod cassandra;
mod chaos;
pub mod cluster;
mod command;
pub mod console;
mod fuzz;
pub mod interrupt;
mod kubernetes;
mod launch;
pub mod loopback;
pub mod nats;
pub mod node;
pub mod obtain;
pub mod paths;
mod ports;
pub mod process;
mod procfs;
pub mod runs;
mod sbom;
pub mod server;
mod simulate;
pub mod state;
mod template;
mod test;
mod tool;
mod up;
mod wasm;

pub use command::main;
