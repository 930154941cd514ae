//! CPU time and memory of processes, from /proc: of servers that were named or that listen at a
//! port of this machine, with all their children, and of the generator's own thread.

use nix::sys::resource::{UsageWho, getrusage};
use std::{collections::BTreeSet, fs, path::Path, time::Duration};

/// Ticks of a second in /proc/PID/stat; Linux has no other number on the machines this runs on.
const TICKS: u64 = 100;

/// Some processes, or this thread.
pub struct Processes {
    roots: Vec<u32>,
    of_thread: bool,
    before: Duration,
}

/// Since the lap before.
#[derive(Debug, Clone, Copy, Default)]
pub struct Lap {
    /// CPU time.
    pub cpu: Duration,
    /// Memory (RSS) now.
    pub kib: u64,
}

impl Processes {
    /// These, and their children.
    pub fn new(roots: Vec<u32>) -> Self {
        let mut new = Self {
            roots,
            of_thread: false,
            before: Duration::ZERO,
        };
        new.lap();
        new
    }

    pub(super) fn this_thread() -> Self {
        let mut new = Self {
            roots: Vec::new(),
            of_thread: true,
            before: Duration::ZERO,
        };
        new.lap();
        new
    }

    /// Whether there are any.
    pub fn is_empty(&self) -> bool {
        self.roots.is_empty()
    }

    /// How they are called, and their ids.
    pub fn names(&self) -> Vec<String> {
        let name = |pid: &u32| {
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            format!("{} ({pid})", name.trim())
        };
        self.roots.iter().map(name).collect()
    }

    /// CPU time since the lap before, and memory now.
    pub fn lap(&mut self) -> Lap {
        let (cpu, kib) = if self.of_thread {
            (of_this_thread(), 0)
        } else {
            self.now()
        };
        let before = std::mem::replace(&mut self.before, cpu);
        Lap {
            // A process that ended takes its time with it.
            cpu: cpu.saturating_sub(before),
            kib,
        }
    }

    /// All CPU time so far, and memory.
    pub fn now(&self) -> (Duration, u64) {
        let (mut ticks, mut kib) = (0, 0);
        for pid in with_children(&self.roots) {
            ticks += cpu_ticks(pid).unwrap_or(0);
            kib += rss_kib(pid).unwrap_or(0);
        }
        (Duration::from_millis(ticks * 1000 / TICKS), kib)
    }
}

fn of_this_thread() -> Duration {
    let Ok(usage) = getrusage(UsageWho::RUSAGE_THREAD) else {
        return Duration::ZERO;
    };
    let micros = [usage.user_time(), usage.system_time()]
        .map(|time| time.tv_sec() as u64 * 1_000_000 + time.tv_usec() as u64);
    Duration::from_micros(micros.iter().sum())
}

fn with_children(roots: &[u32]) -> BTreeSet<u32> {
    let mut all = BTreeSet::new();
    let mut next: Vec<u32> = roots.to_vec();
    while let Some(pid) = next.pop() {
        if !all.insert(pid) {
            continue;
        }
        for task in entries(format!("/proc/{pid}/task")) {
            let children = fs::read_to_string(format!("/proc/{pid}/task/{task}/children"));
            let children = children.unwrap_or_default();
            next.extend(
                children
                    .split_whitespace()
                    .filter_map(|it| it.parse::<u32>().ok()),
            );
        }
    }
    all
}

fn cpu_ticks(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may hold blanks; it ends with the last parenthesis.
    let (_, rest) = stat.rsplit_once(')')?;
    let fields: Vec<_> = rest.split_whitespace().collect();
    let ticks = |at: usize| fields.get(at)?.parse::<u64>().ok();
    Some(ticks(11)? + ticks(12)?)
}

fn rss_kib(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// The processes that listen at ports of this machine.
pub fn listening(ports: &[u16]) -> Vec<u32> {
    let sockets: BTreeSet<String> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|path| fs::read_to_string(path).ok())
        .flat_map(|table| sockets_at(&table, ports))
        .collect();
    let is_there = |pid: &u32| {
        entries(format!("/proc/{pid}/fd")).into_iter().any(|fd| {
            let target = fs::read_link(Path::new("/proc").join(format!("{pid}/fd/{fd}")));
            target.is_ok_and(|it| sockets.contains(&*it.to_string_lossy()))
        })
    };
    entries("/proc".into())
        .into_iter()
        .filter(is_there)
        .collect()
}

/// Names of the sockets in a table of the kernel that listen at some port.
fn sockets_at(table: &str, ports: &[u16]) -> Vec<String> {
    let of = |line: &str| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let (_, port) = fields.get(1)?.rsplit_once(':')?;
        let port = u16::from_str_radix(port, 16).ok()?;
        let listens = *fields.get(3)? == "0A";
        (listens && ports.contains(&port)).then(|| format!("socket:[{}]", fields[9]))
    };
    table.lines().skip(1).filter_map(of).collect()
}

/// Entries of a folder whose names are numbers.
fn entries(folder: String) -> Vec<u32> {
    let found = fs::read_dir(folder).into_iter().flatten();
    found
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn who_listens_at_a_port_is_found_and_counted() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let found = listening(&[port]);
        assert_eq!(found, [std::process::id()]);
        let (_, kib) = Processes::new(found).now();
        assert!(kib > 0);
        drop(listener);
        assert!(listening(&[port]).is_empty());
    }

    #[test]
    fn the_time_of_this_thread_goes_on_while_it_works() {
        let mut own = Processes::this_thread();
        while own.lap().cpu.is_zero() {
            let work = (0..100_000_u64).map(std::hint::black_box);
            std::hint::black_box(work.sum::<u64>());
        }
    }
}
