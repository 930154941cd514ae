//! Cassandra's jars, by Maven. There is no installation: java, a directory of jars and a
//! configuration are all it takes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use super::cache::{self, Slot};
use super::java;
use crate::console::{self, Step};
use crate::interrupt::Interrupt;
use crate::{template, tool};

/// The version that is obtained.
pub const VERSION: &str = "5.0.8";
const PLACE: &str = "cassandra-5.0.8";
/// Copies the jars of a project's dependencies into a directory.
const GOAL: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies";
const LIMIT: Duration = Duration::from_secs(20 * 60);

/// What it takes to run Cassandra.
#[derive(Clone, Debug)]
pub struct Program {
    /// The java to run.
    pub java: PathBuf,
    /// The directory of its jars.
    pub jars: PathBuf,
    /// Measures the size of objects for Cassandra; it does not start without.
    pub agent: PathBuf,
}

/// Finds it, or installs it into the cache.
pub fn cassandra(interrupt: &Interrupt) -> Result<Program> {
    let java = java::java(interrupt)?;
    let jars = jars(interrupt)?;
    let agent = jar(&jars, "jamm-").with_context(|| format!("no jamm in {}", jars.display()))?;
    Ok(Program { java, jars, agent })
}

fn jars(interrupt: &Interrupt) -> Result<PathBuf> {
    let place = cache::place(PLACE)?;
    if place.exists() {
        console::say(format!(
            "cassandra: {VERSION} in the cache ({})",
            place.display()
        ));
        return Ok(place);
    }
    let slot = Slot::take(PLACE)?;
    if place.exists() {
        console::say("cassandra: another process has just put it into the cache");
        return Ok(place);
    }
    let mut step = Step::start(format!("cassandra: {VERSION} by mvn"));
    match download(&slot.scratch()?, interrupt, &mut step) {
        Ok(complete) => {
            step.done(format!("{} jars", fs::read_dir(&complete)?.count()));
            slot.keep(&complete)
        }
        Err(error) => {
            step.failed("no");
            Err(error.context("no way to get Cassandra (Maven and JDK 17 are needed)"))
        }
    }
}

fn download(dir: &Path, interrupt: &Interrupt, step: &mut Step) -> Result<PathBuf> {
    let pom = dir.join("pom.xml");
    let jars = dir.join("jars");
    fs::write(
        &pom,
        template::fill(
            include_str!("../../templates/cassandra-pom.xml"),
            &[("VERSION", VERSION)],
        ),
    )?;
    let mut mvn = Command::new("mvn");
    mvn.args([
        "--batch-mode",
        "--quiet",
        "--strict-checksums",
        "-Dstyle.color=never",
        "--file",
    ])
    .arg(&pom);
    mvn.args([GOAL, "-DincludeScope=runtime"])
        .arg(format!("-DoutputDirectory={}", jars.display()));
    tool::quiet(&mut mvn, LIMIT, interrupt, step)?;
    jar(&jars, "cassandra-all-").context("Maven brought no cassandra-all")?;
    Ok(jars)
}

fn jar(dir: &Path, prefix: &str) -> Option<PathBuf> {
    let named = |path: &PathBuf| {
        path.file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with(prefix))
    };
    fs::read_dir(dir)
        .ok()?
        .flatten()
        .map(|entry| entry.path())
        .find(named)
}
