//! Servers that run together in a state directory and end together: what `up`, `test` and fault tests build on.

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
const GRACE: Duration = Duration::from_secs(10);

/// Started servers. Dropping it ends them, whatever happened.
pub(crate) struct Cluster {
    state: State,
    interrupt: Interrupt,
    children: Vec<Child>,
    /// Which processes were seen alive last, to notice what died and what was started again.
    seen: BTreeMap<String, Identity>,
    stopped: bool,
    _supervision: Supervision,
}

/// Something that happened to a server.
pub(crate) enum Change {
    Died { name: String, pid: i32, how: String },
    Started { name: String, pid: i32 },
}

impl Cluster {
    /// Takes the directory over; what an earlier supervisor left running there (it was killed) is ended first.
    pub(crate) fn new(state: State, interrupt: Interrupt) -> Result<Self> {
        let supervision = state.supervise()?;
        end_leftovers(&state)?;
        state.clear_logs()?;
        let me = Identity::of(std::process::id())?;
        state.update(|record| {
            record.supervisor = Some(me);
            record.stopping = false;
            Ok(())
        })?;
        let (children, seen) = (Vec::new(), BTreeMap::new());
        Ok(Self { state, interrupt, children, seen, stopped: false, _supervision: supervision })
    }

    pub(crate) fn state(&self) -> &State {
        &self.state
    }

    pub(crate) fn start(&mut self, server: &Server) -> Result<()> {
        self.interrupt.check()?;
        let child = launch::launch(&self.state, server)?;
        self.children.push(child);
        Ok(())
    }

    pub(crate) fn await_ready(&self, servers: &[Server]) -> Result<()> {
        let names: Vec<&str> = servers.iter().map(|server| server.name.as_str()).collect();
        launch::await_ready(&self.state, &names, &self.interrupt)
    }

    /// What died or was started (by another terminal) since the last call.
    pub(crate) fn changes(&mut self) -> Result<Vec<Change>> {
        let statuses = self.reap();
        let mut changes = Vec::new();
        for Process { server, identity } in self.state.read()?.processes {
            let (name, pid) = (server.name, identity.pid);
            let seen = self.seen.get(&name) == Some(&identity);
            match (seen, identity.is_alive()) {
                (true, false) => {
                    self.seen.remove(&name);
                    let how = statuses.get(&pid).map_or("ended".to_owned(), |status| describe(*status));
                    changes.push(Change::Died { name, pid, how });
                }
                (false, true) => {
                    self.seen.insert(name.clone(), identity);
                    changes.push(Change::Started { name, pid });
                }
                _ => (),
            }
        }
        Ok(changes)
    }

    fn reap(&mut self) -> BTreeMap<i32, ExitStatus> {
        let mut ended = BTreeMap::new();
        self.children.retain_mut(|child| match child.try_wait() {
            Ok(Some(status)) => {
                ended.insert(child.id().cast_signed(), status);
                false
            }
            _ => true,
        });
        ended
    }

    /// Ends all: nodes first, so that they can drain while their servers still answer.
    pub(crate) fn stop(&mut self) -> Result<()> {
        self.stopped = true;
        let processes = self.state.update(|record| {
            record.stopping = true;
            Ok(record.processes.clone())
        })?;
        let signals = self.interrupt.signals();
        end(&processes, || self.interrupt.signals() > signals)?;
        self.reap();
        forget(&self.state)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if !self.stopped
            && let Err(error) = self.stop()
        {
            console::say(format!("error: {error:#}"));
        }
    }
}

/// Ends what a supervisor that is gone left running.
pub(crate) fn end_leftovers(state: &State) -> Result<()> {
    let processes = state.read()?.processes;
    let alive = processes.iter().filter(|process| process.identity.is_alive()).count();
    if alive > 0 {
        console::say(format!("ending {alive} processes that an earlier run left behind"));
    }
    end(&processes, || false)?;
    forget(state)
}

fn end(processes: &[Process], hurry: impl Fn() -> bool) -> Result<()> {
    let of = |nodes: bool| -> Vec<Identity> {
        let wanted = processes.iter().filter(|process| (process.server.kind == Kind::Node) == nodes);
        wanted.map(|process| process.identity).collect()
    };
    process::end_all(&of(true), GRACE, &hurry)?;
    process::end_all(&of(false), GRACE, &hurry)
}

fn forget(state: &State) -> Result<()> {
    state.update(|record| {
        record.supervisor = None;
        record.processes.clear();
        Ok(())
    })
}

fn describe(status: ExitStatus) -> String {
    match status.signal().and_then(|signal| Signal::try_from(signal).ok()) {
        Some(signal) => format!("was ended by {signal}"),
        None => format!("ended with {status}"),
    }
}
