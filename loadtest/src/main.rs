//! `loadtest`: many clients of a running safe-chat.

use anyhow::Result;
use clap::{Args, Parser, Subcommand};
use loadtest::{
    command::{self, Exit},
    run::{Plan, run},
    slow,
};
use std::{
    process::ExitCode,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// Puts load on a safe-chat, measures, and checks that every promise of the protocol was kept.
///
/// Without a command: many complete clients in one room, whose whole history is checked.
#[derive(Parser)]
#[command(version, args_conflicts_with_subcommands = true, after_help = Exit::HELP)]
struct Options {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    room: Room,
}

#[derive(Subcommand)]
enum Command {
    /// Measure one scenario and write a report
    Run(command::Run),
    /// Put two reports beside each other
    Compare(command::Compare),
    /// Measure what this machine can do at most
    Floors(command::Floors),
    /// Serve the least that can be measured: what nothing is faster than
    Bare(command::Bare),
    /// Measure one scenario against several servers in turns, beside the bare one
    Peers(command::Peers),
}

#[derive(Args)]
struct Room {
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

fn main() -> ExitCode {
    let done = match Options::parse() {
        Options {
            command: Some(Command::Run(run)),
            ..
        } => command::run(run),
        Options {
            command: Some(Command::Compare(compare)),
            ..
        } => command::compare(&compare),
        Options {
            command: Some(Command::Floors(floors)),
            ..
        } => command::floors(&floors),
        Options {
            command: Some(Command::Bare(bare)),
            ..
        } => command::bare(&bare),
        Options {
            command: Some(Command::Peers(peers)),
            ..
        } => command::peers(&peers),
        Options { room, .. } => one_room(room),
    };
    match done {
        Ok(exit) => exit.into(),
        Err(error) => {
            eprintln!("Error: {error:#}");
            Exit::Failed.into()
        }
    }
}

#[tokio::main]
async fn one_room(options: Room) -> Result<Exit> {
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
        () = slow::sit(&plan.urls, &plan.room, options.slow), if options.slow > 0 => {
            anyhow::bail!("slow clients never end")
        }
    };
    print!("{outcome}");
    Ok(if outcome.violations.is_empty() {
        Exit::Good
    } else {
        Exit::Broken
    })
}
