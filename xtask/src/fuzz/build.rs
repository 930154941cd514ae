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
    let target_dir = paths::root().join("target/fuzz");
    say("building the targets of fuzzing (minutes, the first time)");
    let mut command = cargo();
    // With a target, the flags do not reach what runs while compiling.
    command.args([
        "build",
        "--release",
        "--bins",
        "--manifest-path",
        "fuzz/Cargo.toml",
        "--target",
        &host,
    ]);
    command.arg("--target-dir").arg(&target_dir);
    command
        .env("RUSTFLAGS", FLAGS.join(" "))
        .env_remove("CARGO_ENCODED_RUSTFLAGS");
    let status = tool::shown(&mut command, interrupt)?;
    ensure!(status.success(), "the targets of fuzzing do not build");
    Ok(target_dir.join(host).join("release"))
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
