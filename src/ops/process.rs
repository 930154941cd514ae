//! Figures of this process, taken from /proc and from the runtime when somebody asks for metrics,
//! under the names that Prometheus' own clients use.

use crate::{
    metric::{self, text},
    telemetry,
};
use std::fs;

/// Ticks of the clock in which /proc counts time: the same on every Linux, whatever its kernel's.
const TICKS: f64 = 100.0;

/// Takes the figures that have handles, within the runtime.
pub(crate) fn record() {
    metric::LOG_LINES_DROPPED.absolute(telemetry::dropped_lines());
    record_traces();
    if let Ok(runtime) = tokio::runtime::Handle::try_current() {
        metric::TASKS.set(runtime.metrics().num_alive_tasks() as f64);
    }
}

fn record_traces() {
    let counts = telemetry::trace::counts().unwrap_or_default();
    for (outcome, count) in [("begun", counts.begun), ("capped", counts.capped)] {
        metric::TRACES.of(outcome).absolute(count);
    }
    for (outcome, count) in [
        ("exported", counts.exported),
        ("dropped", counts.dropped),
        ("failed", counts.failed),
    ] {
        metric::TRACE_SPANS.of(outcome).absolute(count);
    }
}

/// Writes what the system tells of the process; leaves out what it does not.
pub(crate) fn write(out: &mut String) {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let (status, stat) = (read("/proc/self/status"), read("/proc/self/stat"));
    let begun = after_name(&stat, 22).zip(boot_time(&read("/proc/stat")));
    let figures = [
        (
            "process_cpu_seconds_total",
            after_name(&stat, 14)
                .zip(after_name(&stat, 15))
                .map(|(user, system)| (user + system) / TICKS),
        ),
        (
            "process_resident_memory_bytes",
            field(&status, "VmRSS:").map(|kib| kib * 1024.0),
        ),
        (
            "process_virtual_memory_bytes",
            field(&status, "VmSize:").map(|kib| kib * 1024.0),
        ),
        (
            "process_open_fds",
            fs::read_dir("/proc/self/fd")
                .ok()
                .map(|open| open.count() as f64),
        ),
        (
            "process_max_fds",
            rlimit::Resource::NOFILE
                .get()
                .ok()
                .map(|(most, _)| most as f64),
        ),
        ("process_threads", field(&status, "Threads:")),
        (
            "process_start_time_seconds",
            begun.map(|(ticks, boot)| boot + ticks / TICKS),
        ),
    ];
    for (name, figure) in figures {
        if let Some(figure) = figure {
            text::write(out, name, &[(String::new(), figure)]);
        }
    }
}

fn field(status: &str, name: &str) -> Option<f64> {
    first(status.lines().find_map(|line| line.strip_prefix(name))?)
}

/// When the machine started, in Unix time.
fn boot_time(stat: &str) -> Option<f64> {
    field(stat, "btime")
}

/// A field of /proc/self/stat by its number in proc(5), from 3 on. The name before them may have
/// spaces and brackets.
fn after_name(stat: &str, number: usize) -> Option<f64> {
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(number - 3)?.parse().ok()
}

fn first(text: &str) -> Option<f64> {
    text.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_found_in_the_files_of_the_system() {
        let status = "Name:\tsafe-chat\nVmRSS:\t   12345 kB\nThreads:\t7\n";
        assert_eq!(field(status, "VmRSS:"), Some(12345.0));
        assert_eq!(field(status, "Threads:"), Some(7.0));
        assert_eq!(field(status, "VmSwap:"), None);
        assert_eq!(boot_time("cpu 1 2\nbtime 1700000000\n"), Some(1.7e9));
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194304 100 0 0 0 150 50 0 0 20 0 9 0 4200 1 2";
        let fields = [14, 15, 22].map(|number| after_name(stat, number));
        assert_eq!(fields, [Some(150.0), Some(50.0), Some(4200.0)]);
    }
}
