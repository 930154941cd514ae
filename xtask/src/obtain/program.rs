//! A program that is recent enough, from the first place that has one: PATH, the cache, then each
//! way to install it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::cache::{self, Slot};
use super::version::Version;
use crate::console::{self, Step};
use crate::interrupt::{Interrupt, Interrupted};
use crate::{paths, tool};

/// A way to install it: puts the program into the directory and returns its path.
pub(super) type Install = fn(&Path, &Interrupt, &mut Step) -> Result<PathBuf>;

/// What is wanted.
pub(super) struct Wanted {
    pub(super) name: &'static str,
    pub(super) oldest: Version,
    /// Where it is in the cache.
    pub(super) place: &'static str,
    /// In this order.
    pub(super) ways: &'static [(&'static str, Install)],
    /// What a machine needs one of, for people.
    pub(super) needs: &'static str,
}

impl Wanted {
    /// The path of one that is recent enough.
    pub(super) fn obtain(&self, interrupt: &Interrupt) -> Result<PathBuf> {
        if let Some(found) = self.found("on PATH", paths::on_path(self.name), interrupt)? {
            return Ok(found);
        }
        let place = cache::place(self.place)?;
        let cached = Some(place.clone()).filter(|it| it.exists());
        if let Some(found) = self.found("in the cache", cached, interrupt)? {
            return Ok(found);
        }
        let slot = Slot::take(self.place)?;
        if place.exists() && self.version(&place, interrupt).is_ok() {
            console::say(format!(
                "{}: another process has just put it into the cache",
                self.name
            ));
            return Ok(place);
        }
        self.install(&slot, interrupt)
    }

    /// None: go on to the next way. What was found or not is said in a line.
    fn found(
        &self,
        where_: &str,
        program: Option<PathBuf>,
        interrupt: &Interrupt,
    ) -> Result<Option<PathBuf>> {
        let name = self.name;
        let Some(program) = program else {
            console::say(format!("{name}: not {where_}"));
            return Ok(None);
        };
        match self.version(&program, interrupt) {
            Ok(version) => {
                console::say(format!(
                    "{name}: {version} {where_} ({})",
                    program.display()
                ));
                Ok(Some(program))
            }
            Err(error) if error.is::<Interrupted>() => Err(error),
            Err(error) => {
                console::say(format!("{name}: not the one {where_}: {error}"));
                Ok(None)
            }
        }
    }

    fn install(&self, slot: &Slot, interrupt: &Interrupt) -> Result<PathBuf> {
        for (way, install) in self.ways {
            let mut step = Step::start(format!("{}: by {way}", self.name));
            match self.attempt(*install, slot, interrupt, &mut step) {
                Ok((program, version)) => {
                    step.done(version);
                    return Ok(program);
                }
                Err(error) => step.failed(format!("no: {error:#}")),
            }
            interrupt.check()?;
        }
        bail!(
            "no way to get {} {}.{} (the lines above say why). One of these is needed: {}; those that download need their \
             registry",
            self.name,
            self.oldest.0,
            self.oldest.1,
            self.needs
        )
    }

    fn attempt(
        &self,
        install: Install,
        slot: &Slot,
        interrupt: &Interrupt,
        step: &mut Step,
    ) -> Result<(PathBuf, Version)> {
        let program = install(&slot.scratch()?, interrupt, step)?;
        let version = self.version(&program, interrupt)?;
        Ok((slot.keep(&program)?, version))
    }

    /// An error if it is none that will do.
    fn version(&self, program: &Path, interrupt: &Interrupt) -> Result<Version> {
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
            version >= self.oldest,
            "{} is {version}, older than {}",
            program.display(),
            self.oldest
        );
        Ok(version)
    }
}
