//! `cargo xtask chaos`: runs the program of that name, which is a crate of its own so that this one
//! stays quick to build.

use std::process::{Command, ExitCode};

use anyhow::Result;
use clap::Args;

use crate::binary::cargo;
use crate::interrupt::Interrupt;
use crate::tool;

#[derive(Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Options {
    /// Passed on to chaos; `cargo xtask chaos --help` lists them
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "ARGS"
    )]
    args: Vec<String>,
}

pub(crate) fn run(options: &Options, interrupt: &Interrupt) -> Result<ExitCode> {
    let status = tool::shown(&mut command(&options.args), interrupt)?;
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Optimised as the profile of tests has it: dependencies are, and its own part waits for the
/// network.
fn command(args: &[String]) -> Command {
    let mut command = cargo();
    command.args(["run", "--quiet", "--profile", "test"]);
    command.args(["--package", "chaos", "--"]);
    command.args(args);
    command
}
