//! Servers that a benchmark compares with: Centrifugo by Go, Bun and socket.io by npm. Their places
//! in the cache are where `loadtest peers` looks.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use super::{cache, go};
use crate::interrupt::Interrupt;
use crate::tool;

const CENTRIFUGO: &str = "github.com/centrifugal/centrifugo/v6@v6.9.1";
/// The versions of everything, and their hashes.
const PACKAGE: &str = include_str!("../../../loadtest/peers/package.json");
const LOCK: &str = include_str!("../../../loadtest/peers/package-lock.json");
const LIMIT: Duration = Duration::from_secs(10 * 60);

/// The program; compiling it takes minutes, once.
pub(crate) fn centrifugo(interrupt: &Interrupt) -> Result<PathBuf> {
    cache::kept("centrifugo-6.9.1", |slot, step| {
        let dir = slot.scratch()?;
        go::install(CENTRIFUGO, &dir, interrupt, step)?;
        slot.keep(&dir.join("centrifugo"))
    })
    .context("centrifugo cannot be had: it is built by Go from the module proxy")
}

/// A folder with `node_modules`.
pub(crate) fn npm(interrupt: &Interrupt) -> Result<PathBuf> {
    cache::kept("peers-npm-1", |slot, step| {
        let dir = slot.scratch()?;
        fs::write(dir.join("package.json"), PACKAGE)?;
        fs::write(dir.join("package-lock.json"), LOCK)?;
        let mut npm = Command::new("npm");
        npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]);
        npm.current_dir(&dir);
        tool::quiet(&mut npm, LIMIT, interrupt, step)?;
        slot.keep(&dir)
    })
    .context("bun and socket.io cannot be had: npm installs them from its registry")
}
