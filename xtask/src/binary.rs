//! Building the safe-chat program, and finding it wherever cargo puts it.

use std::path::PathBuf;
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
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

/// A cargo command in the checkout.
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(paths::root());
    command
}

/// What of it is built, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Build {
    /// As it is run in production: what is measured should be that.
    Release,
    /// With the dev profile.
    Dev,
    /// With the dev profile, and without what takes minutes to compile and is not needed with the
    /// journal on the bus: the driver of Cassandra with its cryptography in C, and the allocator.
    Quick,
}

impl Build {
    /// All of it, with the release profile or the dev one.
    pub fn whole(debug: bool) -> Self {
        match debug {
            true => Self::Dev,
            false => Self::Release,
        }
    }
}

/// Builds it.
pub fn build(build: Build, interrupt: &Interrupt) -> Result<PathBuf> {
    let mut command = cargo();
    command.args(["build", "--package", "safe-chat", "--bin", "safe-chat"]);
    command.args(["--message-format", "json-render-diagnostics"]);
    match build {
        Build::Release => drop(command.arg("--release")),
        Build::Dev => {}
        Build::Quick => drop(command.arg("--no-default-features")),
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
    let (status, messages) = tool::progress_shown(&mut command, interrupt)?;
    ensure!(status.success(), "safe-chat does not build");
    executable(&messages).context("cargo did not say where safe-chat is")
}

fn executable(messages: &str) -> Option<PathBuf> {
    let messages = messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Message>(line).ok());
    messages
        .filter(|message| {
            message
                .target
                .as_ref()
                .is_some_and(|it| it.name == "safe-chat")
        })
        .find_map(|it| it.executable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_where_cargo_says() {
        let messages = r#"{"reason":"compiler-artifact","target":{"name":"build-script-build"},"executable":"/t/build"}
{"reason":"compiler-artifact","target":{"name":"safe-chat","kind":["lib"]},"executable":null}
{"reason":"compiler-artifact","target":{"name":"safe-chat","kind":["bin"]},"executable":"/t/release/safe-chat"}
{"reason":"build-finished","success":true}"#;
        assert_eq!(executable(messages), Some("/t/release/safe-chat".into()));
    }
}
