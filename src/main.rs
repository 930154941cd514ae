//! The `safe-chat` program.

use clap::Parser;
use safe_chat::{
    cli::{self, Cli},
    telemetry,
};
use std::process::ExitCode;
#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let code = match cli::run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            telemetry::fail(&format!("{error:#}"));
            ExitCode::from(cli::exit_code(&error))
        }
    };
    telemetry::finish();
    code
}
