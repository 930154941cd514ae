//! Playwright without its browsers, which drives that of the machine: by npm.

use std::path::PathBuf;

use anyhow::{Context, Result};

use super::npm;
use crate::interrupt::Interrupt;

/// Its version, and its hash.
const PACKAGE: &str = include_str!("../../../tests/browser/package.json");
const LOCK: &str = include_str!("../../../tests/browser/package-lock.json");

/// A folder with `node_modules`.
pub(crate) fn playwright(interrupt: &Interrupt) -> Result<PathBuf> {
    npm::packages("playwright-core-1.65.1", (PACKAGE, LOCK), interrupt)
        .context("playwright-core cannot be had: npm installs it from its registry")
}
