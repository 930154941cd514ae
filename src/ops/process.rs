//! Figures of this process, taken from /proc and from the runtime when somebody asks for metrics.

use crate::telemetry;
use metrics::{counter, describe_counter, describe_gauge, gauge};
use std::fs;

/// Says what the figures are.
pub(crate) fn describe() {
    describe_gauge!(
        "safechat_process_resident_bytes",
        "Memory of the process that is in RAM"
    );
    describe_gauge!(
        "safechat_process_open_fds",
        "Open file descriptors of the process"
    );
    describe_gauge!("safechat_process_threads", "Threads of the process");
    describe_gauge!("safechat_tasks", "Tasks of the runtime that have not ended");
    describe_counter!(
        "safechat_log_lines_dropped_total",
        "Lines of the log that stderr did not take"
    );
}

/// Takes the figures, within the runtime; leaves out what the system does not tell.
pub(crate) fn record() {
    counter!("safechat_log_lines_dropped_total").absolute(telemetry::dropped_lines());
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    if let Some(kib) = field(&status, "VmRSS:") {
        gauge!("safechat_process_resident_bytes").set(kib * 1024.0);
    }
    if let Some(threads) = field(&status, "Threads:") {
        gauge!("safechat_process_threads").set(threads);
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        gauge!("safechat_process_open_fds").set(open.count() as f64);
    }
    if let Ok(runtime) = tokio::runtime::Handle::try_current() {
        gauge!("safechat_tasks").set(runtime.metrics().num_alive_tasks() as f64);
    }
}

fn field(status: &str, name: &str) -> Option<f64> {
    status
        .lines()
        .find_map(|line| line.strip_prefix(name))?
        .split_whitespace()
        .next()?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_found_in_the_status_file() {
        let status = "Name:\tsafe-chat\nVmRSS:\t   12345 kB\nThreads:\t7\n";
        assert_eq!(field(status, "VmRSS:"), Some(12345.0));
        assert_eq!(field(status, "Threads:"), Some(7.0));
        assert_eq!(field(status, "VmSwap:"), None);
    }
}
