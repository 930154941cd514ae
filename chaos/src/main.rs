//! `chaos`: faults on a real safe-chat, and a report of what came of them.

use anyhow::Result;
use chaos::{command, growth, report, soak};
use clap::Parser;
use std::process::ExitCode;
use xtask::{
    console::say,
    interrupt::{Interrupt, Interrupted},
};

/// Real faults on real processes, while clients write down everything that they see. Fails when a
/// promise of the protocol was broken.
#[derive(Parser)]
#[command(
    name = "cargo xtask chaos",
    bin_name = "cargo xtask chaos",
    args_conflicts_with_subcommands = true
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: command::Options,
}

#[derive(clap::Subcommand)]
enum Command {
    Report(report::command::Options),
    Soak(soak::Options),
    Growth(growth::Options),
}

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) if error.is::<Interrupted>() => {
            say("interrupted");
            ExitCode::from(130)
        }
        Err(error) => {
            say(format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Whether all that was wanted is so.
fn run(cli: Cli) -> Result<bool> {
    match cli.command {
        None => command::run(cli.run, &Interrupt::install()?),
        Some(Command::Report(options)) => report::command::run(&options).map(|()| true),
        Some(Command::Soak(options)) => soak::run(&options, &Interrupt::install()?),
        Some(Command::Growth(options)) => growth::run(&options, &Interrupt::install()?),
    }
}
