//! Building the safe-chat program, and finding it wherever cargo puts it.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::console;
use crate::interrupt::Interrupt;
use crate::paths;
use crate::tool;

#[derive(Deserialize)]
struct Message {
    executable: Option<PathBuf>,
    target: Option<Target>,
    profile: Option<Profile>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

#[derive(Deserialize)]
struct Profile {
    /// Whether it is the tests of a program, not the program.
    test: bool,
}

/// A cargo command in the checkout.
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(paths::root());
    // `cargo xtask` sets these for the package xtask. Build scripts of some libraries look at them,
    // so with them half of everything is compiled again whenever cargo was called without.
    for (name, _) in std::env::vars_os() {
        let of_package = |prefix| name.to_string_lossy().starts_with(prefix);
        if of_package("CARGO_MANIFEST_") || of_package("CARGO_PKG_") {
            command.env_remove(&name);
        }
    }
    command
}

/// What of it is built, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Build {
    /// As it is run in production: what is measured should be that.
    Release,
    /// With the profile of tests.
    Dev,
    /// With the dev profile, and without what takes minutes to compile and is not needed with the
    /// journal on the bus: the driver of Cassandra with its cryptography in C, and the allocator.
    Quick,
}

impl Build {
    /// All of it, with the release profile or that of tests.
    pub fn whole(debug: bool) -> Self {
        match debug {
            true => Self::Dev,
            false => Self::Release,
        }
    }
}

/// Builds it.
pub fn build(build: Build, interrupt: &Interrupt) -> Result<PathBuf> {
    built_by(cargo(), build, interrupt)
}

/// Builds it from a changed copy of the checkout, with the dependencies that are compiled here. The
/// next build of either takes the other's place: copy it first.
pub fn build_copy(source: &Path, build: Build, interrupt: &Interrupt) -> Result<PathBuf> {
    let mut command = cargo();
    command.current_dir(source);
    command.env("CARGO_TARGET_DIR", paths::root().join("target"));
    built_by(command, build, interrupt)
}

fn built_by(mut command: Command, build: Build, interrupt: &Interrupt) -> Result<PathBuf> {
    command.args(["build", "--package", "safe-chat", "--bin", "safe-chat"]);
    match build {
        Build::Release => drop(command.arg("--release")),
        // What the tests have compiled is used.
        Build::Dev => drop(command.args(["--profile", "test"])),
        Build::Quick => {
            command.arg("--no-default-features");
            command.env("CARGO_PROFILE_DEV_DEBUG", "false"); // lines of backtraces, not names
            command.env("CARGO_INCREMENTAL", "0"); // costs a first build a quarter
        }
    }
    console::say(match build {
        Build::Release => "building safe-chat",
        Build::Dev => {
            "building safe-chat (quick to build, slower to run; --release is what you measure)"
        }
        Build::Quick => {
            "building safe-chat (quick to build, slower to run, without Cassandra; --release is what you measure)"
        }
    });
    Built::with(command, interrupt)?.program("safe-chat")
}

/// Builds the load generator as it measures: with the release profile.
pub(crate) fn build_loadtest(interrupt: &Interrupt) -> Result<PathBuf> {
    let mut command = cargo();
    command.args(["build", "--release", "--package", "loadtest"]);
    console::say("building loadtest");
    Built::with(command, interrupt)?.program("loadtest")
}

/// What cargo has built.
pub(crate) struct Built {
    /// Messages of cargo, one a line.
    messages: String,
}

impl Built {
    /// All programs with all tests, as the tests use them: no second build with other features.
    pub(crate) fn with_tests(interrupt: &Interrupt) -> Result<Self> {
        let mut command = cargo();
        command.args(["test", "--workspace", "--no-run"]);
        Self::with(command, interrupt)
    }

    fn with(mut command: Command, interrupt: &Interrupt) -> Result<Self> {
        command.args(["--message-format", "json-render-diagnostics"]);
        let (status, messages) = tool::progress_shown(&mut command, interrupt)?;
        ensure!(status.success(), "safe-chat does not build");
        Ok(Self { messages })
    }

    /// Where a program is.
    pub(crate) fn program(&self, name: &str) -> Result<PathBuf> {
        executable(&self.messages, name)
            .with_context(|| format!("cargo did not say where {name} is"))
    }
}

fn executable(messages: &str, name: &str) -> Option<PathBuf> {
    let messages = messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Message>(line).ok());
    messages
        .filter(|it| it.target.as_ref().is_some_and(|target| target.name == name))
        .filter(|it| it.profile.as_ref().is_some_and(|profile| !profile.test))
        .find_map(|it| it.executable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_where_cargo_says() {
        let messages = r#"{"reason":"compiler-artifact","target":{"name":"build-script-build"},"profile":{"test":false},"executable":"/t/build"}
{"reason":"compiler-artifact","target":{"name":"safe-chat","kind":["bin"]},"profile":{"test":true},"executable":"/t/its-tests"}
{"reason":"compiler-artifact","target":{"name":"safe-chat","kind":["lib"]},"profile":{"test":false},"executable":null}
{"reason":"compiler-artifact","target":{"name":"safe-chat","kind":["bin"]},"profile":{"test":false},"executable":"/t/safe-chat"}
{"reason":"build-finished","success":true}"#;
        assert_eq!(
            executable(messages, "safe-chat"),
            Some("/t/safe-chat".into())
        );
        assert_eq!(executable(messages, "chaos"), None);
    }
}
