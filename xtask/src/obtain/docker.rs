//! nats-server copied out of its official image. It is a static program, so it runs here without docker: kill, pause and
//! loopback addresses work as with any other process.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use crate::console::Step;
use crate::interrupt::Interrupt;
use crate::tool;

const IMAGE: &str = "nats:2.15";
const LIMIT: Duration = Duration::from_secs(10 * 60);

pub(super) fn nats_server(dir: &Path, interrupt: &Interrupt, step: &mut Step) -> Result<PathBuf> {
    let mut docker =
        |args: &[&str]| tool::quiet(Command::new("docker").args(args), LIMIT, interrupt, step);
    docker(&["pull", "--quiet", IMAGE])?;
    let container = docker(&["create", IMAGE])?.trim().to_owned();
    let program = dir.join("nats-server");
    let copied = docker(&[
        "cp",
        &format!("{container}:/nats-server"),
        &program.to_string_lossy(),
    ]);
    docker(&["rm", &container])?;
    copied.map(|_| program)
}
