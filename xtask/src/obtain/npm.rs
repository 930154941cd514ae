//! Packages by npm, as their lock file says.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use super::cache;
use crate::interrupt::Interrupt;
use crate::tool;

const LIMIT: Duration = Duration::from_secs(10 * 60);

/// A folder with `node_modules`, under this name in the cache: what `package.json` and
/// `package-lock.json` say.
pub(super) fn packages(name: &str, files: (&str, &str), interrupt: &Interrupt) -> Result<PathBuf> {
    cache::kept(name, |slot, step| {
        let dir = slot.scratch()?;
        fs::write(dir.join("package.json"), files.0)?;
        fs::write(dir.join("package-lock.json"), files.1)?;
        let mut npm = Command::new("npm");
        npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]);
        npm.current_dir(&dir);
        tool::quiet(&mut npm, LIMIT, interrupt, step)?;
        slot.keep(&dir)
    })
}
