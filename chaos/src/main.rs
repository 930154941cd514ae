//! `chaos`: faults on a real safe-chat, and a report of what came of them.

use chaos::{report, soak};
use clap::Parser;
use std::process::ExitCode;
use xtask::interrupt::Interrupt;

#[derive(Parser)]
enum Command {
    Report(report::command::Options),
    Soak(soak::Options),
}

fn main() -> anyhow::Result<ExitCode> {
    let met = match Command::parse() {
        Command::Report(options) => report::command::run(&options).map(|()| true),
        Command::Soak(options) => soak::run(&options, &Interrupt::install()?),
    }?;
    Ok(if met { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
