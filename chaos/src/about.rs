//! What a report says of the moment and the place where it was made.

use chrono::Utc;
use std::{fs, process::Command, thread};
use xtask::paths;

/// The time, in UTC: `2026-11-25 00:10:07 UTC`.
pub fn now() -> String {
    Utc::now().format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// The commit of the checkout, and whether there is more than it.
pub fn commit() -> String {
    let git = |args: &[&str]| {
        let output = Command::new("git")
            .args(args)
            .current_dir(paths::root())
            .output()
            .ok()?;
        output
            .status
            .success()
            .then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let commit = git(&["rev-parse", "--short", "HEAD"]).unwrap_or_else(|| "unknown".to_owned());
    let changed = git(&["status", "--porcelain", "--untracked-files=no"])
        .is_some_and(|changes| !changes.is_empty());
    if changed {
        format!("{commit} and changes")
    } else {
        commit
    }
}

/// Processors, memory and kernel: `2 cores, 23 GiB, Linux 6.8.0`.
pub fn machine() -> String {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!(
        "{cores} cores, {} GiB, Linux {}",
        total_gib(&memory),
        kernel.trim()
    )
}

/// What a program says to `--version`, in its first line.
pub fn version(program: &std::path::Path) -> String {
    let output = Command::new(program).arg("--version").output();
    let text = output
        .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
        .unwrap_or_default();
    text.lines().next().unwrap_or("unknown").to_owned()
}

fn total_gib(meminfo: &str) -> u64 {
    let total = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = total
        .and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok())
        .unwrap_or(0);
    (kib + 512 * 1024) / (1024 * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_told_in_whole_gib() {
        assert_eq!(
            total_gib("MemTotal:       24576000 kB\nMemFree:  1 kB\n"),
            23
        );
        assert_eq!(total_gib(""), 0);
    }
}
