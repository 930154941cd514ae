//! `loadtest bare`: the server that nothing is faster than.

use super::Exit;
use crate::bare::Server;
use anyhow::Result;
use std::{net::SocketAddr, path::PathBuf};

/// What to serve.
#[derive(Debug, clap::Args)]
pub struct Bare {
    /// Where
    #[arg(long, default_value = "127.0.0.1:8090")]
    at: SocketAddr,
    /// Write every message here before anybody gets it, with one fdatasync for all that came at once
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
}

/// Serves until it is ended.
///
/// # Errors
/// It cannot.
pub fn bare(options: &Bare) -> Result<Exit> {
    // As many connections as the system lets this process have.
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    let server = Server::new(options.at, options.log.as_deref())?;
    println!("bare server at {}", server.address()?);
    server.run()?;
    Ok(Exit::Good)
}
