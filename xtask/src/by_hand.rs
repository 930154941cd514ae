//! Looking at the processes of `up` from another terminal, and breaking them.

use std::time::Duration;

use anyhow::{Result, bail, ensure};
use clap::Args;
use nix::sys::signal::Signal;

use crate::cluster;
use crate::console::{print, say};
use crate::interrupt::Interrupt;
use crate::process::{Condition, Identity, wait_for};
use crate::state::{Process, State};
use crate::{launch, paths, process};

/// How long a signal may take to show.
const SOON: Duration = Duration::from_secs(5);
/// How long `up` may take to end everything: twice the grace of a process, and some.
const ORDERLY: Duration = Duration::from_secs(30);

#[derive(Args)]
pub(crate) struct Name {
    /// As `cargo xtask ps` prints it: node-1, nats-1, cassandra-1 ...
    name: String,
}

#[derive(Args)]
pub(crate) struct Down {
    /// Delete the data too
    #[arg(long)]
    wipe: bool,
}

pub(crate) fn ps() -> Result<()> {
    let record = state()?.read()?;
    if record.processes.is_empty() {
        say("nothing was started (cargo xtask up)");
    }
    if !record.processes.is_empty() {
        print(format!(
            "{:<12} {:>8}  {:<8} {:>10}  LISTENS",
            "NAME", "PID", "STATE", "UP"
        ));
    }
    for Process { server, identity } in &record.processes {
        let listens: Vec<String> = server.listens.iter().map(ToString::to_string).collect();
        let condition = identity.condition();
        print(format!(
            "{:<12} {:>8}  {condition:<8} {:>10}  {}",
            server.name,
            identity.pid,
            up(identity),
            listens.join(", ")
        ));
    }
    if !record.processes.is_empty() && !record.supervisor_lives() {
        say("the cargo xtask up of these is gone: cargo xtask down ends them");
    }
    Ok(())
}

/// For how long a process has been there, as a person reads it; a dash for one that is gone.
fn up(identity: &Identity) -> String {
    let Some(age) = identity.age().filter(|_| identity.is_alive()) else {
        return "-".into();
    };
    let seconds = age.as_secs();
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    match (hours, minutes) {
        (0, 0) => format!("{seconds} s"),
        (0, _) => format!("{minutes} m {:02} s", seconds % 60),
        _ => format!("{hours} h {minutes:02} m"),
    }
}

pub(crate) fn kill(name: &Name) -> Result<()> {
    let process = running(name)?;
    process.identity.kill()?;
    print(format!(
        "{} (pid {}) is killed",
        name.name, process.identity.pid
    ));
    Ok(())
}

pub(crate) fn pause(name: &Name) -> Result<()> {
    signal(name, Signal::SIGSTOP, Condition::Paused)
}

pub(crate) fn resume(name: &Name) -> Result<()> {
    signal(name, Signal::SIGCONT, Condition::Running)
}

fn signal(name: &Name, signal: Signal, expected: Condition) -> Result<()> {
    let identity = running(name)?.identity;
    identity.signal(signal);
    let shows = wait_for(SOON, || identity.condition() == expected);
    ensure!(
        shows,
        "{} (pid {}) is {}, not {expected}",
        name.name,
        identity.pid,
        identity.condition()
    );
    print(format!(
        "{} (pid {}) is {expected}",
        name.name, identity.pid
    ));
    Ok(())
}

fn running(name: &Name) -> Result<Process> {
    let process = state()?.read()?.process(&name.name)?.clone();
    ensure!(
        process.identity.is_alive(),
        "{} is not running; cargo xtask start {0} starts it",
        name.name
    );
    Ok(process)
}

/// The new process belongs to `up` as the others do: `up` reports on it and ends it.
pub(crate) fn start(name: &Name, interrupt: &Interrupt) -> Result<()> {
    let state = state()?;
    let Process { server, identity } = state.read()?.process(&name.name)?.clone();
    if identity.is_alive() {
        bail!(
            "{} already runs (pid {}, {})",
            server.name,
            identity.pid,
            identity.condition()
        );
    }
    process::raise_open_files();
    let child = launch::launch(&state, &server)?;
    let pid = child.id();
    launch::await_ready(&state, &[&server.name], interrupt)?;
    print(format!("{} runs (pid {pid})", server.name));
    Ok(())
}

pub(crate) fn down(options: &Down) -> Result<()> {
    let state = state()?;
    let record = state.read()?;
    let processes = record.processes.len();
    if let Some(supervisor) = record.supervisor {
        supervisor.signal(Signal::SIGTERM);
        if !wait_for(ORDERLY, || !supervisor.is_alive()) {
            say(format!(
                "cargo xtask up (pid {}) does not end; killing it",
                supervisor.pid
            ));
            supervisor.kill()?;
        }
    }
    let _supervision = state.supervise()?;
    cluster::end_leftovers(&state, cluster::GRACE)?;
    if options.wipe {
        state.wipe_data()?;
    }
    let data = if options.wipe {
        "; the data is deleted"
    } else {
        ""
    };
    print(format!("{processes} processes ended{data}"));
    Ok(())
}

fn state() -> Result<State> {
    State::open(&paths::state()?)
}
