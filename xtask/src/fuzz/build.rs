//! Builds the targets of fuzzing, all of their code so that it counts what is reached.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::binary::cargo;
use crate::console::say;
use crate::interrupt::Interrupt;
use crate::{paths, tool};

/// What cargo-fuzz passes without a sanitizer: counters at every edge, the places that they count,
/// and operands of comparisons. Source: <https://github.com/rust-fuzz/cargo-fuzz>, project.rs;
/// <https://clang.llvm.org/docs/SanitizerCoverage.html>.
const FLAGS: [&str; 7] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Cllvm-args=-sanitizer-coverage-stack-depth",
    "-Cllvm-args=-simplifycfg-branch-fold-threshold=0",
];

/// The folder with a program for each target.
pub(super) fn programs(interrupt: &Interrupt) -> Result<PathBuf> {
    let compiler = std::env::var_os("CXX").is_some() || paths::on_path("c++").is_some();
    ensure!(
        compiler,
        "there is no c++ on the PATH, which compiles libFuzzer: install g++, or name a compiler in CXX"
    );
    let host = host()?;
    say("building the targets of fuzzing (minutes, the first time)");
    let status = tool::shown(&mut command(cargo(), &host), interrupt)?;
    ensure!(status.success(), "the targets of fuzzing do not build");
    Ok(target_dir().join(host).join("release"))
}

/// Compiles while something else goes on, without taking the processor from it.
pub(crate) fn beside(interrupt: &Interrupt) -> Result<()> {
    let mut nice = Command::new("nice");
    nice.args(["-n", "19"]);
    let cargo = cargo();
    nice.arg(cargo.get_program()).current_dir(paths::root());
    // It only removes variables.
    cargo.get_envs().for_each(|(name, _)| {
        nice.env_remove(name);
    });
    tool::shown(command(nice, &host()?).arg("--quiet"), interrupt).map(drop)
}

fn target_dir() -> PathBuf {
    paths::root().join("target/fuzz")
}

/// What compiles them, as arguments of `cargo`.
fn command(mut cargo: Command, host: &str) -> Command {
    // With a target, the flags do not reach what runs while compiling.
    cargo.args([
        "build",
        "--release",
        "--bins",
        "--manifest-path",
        "fuzz/Cargo.toml",
        "--target",
        host,
    ]);
    cargo.arg("--target-dir").arg(target_dir());
    cargo
        .env("RUSTFLAGS", FLAGS.join(" "))
        .env_remove("CARGO_ENCODED_RUSTFLAGS");
    cargo
}

/// The name of this machine's kind.
fn host() -> Result<String> {
    let mut command = Command::new(cargo().get_program());
    let output = command.arg("-vV").output().context("cargo cannot be run")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host
        .with_context(|| format!("cargo -vV does not name the host: {text}"))?
        .to_owned())
}
