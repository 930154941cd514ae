//! The record of what runs, in a directory with the data and logs of it.
//!
//! Other terminals read and change it (`ps`, `kill`, `start`), and the next `up` finds there what a
//! killed one left. Every change is made under a file lock and put in place by a rename.

use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use crate::process::{Identity, wait_for};
use crate::server::Server;

/// Marks a directory as ours: `down --wipe` deletes in no other.
const MARK: &str = "state-of-cargo-xtask";

/// How long a lock may outlive its holder.
const LOCK_LINGERS: Duration = Duration::from_millis(300);

/// A state directory.
#[derive(Clone)]
pub struct State {
    dir: PathBuf,
}

/// What runs in a state directory.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Record {
    /// The `cargo xtask` that ends the rest when it ends.
    pub supervisor: Option<Identity>,
    /// It is ending them: nothing may be started any more.
    pub stopping: bool,
    /// What was started, dead or alive.
    pub processes: Vec<Process>,
}

/// A server that was started.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Process {
    /// How it was started.
    pub server: Server,
    /// Which process it is.
    pub identity: Identity,
}

impl Record {
    /// Whether there is one who ends the rest.
    pub fn supervisor_lives(&self) -> bool {
        self.supervisor.is_some_and(Identity::is_alive)
    }

    /// The process of that name.
    pub fn process(&self, name: &str) -> Result<&Process> {
        let names: Vec<&str> = self
            .processes
            .iter()
            .map(|process| process.server.name.as_str())
            .collect();
        ensure!(!names.is_empty(), "nothing was started (cargo xtask up)");
        let found = self
            .processes
            .iter()
            .find(|process| process.server.name == name);
        found.with_context(|| format!("no process {name}; there are {}", names.join(", ")))
    }

    /// Notes a start, in the place of an earlier one of that name.
    pub fn note(&mut self, process: Process) {
        match self
            .processes
            .iter_mut()
            .find(|known| known.server.name == process.server.name)
        {
            Some(known) => *known = process,
            None => self.processes.push(process),
        }
    }
}

/// Held by the supervisor as long as it lives; the kernel lets go of it even after SIGKILL.
pub struct Supervision {
    _lock: File,
}

impl State {
    /// Creates the directory if needed. A directory with other things in it is refused.
    pub fn open(dir: &Path) -> Result<Self> {
        let place = || format!("state directory {}", dir.display());
        fs::create_dir_all(dir).with_context(place)?;
        if !dir.join(MARK).exists() {
            let empty = fs::read_dir(dir).with_context(place)?.next().is_none();
            ensure!(
                empty,
                "{} is not a state directory of cargo xtask, and not empty",
                dir.display()
            );
            fs::write(dir.join(MARK), "").with_context(place)?;
        }
        Ok(Self {
            dir: dir.to_owned(),
        })
    }

    /// Becomes the one supervisor of this directory.
    pub fn supervise(&self) -> Result<Supervision> {
        let lock = File::create(self.dir.join("supervisor.lock"))?;
        // A process that is being started holds a copy until its exec: a supervisor may be gone a
        // moment before its lock.
        wait_for(LOCK_LINGERS, || {
            !matches!(lock.try_lock(), Err(TryLockError::WouldBlock))
        });
        match lock.try_lock() {
            Ok(()) => Ok(Supervision { _lock: lock }),
            Err(TryLockError::WouldBlock) => {
                let pid = self
                    .read()?
                    .supervisor
                    .map_or(String::new(), |it| format!(" (pid {})", it.pid));
                bail!("another cargo xtask up{pid} runs in this checkout; cargo xtask down ends it")
            }
            Err(TryLockError::Error(error)) => Err(error).context("supervisor.lock"),
        }
    }

    /// The record as it is now.
    pub fn read(&self) -> Result<Record> {
        match fs::read(self.file()) {
            Ok(text) => serde_json::from_slice(&text)
                .with_context(|| format!("{} cannot be read", self.file().display())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Record::default()),
            Err(error) => Err(error).with_context(|| self.file().display().to_string()),
        }
    }

    /// Changes the record; no other process changes it meanwhile. An error leaves it as it was.
    pub fn update<T>(&self, change: impl FnOnce(&mut Record) -> Result<T>) -> Result<T> {
        let lock = File::create(self.dir.join("state.lock"))?;
        lock.lock().context("state.lock")?;
        let mut record = self.read()?;
        let result = change(&mut record)?;
        let new = self.dir.join("state.json.new");
        fs::write(&new, serde_json::to_vec_pretty(&record)?)?;
        fs::rename(&new, self.file())?;
        Ok(result)
    }

    /// The state directories of test runs, one below each pid.
    pub fn runs(&self) -> PathBuf {
        self.dir.join("runs")
    }

    /// The data of servers whose data may be mixed.
    pub fn data(&self, flavour: &str) -> PathBuf {
        self.dir.join("data").join(flavour)
    }

    /// The log of a process.
    pub fn log(&self, name: &str) -> PathBuf {
        self.dir.join("logs").join(format!("{name}.log"))
    }

    /// Deletes all logs.
    pub fn clear_logs(&self) -> Result<()> {
        remove(&self.dir.join("logs"))
    }

    /// Deletes all data.
    pub fn wipe_data(&self) -> Result<()> {
        remove(&self.dir.join("data"))
    }

    fn file(&self) -> PathBuf {
        self.dir.join("state.json")
    }
}

fn remove(dir: &Path) -> Result<()> {
    let gone = |error: io::Error| {
        if error.kind() == ErrorKind::NotFound {
            Ok(())
        } else {
            Err(error)
        }
    };
    fs::remove_dir_all(dir)
        .or_else(gone)
        .with_context(|| format!("cannot remove {}", dir.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_with_other_things_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("thesis.tex"), "").unwrap();
        let Err(error) = State::open(dir.path()) else {
            panic!("it was taken")
        };
        assert!(
            error.to_string().contains("not a state directory"),
            "{error}"
        );
    }

    #[test]
    fn there_is_one_supervisor_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(dir.path()).unwrap();
        let first = state.supervise().unwrap();
        assert!(State::open(dir.path()).unwrap().supervise().is_err());
        drop(first);
        state.supervise().unwrap();
    }

    #[test]
    fn a_failed_change_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(dir.path()).unwrap();
        let me = Identity::of(std::process::id()).unwrap();
        state
            .update(|record| {
                record.supervisor = Some(me);
                Ok(())
            })
            .unwrap();
        let failed = state.update::<()>(|record| {
            record.supervisor = None;
            bail!("no")
        });
        assert!(failed.is_err());
        assert_eq!(state.read().unwrap().supervisor, Some(me));
    }
}
