//! `loadtest floors`: what this machine can do at most, so that a figure of a service can be held
//! against the sum of what it cannot avoid.

use super::Exit;
use crate::floors::{self, Pace};
use anyhow::Result;
use std::{path::PathBuf, time::Duration};

/// What to measure.
#[derive(Debug, clap::Args)]
pub struct Floors {
    /// Seconds for each
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Milliseconds between two, as in a quiet room: processors that sleep take a while to wake
    #[arg(long, default_value_t = 0.0)]
    pause: f64,
    /// The core of the other side of loopback
    #[arg(long)]
    core: Option<usize>,
    /// Bytes of a message
    #[arg(long, default_value_t = 256)]
    bytes: usize,
    /// Where files are written and synced: on the disk that counts
    #[arg(long, default_value = "target/loadtest", value_name = "FOLDER")]
    disk: PathBuf,
    /// A NATS server with JetStream; several, to see one with `sync_interval: always` beside one
    /// without
    #[arg(long)]
    nats: Vec<String>,
    /// A Cassandra: HOST:PORT
    #[arg(long)]
    cassandra: Option<String>,
}

/// Measures them one after another, and prints a table.
///
/// # Errors
/// One of them could not be measured.
pub fn floors(options: &Floors) -> Result<Exit> {
    let pace = Pace {
        length: Duration::from_secs_f64(options.seconds.clamp(0.1, 60.0)),
        pause: Duration::from_secs_f64(options.pause.clamp(0.0, 10_000.0) / 1e3),
    };
    let floors = floors::measure(
        pace,
        options.bytes,
        options.core,
        &options.disk,
        &options.nats,
        options.cassandra.as_deref(),
    )?;
    println!(
        "  {:<44} {:>10} {:>10} {:>12}",
        "", "p50 us", "p99 us", "per second"
    );
    for floor in floors {
        println!("  {floor}");
    }
    Ok(Exit::Good)
}
