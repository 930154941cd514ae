//! `chaos`: faults on a real safe-chat, and a report of what came of them.

use chaos::{command, report};
use clap::Parser;
use std::process::ExitCode;
use xtask::console::say;

/// Real faults on real processes, while clients write down everything that they see. Fails when a promise of the protocol was broken.
#[derive(Parser)]
#[command(name = "cargo xtask chaos", bin_name = "cargo xtask chaos", args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: command::Options,
}

#[derive(clap::Subcommand)]
enum Command {
    Report(report::command::Options),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli.command {
        None => command::run(cli.run),
        Some(Command::Report(options)) => match report::command::run(&options) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                say(format!("error: {error:#}"));
                ExitCode::FAILURE
            }
        },
    }
}
