//! `loadtest`: many clients in one room of a running safe-chat.

use anyhow::{Result, bail};
use clap::Parser;
use loadtest::{
    run::{Plan, run},
    slow,
};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Puts many clients into one room, measures, and checks that every promise of the protocol was
/// kept.
#[derive(Parser)]
struct Options {
    /// A gateway; give several to spread the clients over them.
    #[arg(long = "url", default_values_t = ["http://127.0.0.1:8080".to_owned(), "http://127.0.0.2:8080".to_owned()])]
    urls: Vec<String>,
    /// The room (default: a new one).
    #[arg(long)]
    room: Option<String>,
    /// How many clients.
    #[arg(long, default_value_t = 20)]
    clients: usize,
    /// Messages of each client.
    #[arg(long, default_value_t = 100)]
    messages: usize,
    /// Messages per second of all clients together (default: as fast as they are answered).
    #[arg(long)]
    rate: Option<f64>,
    /// Messages of a client that may wait for their answer, without --rate.
    #[arg(long, default_value_t = 1)]
    window: usize,
    /// Bytes of text in a message.
    #[arg(long, default_value_t = 100)]
    bytes: usize,
    /// So many more clients that read nothing, and come back again and again.
    #[arg(long, default_value_t = 0)]
    slow: usize,
    /// Seconds that everything may take to settle.
    #[arg(long, default_value_t = 60)]
    settle: u64,
}

#[tokio::main]
async fn main() -> Result<()> {
    let options = Options::parse();
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
    let plan = Plan {
        urls: options.urls,
        room: options.room.unwrap_or_else(|| format!("load-{now}")),
        clients: options.clients,
        messages: options.messages,
        rate: options.rate.filter(|rate| *rate > 0.0),
        window: options.window.max(1),
        bytes: options.bytes.max(1),
        settle: Duration::from_secs(options.settle),
    };
    let outcome = tokio::select! {
        outcome = run(&plan) => outcome?,
        () = slow::sit(&plan.urls, &plan.room, options.slow), if options.slow > 0 => bail!("slow clients never end"),
    };
    print!("{outcome}");
    if !outcome.violations.is_empty() {
        bail!("{} promises were broken", outcome.violations.len());
    }
    Ok(())
}
