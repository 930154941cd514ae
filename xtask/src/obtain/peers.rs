//! Servers that a benchmark compares with: Centrifugo by Go, Bun and socket.io by npm. Their places
//! in the cache are where `loadtest peers` looks.

use std::path::PathBuf;

use anyhow::{Context, Result};

use super::{cache, go, npm};
use crate::interrupt::Interrupt;

const CENTRIFUGO: &str = "github.com/centrifugal/centrifugo/v6@v6.9.1";
/// The versions of everything, and their hashes.
const PACKAGE: &str = include_str!("../../../loadtest/peers/package.json");
const LOCK: &str = include_str!("../../../loadtest/peers/package-lock.json");

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
pub(crate) fn packages(interrupt: &Interrupt) -> Result<PathBuf> {
    npm::packages("peers-npm-1", (PACKAGE, LOCK), interrupt)
        .context("bun and socket.io cannot be had: npm installs them from its registry")
}
