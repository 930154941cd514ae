//! The commands: what they take, what they print, and with what they end.

mod bare;
mod floors;
mod peers;
mod run;

use crate::report;
use anyhow::Result;
pub use bare::{Bare, bare};
pub use floors::{Floors, floors};
pub use peers::{Peers, peers};
pub use run::{Run, run};
use std::{path::PathBuf, process::ExitCode};

/// With what the program ends, for scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// All is well.
    Good,
    /// It could not be done.
    Failed,
    /// The generator was the bottleneck: there is no report.
    Bottleneck,
    /// A figure is not what was asserted.
    Missed,
    /// A promise of the protocol was broken.
    Broken,
}

impl Exit {
    /// For `--help`.
    pub const HELP: &str = "Exit codes: 0 all is well; 1 it could not be done; 2 wrong usage; \
        3 the generator itself was the bottleneck; 4 an assertion does not hold; 5 a promise of the \
        protocol was broken";
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Good => 0,
            Exit::Failed => 1,
            Exit::Bottleneck => 3,
            Exit::Missed => 4,
            Exit::Broken => 5,
        })
    }
}

/// Two reports.
#[derive(Debug, clap::Args)]
pub struct Compare {
    /// The folder of one report, or its report.json
    a: PathBuf,
    /// The other one
    b: PathBuf,
    /// Must hold for the second one, like `p99<100ms`; may be given several times
    #[arg(long = "assert", value_name = "LIMIT")]
    limits: Vec<report::Limit>,
}

/// Puts two reports beside each other.
///
/// # Errors
/// One of them cannot be read.
pub fn compare(options: &Compare) -> Result<Exit> {
    let (a, b) = (report::read(&options.a)?, report::read(&options.b)?);
    print!("{}", report::compare(&a, &b));
    Ok(check(&options.limits, &b))
}

/// Says which limits a report does not keep.
fn check(limits: &[report::Limit], report: &report::Report) -> Exit {
    let missed: Vec<_> = limits
        .iter()
        .filter_map(|limit| limit.check(report).err())
        .collect();
    for limit in limits {
        if limit.check(report).is_ok() {
            println!("  holds: {limit}");
        }
    }
    for why in &missed {
        eprintln!("  MISSED: {why}");
    }
    if missed.is_empty() {
        Exit::Good
    } else {
        Exit::Missed
    }
}
