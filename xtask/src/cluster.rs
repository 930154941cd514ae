//! Servers that run together in a state directory and end together: what `up`, `test` and fault
//! tests build on.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus};
use std::time::Duration;

use anyhow::Result;
use nix::sys::signal::Signal;

use crate::console;
use crate::interrupt::Interrupt;
use crate::launch;
use crate::process::{self, Identity};
use crate::server::{Kind, Server};
use crate::state::{Process, State, Supervision};

/// From SIGTERM to SIGKILL: nodes drain meanwhile.
pub const GRACE: Duration = Duration::from_secs(10);

/// Started servers. Dropping it ends them, whatever happened.
pub struct Cluster {
    state: State,
    interrupt: Interrupt,
    children: Vec<Child>,
    /// How those ended that were reaped, until it is reported.
    ended: BTreeMap<i32, ExitStatus>,
    /// Which processes were seen alive last, to notice what died and what was started again.
    seen: BTreeMap<String, Identity>,
    stopped: bool,
    _supervision: Supervision,
}

/// Something that happened to a server.
pub enum Change {
    /// It is gone.
    Died {
        /// Its name.
        name: String,
        /// Its process.
        pid: i32,
        /// By what.
        how: String,
    },
    /// It was started, here or from another terminal.
    Started {
        /// Its name.
        name: String,
        /// Its process.
        pid: i32,
    },
}

impl Cluster {
    /// Takes the directory over; what an earlier supervisor left running there (it was killed) is
    /// ended first.
    pub fn new(state: State, interrupt: Interrupt) -> Result<Self> {
        let supervision = state.supervise()?;
        end_leftovers(&state, GRACE)?;
        let me = Identity::of(std::process::id())?;
        state.update(|record| {
            record.supervisor = Some(me);
            record.stopping = false;
            Ok(())
        })?;
        let (children, ended, seen) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
        Ok(Self {
            state,
            interrupt,
            children,
            ended,
            seen,
            stopped: false,
            _supervision: supervision,
        })
    }

    /// Where its record, data and logs are.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Starts a server, which is recorded as long as this lives.
    pub fn start(&mut self, server: &Server) -> Result<()> {
        self.interrupt.check()?;
        let child = launch::launch(&self.state, server)?;
        self.children.push(child);
        Ok(())
    }

    /// Waits until all of them answer; one that dies meanwhile is an error with its last words.
    pub fn await_ready(&self, servers: &[Server]) -> Result<()> {
        let names: Vec<&str> = servers.iter().map(|server| server.name.as_str()).collect();
        launch::await_ready(&self.state, &names, &self.interrupt)
    }

    /// What died or was started (by another terminal) since the last call.
    pub fn changes(&mut self) -> Result<Vec<Change>> {
        let look = |process: Process| (process.identity.is_alive(), process);
        let processes: Vec<_> = self.state.read()?.processes.into_iter().map(look).collect();
        self.reap(); // after the look: the status of whatever was seen dead is known
        let mut changes = Vec::new();
        for (alive, Process { server, identity }) in processes {
            let (name, pid) = (server.name, identity.pid);
            let seen = self.seen.get(&name) == Some(&identity);
            if seen && !alive {
                self.seen.remove(&name);
                let how = self.ended.remove(&pid).map_or("ended".to_owned(), describe);
                changes.push(Change::Died { name, pid, how });
            } else if alive && !seen {
                self.seen.insert(name.clone(), identity);
                changes.push(Change::Started { name, pid });
            }
        }
        Ok(changes)
    }

    fn reap(&mut self) {
        self.children.retain_mut(|child| match child.try_wait() {
            Ok(Some(status)) => {
                self.ended.insert(child.id().cast_signed(), status);
                false
            }
            _ => true,
        });
    }

    /// Ends all: nodes first, so that they can drain while their servers still answer. Without
    /// grace they are killed.
    pub fn stop(&mut self, grace: Duration) -> Result<()> {
        self.stopped = true;
        let processes = self.state.update(|record| {
            record.stopping = true;
            Ok(record.processes.clone())
        })?;
        let signals = self.interrupt.signals();
        end(&processes, grace, || self.interrupt.signals() > signals)?;
        self.reap();
        forget(&self.state)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if !self.stopped
            && let Err(error) = self.stop(GRACE)
        {
            console::say(format!("error: {error:#}"));
        }
    }
}

/// Ends what a supervisor that is gone left running.
pub fn end_leftovers(state: &State, grace: Duration) -> Result<()> {
    let processes = state.read()?.processes;
    let alive = processes
        .iter()
        .filter(|process| process.identity.is_alive())
        .count();
    if alive > 0 {
        console::say(format!(
            "ending {alive} processes that an earlier run left behind"
        ));
    }
    end(&processes, grace, || false)?;
    forget(state)
}

