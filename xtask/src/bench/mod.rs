//! `cargo xtask bench`: the figures of docs/performance.md, measured here: a node with its
//! nats-server (which syncs everything) on one core, beside the least server there can be and
//! others, the generator on another core.

mod document;
mod figures;
mod part;
mod servers;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::Args;

use self::document::Row;
use self::part::PARTS;
use self::servers::Servers;
use crate::binary::{self, Build};
use crate::console::say;
use crate::interrupt::{Interrupt, Interrupted};
use crate::{obtain, paths, process, runs, tool};

#[derive(Args)]
pub(crate) struct Options {
    /// How often each system has its turn; parts that take long have fewer
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Only these parts: fanout, sealed, idle, storm, durable, latency, session, mixed, rooms,
    /// nodes, deep; the document is printed, not written
    #[arg(long, value_name = "PART")]
    only: Vec<String>,
    /// The core of all servers
    #[arg(long, value_name = "CORE", default_value_t = 0)]
    core: usize,
    /// The core of the generator
    #[arg(long, value_name = "CORE", default_value_t = 1)]
    generator: usize,
    /// Keep the rooms in a Cassandra, on the same core: its rows are in a document of their own
    #[arg(long)]
    cassandra: bool,
    /// Only get the servers that are compared with
    #[arg(long)]
    obtain: bool,
}

/// What a part measures with.
pub(crate) struct Bench<'a> {
    options: &'a Options,
    loadtest: PathBuf,
    /// Where files of figures go.
    dir: PathBuf,
    servers: Servers,
    interrupt: &'a Interrupt,
}

pub(crate) fn run(options: &Options, interrupt: &Interrupt) -> Result<()> {
    for name in &options.only {
        if !PARTS.iter().any(|(known, _)| known == name) {
            let known: Vec<&str> = PARTS.iter().map(|(name, _)| *name).collect();
            bail!("there is no part {name}, only {}", known.join(", "));
        }
    }
    process::raise_open_files();
    let mut missing = Vec::new();
    for obtained in [
        obtain::peers::centrifugo(interrupt),
        obtain::peers::packages(interrupt),
    ] {
        interrupt.check()?;
        if let Err(error) = obtained {
            say(format!("skipped: {error:#}"));
            missing.push(format!("{error:#}"));
        }
    }
    if options.obtain {
        return Ok(());
    }
    let safe_chat = binary::build(Build::Release, interrupt)?;
    let loadtest = binary::build_loadtest(interrupt)?;
    let (state, dir) = runs::open()?;
    let servers = Servers::start(state, &dir, safe_chat, options, interrupt)?;
    let mut bench = Bench {
        options,
        loadtest,
        dir,
        servers,
        interrupt,
    };
    let mut rows = Vec::new();
    for (name, part) in PARTS {
        if !options.only.is_empty() && !options.only.iter().any(|only| only == name) {
            continue;
        }
        say(format!("--- {name}"));
        match part(&mut bench) {
            Ok(found) => rows.extend(found),
            Err(error) if error.is::<Interrupted>() => return Err(error),
            Err(error) => {
                say(format!("{name}: {error:#}"));
                rows.push(Row::missing(name, &format!("{error:#}")));
            }
        }
    }
    let text = document::tables(&rows, &missing, options)?;
    if options.only.is_empty() && !options.cassandra {
        let path = paths::root().join("docs/performance.md");
        document::write(&path, &text)?;
        say(format!("written: {}", paths::short(&path)));
    } else {
        crate::console::print(&text);
    }
    bench.servers.stop()
}

impl Bench<'_> {
    /// Rounds of a part that takes long.
    fn rounds(&self, most: u32) -> String {
        self.options.rounds.min(most).to_string()
    }

    /// A loadtest on the generator's core.
    fn loadtest(&self, args: &[&str]) -> Command {
        let mut command = Command::new("taskset");
        command.arg("-c").arg(self.options.generator.to_string());
        command.arg(&self.loadtest).args(args);
        command.current_dir(&self.dir);
        command
    }

    /// `loadtest peers` with the service among them; what its turns were.
    fn peers(&self, args: &[&str]) -> Result<figures::Turns> {
        self.peers_with(args, &self.servers.system())
    }

    /// The same, with the service as `loadtest peers` is to see it.
    fn peers_with(&self, args: &[&str], system: &str) -> Result<figures::Turns> {
        let json = self.dir.join("figures.json");
        // Not what an earlier part has left.
        let _ = std::fs::remove_file(&json);
        let mut command = self.loadtest(&["peers"]);
        command.args(args).arg("--json").arg(&json);
        command.args(["--core", &self.options.core.to_string()]);
        command.arg("--system").arg(system);
        let status = tool::shown(&mut command, self.interrupt)?;
        read(&json)
            .with_context(|| format!("loadtest peers {} ended with {status}", args.join(" ")))
    }
}

fn read(path: &Path) -> Result<figures::Turns> {
    let text = std::fs::read(path).with_context(|| path.display().to_string())?;
    Ok(serde_json::from_slice(&text)?)
}
