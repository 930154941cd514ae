//! Playwright without its browsers, which drives that of the machine: by npm.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use super::cache;
use crate::interrupt::Interrupt;
use crate::tool;

/// Its version, and its hash.
const PACKAGE: &str = include_str!("../../../tests/browser/package.json");
const LOCK: &str = include_str!("../../../tests/browser/package-lock.json");
const LIMIT: Duration = Duration::from_secs(10 * 60);

/// A folder with `node_modules`.
pub(crate) fn playwright(interrupt: &Interrupt) -> Result<PathBuf> {
    cache::kept("playwright-core-1.65.1", |slot, step| {
        let dir = slot.scratch()?;
        fs::write(dir.join("package.json"), PACKAGE)?;
        fs::write(dir.join("package-lock.json"), LOCK)?;
        let mut npm = Command::new("npm");
        npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]);
        npm.current_dir(&dir);
        tool::quiet(&mut npm, LIMIT, interrupt, step)?;
        slot.keep(&dir)
    })
    .context("playwright-core cannot be had: npm installs it from its registry")
}
