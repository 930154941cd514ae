//! Programs copied out of their official images. They are static, so they run here without docker:
//! kill, pause and loopback addresses work as with any other process.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use crate::console::Step;
use crate::interrupt::Interrupt;
use crate::tool;

const LIMIT: Duration = Duration::from_secs(10 * 60);

pub(super) fn nats_server(dir: &Path, interrupt: &Interrupt, step: &mut Step) -> Result<PathBuf> {
    copy("nats:2.15", "/nats-server", dir, interrupt, step)
}

pub(super) fn promtool(dir: &Path, interrupt: &Interrupt, step: &mut Step) -> Result<PathBuf> {
    copy(
        "prom/prometheus:v3.5.0",
        "/bin/promtool",
        dir,
        interrupt,
        step,
    )
}

/// A file of an image.
fn copy(
    image: &str,
    file: &str,
    dir: &Path,
    interrupt: &Interrupt,
    step: &mut Step,
) -> Result<PathBuf> {
    let mut docker =
        |args: &[&str]| tool::quiet(Command::new("docker").args(args), LIMIT, interrupt, step);
    docker(&["pull", "--quiet", image])?;
    let container = docker(&["create", image])?.trim().to_owned();
    let program = dir.join(Path::new(file).file_name().unwrap_or_default());
    let copied = docker(&[
        "cp",
        &format!("{container}:{file}"),
        &program.to_string_lossy(),
    ]);
    docker(&["rm", &container])?;
    copied.map(|_| program)
}
