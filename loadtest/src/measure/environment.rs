//! On what machine, with what, something was measured: without it a figure means nothing.

use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fs, process::Command, thread};

/// See the module. Pairs of a name and what is known.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Environment(pub BTreeMap<String, String>);

impl Environment {
    /// Looks around.
    pub fn here(servers: &[String]) -> Self {
        let mut all = BTreeMap::new();
        let mut note = |name: &str, what: Option<String>| {
            let what = what.filter(|what| !what.is_empty());
            all.insert(name.to_owned(), what.unwrap_or_else(|| "unknown".into()));
        };
        let line = |path: &str, start: &str| {
            let text = fs::read_to_string(path).ok()?;
            let line = text.lines().find(|line| line.starts_with(start))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        };
        note("cpu", line("/proc/cpuinfo", "model name"));
        let cores = thread::available_parallelism().map(|cores| cores.to_string());
        note("cores for the generator", cores.ok());
        note("memory", line("/proc/meminfo", "MemTotal"));
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").ok();
        note("kernel", kernel.map(|it| it.trim().to_owned()));
        let load = fs::read_to_string("/proc/loadavg").ok();
        let load = load.map(|it| it.split(' ').take(3).collect::<Vec<_>>().join(" "));
        note("load when it began", load);
        note(
            "cores the generator may use",
            line("/proc/self/status", "Cpus_allowed_list"),
        );
        note("open files", line_of_limits());
        let somaxconn = fs::read_to_string("/proc/sys/net/core/somaxconn").ok();
        note(
            "net.core.somaxconn",
            somaxconn.map(|it| it.trim().to_owned()),
        );
        note(
            "generator",
            Some(format!("loadtest {}", env!("CARGO_PKG_VERSION"))),
        );
        note(
            "build",
            Some(
                if cfg!(debug_assertions) {
                    "debug"
                } else {
                    "release"
                }
                .into(),
            ),
        );
        note("commit", says("git", &["rev-parse", "--short=12", "HEAD"]));
        note("servers", Some(servers.join(", ")));
        note("date", says("date", &["-u", "+%Y-%m-%d %H:%M:%S UTC"]));
        Self(all)
    }
}

fn line_of_limits() -> Option<String> {
    let text = fs::read_to_string("/proc/self/limits").ok()?;
    let line = text
        .lines()
        .find(|line| line.starts_with("Max open files"))?;
    line.split_whitespace().nth(3).map(str::to_owned)
}

fn says(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).output().ok()?;
    let text = output.status.success().then_some(output.stdout)?;
    Some(String::from_utf8(text).ok()?.trim().to_owned())
}
