//! A process that can be found again: its pid, and when it started, so that a reused pid is never
//! taken for it.

use std::fmt;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use crate::procfs;

/// How long the kernel may take to clean up after SIGKILL (a Cassandra unmaps gigabytes).
const REAP: Duration = Duration::from_secs(20);

/// Which process is meant, across a reuse of its pid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Its number.
    pub pid: i32,
    /// Clock ticks from the boot to its start.
    pub start: u64,
}

/// How a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// It runs.
    Running,
    /// It was stopped by a signal and can go on.
    Paused,
    /// It is gone, or only waits for its parent to notice.
    Dead,
}

impl fmt::Display for Condition {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Dead => "dead",
        })
    }
}

impl Identity {
    /// The process that has this number now.
    pub fn of(pid: u32) -> Result<Self> {
        let pid = pid.cast_signed();
        let stat = procfs::stat(pid).with_context(|| format!("no process {pid}"))?;
        Ok(Self {
            pid,
            start: stat.start,
        })
    }

    /// For how long it has been there.
    pub fn age(self) -> Option<Duration> {
        let since_boot = procfs::uptime()?;
        let start = Duration::from_millis(self.start * (1000 / procfs::TICKS));
        Some(since_boot.saturating_sub(start))
    }

    /// How it is now.
    pub fn condition(self) -> Condition {
        match procfs::stat(self.pid) {
            Some(stat) if stat.start != self.start => Condition::Dead,
            Some(stat) if matches!(stat.state, 'T' | 't') => Condition::Paused,
            Some(_) if procfs::has_running_thread(self.pid) => Condition::Running,
            _ => Condition::Dead,
        }
    }

    /// Whether it runs or is paused.
    pub fn is_alive(self) -> bool {
        self.condition() != Condition::Dead
    }

    /// Nothing happens to a process that is gone.
    pub fn signal(self, signal: Signal) {
        if self.is_alive() {
            let _ = kill(Pid::from_raw(self.pid), signal);
        }
    }

    /// SIGKILL, and waits until it is gone.
    pub fn kill(self) -> Result<()> {
        self.signal(Signal::SIGKILL);
        if wait_for(REAP, || !self.is_alive()) {
            return Ok(());
        }
        bail!(
            "pid {} still runs {} s after SIGKILL",
            self.pid,
            REAP.as_secs()
        )
    }
}

/// Servers inherit the highest limit that is allowed: Cassandra and a gateway with many clients
/// need it.
pub fn raise_open_files() {
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}

/// SIGTERM to all, SIGKILL to those that are still there after `grace` or when `hurry` says so.
pub fn end_all(processes: &[Identity], grace: Duration, hurry: impl Fn() -> bool) -> Result<()> {
    for process in processes {
        process.signal(Signal::SIGTERM);
        process.signal(Signal::SIGCONT); // a paused process sees SIGTERM only when it runs again
    }
    wait_for(grace, || {
        hurry() || processes.iter().all(|process| !process.is_alive())
    });
    processes.iter().try_for_each(|process| process.kill())
}

/// Whether `condition` came true in time.
pub fn wait_for(limit: Duration, condition: impl Fn() -> bool) -> bool {
    let since = Instant::now();
    loop {
        if condition() {
            return true;
        }
        if since.elapsed() > limit {
            return false;
        }
        thread::sleep(Duration::from_millis(20));
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command};

    use super::*;

    const SOON: Duration = Duration::from_secs(5);

    fn sleeper() -> (Child, Identity) {
        let child = Command::new("sleep").arg("600").spawn().unwrap();
        let identity = Identity::of(child.id()).unwrap();
        (child, identity)
    }

    #[test]
    fn a_reused_pid_is_another_process() {
        let me = Identity::of(std::process::id()).unwrap();
        assert_eq!(me.condition(), Condition::Running);
        let before_me = Identity {
            start: me.start - 1,
            ..me
        };
        assert_eq!(before_me.condition(), Condition::Dead);
        before_me.signal(Signal::SIGKILL); // and we live to tell
    }

    #[test]
    fn a_zombie_is_dead() {
        let (mut child, identity) = sleeper();
        identity.kill().unwrap();
        assert_eq!(identity.condition(), Condition::Dead);
        child.wait().unwrap();
    }

    #[test]
    fn a_paused_process_is_seen_and_ends_on_sigterm() {
        let (mut child, identity) = sleeper();
        identity.signal(Signal::SIGSTOP);
        assert!(wait_for(SOON, || identity.condition() == Condition::Paused));
        end_all(&[identity], SOON, || false).unwrap();
        let status = child.wait().unwrap();
        assert_eq!(
            std::os::unix::process::ExitStatusExt::signal(&status),
            Some(Signal::SIGTERM as i32)
        );
    }

    #[test]
    fn a_process_that_ignores_sigterm_is_killed() {
        let mut child = Command::new("sh")
            .args(["-c", "trap '' TERM; while :; do sleep 1; done"])
            .spawn()
            .unwrap();
        let identity = Identity::of(child.id()).unwrap();
        end_all(&[identity], Duration::from_millis(100), || false).unwrap();
        assert!(!identity.is_alive());
        child.wait().unwrap();
    }
}
