//! `loadtest peers`: the same scenario against several servers, one after another and again, so
//! that what the machine does meanwhile happens to all of them. What cannot be measured is said,
//! and the others go on.

mod system;
mod table;

use super::Exit;
use crate::{
    engine::{Dialect, Engine, Sealing},
    measure::{Environment, Processes, Recorder, listening},
    peer::{self, Kind, Running, Starter},
    report::Report,
    scenario::{Plan, Scenario, Shape},
};
use anyhow::{Context, Result};
use std::{collections::BTreeMap, fs, path::PathBuf};
use system::System;
use table::{Outcome, Table, Turn};

/// What to compare.
#[derive(Debug, clap::Args)]
pub struct Peers {
    /// What is done
    #[arg(value_enum)]
    scenario: Scenario,
    #[command(flatten)]
    shape: Shape,
    /// A system beside the bare server, and the ports of all that serves it: NAME=URL,PORT,PORT
    #[arg(long = "system", value_name = "NAME=URL[,PORT...]")]
    systems: Vec<System>,
    /// The same, where rooms are sealed: everybody proves a key, and who is first says all that is
    /// said, encrypted; as long as text of 487 bytes
    #[arg(long = "sealed", value_name = "NAME=URL[,PORT...]")]
    sealed: Vec<System>,
    /// Servers that are started beside it, as far as they are on this machine
    #[arg(long, value_delimiter = ',', value_enum, value_name = "PEER,...",
        default_values_t = [Kind::Bun, Kind::Centrifugo, Kind::SocketIo])]
    with: Vec<Kind>,
    /// Start none of them
    #[arg(long, conflicts_with = "with")]
    alone: bool,
    /// Where `cargo xtask bench --obtain` has put their programs [~/.cache/safe-chat]
    #[arg(long, value_name = "FOLDER")]
    cache: Option<PathBuf>,
    /// Bytes of text in a message
    #[arg(long, default_value_t = 256)]
    bytes: usize,
    /// How often each has its turn
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// The figure that is compared [what the scenario is about]
    #[arg(long)]
    figure: Option<String>,
    /// The core of what is started here (taskset); put the systems on it, too
    #[arg(long)]
    core: Option<usize>,
    /// Writes every figure of every turn here, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// One of those that are compared.
enum Entrant<'a> {
    Bare,
    Peer(Kind),
    System(&'a System),
    Sealed(&'a System),
}

impl Entrant<'_> {
    fn name(&self) -> String {
        match self {
            Self::Bare => "bare".into(),
            Self::Peer(kind) => kind.to_string(),
            Self::System(system) | Self::Sealed(system) => system.name.clone(),
        }
    }

    /// Whether it speaks this project's protocol for this project: what it breaks is an error.
    fn is_ours(&self) -> bool {
        matches!(self, Self::Bare | Self::System(_) | Self::Sealed(_))
    }
}

/// Runs all of them in turns, and prints medians and ratios within a round.
///
/// # Errors
/// The file of figures cannot be written.
pub fn peers(options: &Peers) -> Result<Exit> {
    let plan = Plan::new(options.scenario, options.shape.clone())?;
    let figure = options.figure.as_deref().unwrap_or_else(|| usual(&plan));
    // As many sessions as the system lets this process have; too few show as an error of their own.
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    let starter = Starter {
        core: options.core,
        cache: options.cache.clone().unwrap_or_else(peer::cache),
        resumes: matches!(
            options.scenario,
            Scenario::Storm | Scenario::Churn | Scenario::Deep
        ),
    };
    let mut table = Table::new(figure);
    let mut entrants = vec![Entrant::Bare];
    for kind in options.with.iter().filter(|_| !options.alone) {
        match starter.program(*kind) {
            Ok(_) => entrants.push(Entrant::Peer(*kind)),
            Err(why) => table.skip(kind.to_string(), format!("{why:#}")),
        }
    }
    entrants.extend(options.systems.iter().map(Entrant::System));
    entrants.extend(options.sealed.iter().map(Entrant::Sealed));
    let mut exit = Exit::Good;
    for round in 1..=options.rounds.max(1) {
        for entrant in &entrants {
            let outcome = one(&plan, entrant, &starter, options.bytes);
            if entrant.is_ours() && exit == Exit::Good {
                exit = outcome.exit();
            }
            table.add(Turn {
                round,
                system: entrant.name(),
                outcome,
            });
        }
    }
    print!("{table}");
    if let Some(path) = &options.json {
        let text = serde_json::to_vec_pretty(&table)?;
        fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(exit)
}

/// What a scenario is about.
fn usual(plan: &Plan) -> &'static str {
    match plan.scenario {
        _ if plan.pace.saturate => "cpu.deliveries_per_s",
        Scenario::Idle => "memory.per_session_kib",
        Scenario::Storm => "storm.all_s",
        Scenario::Deep => "resume.p50",
        Scenario::Knee => "knee",
        Scenario::Mixed => "cpu.deliveries_per_s",
        _ => "delivery.p99",
    }
}

/// Each turn has a server that has done nothing before, except a system that runs already.
fn one(plan: &Plan, entrant: &Entrant<'_>, starter: &Starter, bytes: usize) -> Outcome {
    let measured = match entrant {
        Entrant::System(system) | Entrant::Sealed(system) => {
            let pids = listening(&system.ports);
            let urls = std::slice::from_ref(&system.url);
            let is_sealed = matches!(entrant, Entrant::Sealed(_));
            measure(plan, urls, (Dialect::SafeChat, is_sealed), pids, bytes)
        }
        Entrant::Bare => starter.bare().and_then(|it| started(plan, &it, bytes)),
        Entrant::Peer(kind) => starter.peer(*kind).and_then(|it| started(plan, &it, bytes)),
    };
    measured.unwrap_or_else(|error| Outcome::Failed(format!("{error:#}")))
}

fn started(plan: &Plan, server: &Running, bytes: usize) -> Result<Outcome> {
    measure(
        plan,
        &[server.url()],
        (server.dialect, false),
        vec![server.pid()],
        bytes,
    )
}

fn measure(
    plan: &Plan,
    urls: &[String],
    (dialect, is_sealed): (Dialect, bool),
    pids: Vec<u32>,
    bytes: usize,
) -> Result<Outcome> {
    let names = Processes::new(pids.clone()).names();
    let recorder = Recorder::new(pids, true, None);
    let mut engine = Engine::new(urls, bytes, recorder)?.speaking(dialect);
    if is_sealed {
        engine = engine.sealing(Sealing::new(&urls[0])?);
    }
    let findings = plan.run(&mut engine)?;
    let report = Report::new(plan, &engine.recorder, findings, Environment::here(&names));
    if engine.recorder.broken > 0 {
        return Ok(Outcome::Broken(report.broken.join("; ")));
    }
    if let Some(why) = report.bottleneck() {
        return Ok(Outcome::Bottleneck(why));
    }
    let errors = report.errors.iter();
    let errors: BTreeMap<_, _> = errors
        .map(|(kind, what, count)| (format!("{kind} {what}"), *count))
        .collect();
    Ok(Outcome::Measured {
        figures: report.figures,
        errors,
    })
}
