//! Programs built from their source by Go, which verifies checksums of modules itself.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use crate::console::Step;
use crate::interrupt::Interrupt;
use crate::tool;

const NATS_SERVER: &str = "github.com/nats-io/nats-server/v2@v2.15.2";
const PROMTOOL: &str = "github.com/prometheus/prometheus/cmd/promtool";
/// Prometheus 3.5, as its module counts.
const PROMETHEUS: &str = "v0.305.0";
/// The build has to be told its version. Without debug information, it is a third smaller.
const PROMTOOL_FLAGS: &str = "-s -w -X github.com/prometheus/common/version.Version=3.5.0";
const LIMIT: Duration = Duration::from_secs(15 * 60);
/// It brings the clients of every cloud that Prometheus can discover nodes in: 3.5 minutes on two
/// idle cores, once.
const PROMTOOL_LIMIT: Duration = Duration::from_secs(40 * 60);

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
    let mut go = go(dir);
    go.args(["install", package]).env("GOBIN", dir);
    tool::quiet(&mut go, LIMIT, interrupt, step).map(drop)
}

/// Within a module of our own: its own replaces modules, which `go install` refuses.
pub(super) fn promtool(dir: &Path, interrupt: &Interrupt, step: &mut Step) -> Result<PathBuf> {
    let (version, program) = (format!("{PROMTOOL}@{PROMETHEUS}"), dir.join("promtool"));
    let output = program.display().to_string();
    for args in [
        vec!["mod", "init", "obtain"],
        vec!["get", "-tool", &version],
        vec!["build", "-ldflags", PROMTOOL_FLAGS, "-o", &output, PROMTOOL],
    ] {
        tool::quiet(go(dir).args(args), PROMTOOL_LIMIT, interrupt, step)?;
    }
    Ok(program)
}

/// Without cgo no C compiler is needed; a target in the environment would move the program
/// elsewhere.
fn go(dir: &Path) -> Command {
    let mut go = Command::new("go");
    go.current_dir(dir)
        .env("CGO_ENABLED", "0")
        .env_remove("GOOS")
        .env_remove("GOARCH")
        .env_remove("GOFLAGS");
    go
}