fn end(processes: &[Process], grace: Duration, hurry: impl Fn() -> bool) -> Result<()> {
    let of = |nodes: bool| -> Vec<Identity> {
        let wanted = processes
            .iter()
            .filter(|process| (process.server.kind == Kind::Node) == nodes);
        wanted.map(|process| process.identity).collect()
    };
    process::end_all(&of(true), grace, &hurry)?;
    process::end_all(&of(false), grace, &hurry)
}

fn forget(state: &State) -> Result<()> {
    state.update(|record| {
        record.supervisor = None;
        record.processes.clear();
        Ok(())
    })
}

fn describe(status: ExitStatus) -> String {
    match status
        .signal()
        .and_then(|signal| Signal::try_from(signal).ok())
    {
        Some(signal) => format!("was ended by {signal}"),
        None => format!("ended with {status}"),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::process::{Condition, wait_for};
    use crate::server::Ready;

    const SOON: Duration = Duration::from_secs(5);

    /// A "server" that runs a shell script and never answers.
    fn server(name: &str, script: &str, dir: &Path) -> Server {
        Server {
            name: name.to_owned(),
            kind: Kind::Nats,
            program: "/bin/sh".into(),
            args: vec!["-c".to_owned(), script.to_owned()],
            dir: dir.to_owned(),
            listens: Vec::new(),
            ready: Ready::Http("http://127.0.0.1:1/".to_owned()),
            patience: 60,
        }
    }

    fn cluster(dir: &Path) -> Cluster {
        Cluster::new(State::open(dir).unwrap(), Interrupt::default()).unwrap()
    }

    fn identity(state: &State, name: &str) -> Identity {
        state.read().unwrap().process(name).unwrap().identity
    }

    #[test]
    fn a_dropped_cluster_leaves_nothing_running() {
        let dir = tempfile::tempdir().unwrap();
        let mut cluster = cluster(dir.path());
        cluster
            .start(&server("nats-1", "exec sleep 600", dir.path()))
            .unwrap();
        let started = identity(&cluster.state, "nats-1");
        assert_eq!(started.condition(), Condition::Running);
        drop(cluster);
        assert_eq!(started.condition(), Condition::Dead);
    }

    #[test]
    fn what_a_killed_supervisor_left_is_ended_by_the_next_one() {
        let dir = tempfile::tempdir().unwrap();
        let mut left = std::process::Command::new("sleep")
            .arg("600")
            .spawn()
            .unwrap();
        let identity = Identity::of(left.id()).unwrap();
        let server = server("nats-1", "", dir.path());
        let note = |record: &mut crate::state::Record| {
            record.note(Process { server, identity });
            Ok(())
        };
        State::open(dir.path()).unwrap().update(note).unwrap();
        let cluster = cluster(dir.path());
        assert_eq!(identity.condition(), Condition::Dead);
        assert!(cluster.state.read().unwrap().processes.is_empty());
        left.wait().unwrap();
    }

    #[test]
    fn a_death_before_ready_shows_the_last_words() {
        let dir = tempfile::tempdir().unwrap();
        let mut cluster = cluster(dir.path());
        let server = server("nats-1", "echo no disk; exit 1", dir.path());
        cluster.start(&server).unwrap();
        let error = cluster.await_ready(&[server]).unwrap_err().to_string();
        assert!(error.contains("ended before it was ready"), "{error}");
        assert!(error.ends_with("\n    no disk"), "{error}");
    }

    #[test]
    fn a_death_is_reported_once_and_so_is_the_new_start() {
        let dir = tempfile::tempdir().unwrap();
        let mut cluster = cluster(dir.path());
        let server = server("nats-1", "exec sleep 600", dir.path());
        cluster.start(&server).unwrap();
        assert!(matches!(
            cluster.changes().unwrap()[..],
            [Change::Started { .. }]
        ));
        let killed = identity(&cluster.state, "nats-1");
        killed.signal(Signal::SIGKILL);
        assert!(wait_for(SOON, || !killed.is_alive()));
        let changes = cluster.changes().unwrap();
        assert!(
            matches!(&changes[..], [Change::Died { how, .. }] if how == "was ended by SIGKILL")
        );
        assert!(cluster.changes().unwrap().is_empty());
        cluster.start(&server).unwrap();
        assert!(matches!(
            cluster.changes().unwrap()[..],
            [Change::Started { .. }]
        ));
    }

    #[test]
    fn nothing_starts_in_a_cluster_that_ends() {
        let dir = tempfile::tempdir().unwrap();
        let mut cluster = cluster(dir.path());
        cluster.stop(SOON).unwrap();
        let error = cluster
            .start(&server("nats-1", "exec sleep 600", dir.path()))
            .unwrap_err();
        assert!(error.to_string().contains("is ending"), "{error}");
    }
}
