//! `chaos`: faults on a real safe-chat, and a report of what came of them.

use chaos::report;
use clap::Parser;

#[derive(Parser)]
enum Command {
    Report(report::command::Options),
}

fn main() -> anyhow::Result<()> {
    match Command::parse() {
        Command::Report(options) => report::command::run(&options),
    }
}
