//! Programs built from their source by Go, which verifies checksums of modules itself.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use crate::console::Step;
use crate::interrupt::Interrupt;
use crate::tool;

const NATS_SERVER: &str = "github.com/nats-io/nats-server/v2@v2.15.2";
const LIMIT: Duration = Duration::from_secs(15 * 60);

pub(super) fn nats_server(dir: &Path, interrupt: &Interrupt, step: &mut Step) -> Result<PathBuf> {
    install(NATS_SERVER, dir, interrupt, step)?;
    Ok(dir.join("nats-server"))
}

/// Builds the program of a package and puts it into the directory.
pub(super) fn install(
    package: &str,
    dir: &Path,
    interrupt: &Interrupt,
    step: &mut Step,
) -> Result<()> {
    let mut go = Command::new("go");
    go.args(["install", package])
        .current_dir(dir)
        .env("GOBIN", dir);
    // Without cgo no C compiler is needed; a target in the environment would move the program elsewhere.
    go.env("CGO_ENABLED", "0")
        .env_remove("GOOS")
        .env_remove("GOARCH")
        .env_remove("GOFLAGS");
    tool::quiet(&mut go, LIMIT, interrupt, step).map(drop)
}
