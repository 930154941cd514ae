//! cargo-cyclonedx, which lists what a program is built from: from the PATH, the cache, or
//! compiled.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};

use super::cache;
use crate::binary::cargo;
use crate::interrupt::Interrupt;
use crate::{paths, tool};

const VERSION: &str = "0.5.9";
/// There are no programs of it to download for every platform; compiling takes minutes.
const LIMIT: Duration = Duration::from_secs(30 * 60);

/// The program.
pub(crate) fn cargo_cyclonedx(interrupt: &Interrupt) -> Result<PathBuf> {
    if let Some(found) = paths::on_path("cargo-cyclonedx") {
        return Ok(found);
    }
    cache::kept(&format!("cargo-cyclonedx-{VERSION}"), |slot, step| {
        let dir = slot.scratch()?;
        let mut install = cargo();
        install.args([
            "install",
            "cargo-cyclonedx",
            "--locked",
            "--version",
            VERSION,
        ]);
        // In a folder without our own flags for the compiler.
        install.arg("--root").arg(&dir).current_dir(&dir);
        tool::quiet(&mut install, LIMIT, interrupt, step)?;
        slot.keep(&dir.join("bin/cargo-cyclonedx"))
    })
    .context("cargo-cyclonedx cannot be had: put it on the PATH, or let cargo reach its index")
}
