//! `cargo xtask audit`: whether everything that it is built from may be: `deny.toml`.

use std::process::Command;

use anyhow::{Result, ensure};
use clap::Args;

use crate::interrupt::Interrupt;
use crate::{obtain, paths, tool};

/// The workspace, and that of fuzzing.
const MANIFESTS: [&str; 2] = ["Cargo.toml", "fuzz/Cargo.toml"];

#[derive(Args)]
pub(crate) struct Options {
    /// Without the database of advisories, which comes from GitHub
    #[arg(long)]
    no_advisories: bool,
}

pub(crate) fn run(options: &Options, interrupt: &Interrupt) -> Result<()> {
    check(!options.no_advisories, interrupt)
}

/// Licences, bans and sources; advisories too if wanted.
pub(crate) fn check(advisories: bool, interrupt: &Interrupt) -> Result<()> {
    let deny = obtain::cargo_deny::cargo_deny(interrupt)?;
    for manifest in MANIFESTS {
        let mut command = Command::new(&deny);
        command.current_dir(paths::root());
        command.args(["--config", "deny.toml", "--manifest-path", manifest]);
        command.arg("--locked");
        command.args(["check", "licenses", "bans", "sources"]);
        if advisories {
            command.arg("advisories");
        }
        let status = tool::shown(&mut command, interrupt)?;
        ensure!(
            status.success(),
            "cargo-deny complains of {manifest}: mend it, or make an exception in deny.toml that \
             says why"
        );
    }
    Ok(())
}
