//! A Java that Cassandra runs on.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail};

use super::version::Version;
use crate::console::Step;
use crate::interrupt::Interrupt;
use crate::{paths, tool};

/// The newest one that Cassandra 5.0 supports.
const MAJOR: u32 = 17;

/// `JAVA_HOME`, PATH, or where distributions put it.
pub(super) fn java(interrupt: &Interrupt) -> Result<PathBuf> {
    let mut seen = Vec::new();
    for java in candidates() {
        match major(&java, interrupt) {
            Some(MAJOR) => return Ok(java),
            Some(other) => seen.push(format!("{} is Java {other}", java.display())),
            None => seen.push(format!("{} does not run", java.display())),
        }
        interrupt.check()?;
    }
    let seen = if seen.is_empty() {
        "no java found".to_owned()
    } else {
        seen.join(", ")
    };
    bail!("Cassandra 5.0 needs Java {MAJOR}: {seen}; set JAVA_HOME to a JDK {MAJOR}")
}

fn candidates() -> Vec<PathBuf> {
    let home = env::var_os("JAVA_HOME").map(|home| Path::new(&home).join("bin/java"));
    let installed = fs::read_dir("/usr/lib/jvm")
        .into_iter()
        .flatten()
        .flatten()
        .map(|jdk| jdk.path().join("bin/java"));
    let all = home
        .into_iter()
        .chain(paths::on_path("java"))
        .chain(installed);
    all.filter(|java| java.is_file()).collect()
}

fn major(java: &Path, interrupt: &Interrupt) -> Option<u32> {
    let mut step = Step::silent();
    let text = tool::quiet(
        Command::new(java).arg("-version"),
        Duration::from_secs(20),
        interrupt,
        &mut step,
    )
    .ok()?;
    Version::find(&text).map(|version| version.0)
}
