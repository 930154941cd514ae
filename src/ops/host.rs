//! What the machine gives this process: cores and memory, within its control group, and open files.

use super::cgroup;
use std::{fs, thread};

/// Cores that it may use.
pub fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// Bytes of memory that it may use, when its control group limits that.
pub fn memory_limit() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    cgroup::memory_limit(&groups, |path| fs::read_to_string(path).ok())
}

/// Open files that this process may have, after asking for as many as it may; `None`: the system
/// does not say.
pub fn open_files() -> Option<usize> {
    rlimit::increase_nofile_limit(u64::MAX)
        .ok()
        .and_then(|files| files.try_into().ok())
}
