//! What the machine gives this process: cores and memory, within its control group.

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
