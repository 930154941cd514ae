//! A long run at a steady load: what each process holds is measured every few seconds, and must not
//! grow.
//!
//! `servers` starts a NATS and nodes, `load` is who does what (and checks what it sees), `figures`
//! is what is measured, `trend` whether it grows.

pub(crate) mod figures;
mod load;
mod servers;
mod trend;

use crate::{
    about,
    command::Journals,
    report::{Report, Soak, files},
    site::Kept,
};
use anyhow::Result;
use clap::Args;
use figures::{Figures, SLOW};
use load::{Load, Plan};
use servers::Servers;
use std::{path::PathBuf, time::Duration};
use tokio::time::{Instant, sleep_until};
use xtask::{
    binary::{self, Build},
    cluster::{self, Change, Cluster},
    console::say,
    interrupt::Interrupt,
    paths, process, runs,
};

/// Between two measurements.
const EVERY: Duration = Duration::from_secs(5);
/// What is measured in so many of them is said in one line.
const TELL: u32 = 12;
/// The warm-up is a quarter, and at most this long: rooms leave the memory after two minutes, and
/// windows of ids are full after less.
const WARM_UP: f64 = 420.0;
/// That of a year: as long as rooms keep anything, twice.
const OF_A_YEAR: f64 = 1_800.0;

/// A steady load for a long time: memory, files and tasks must not grow.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// How long
    #[arg(long, value_name = "N", default_value_t = 1800)]
    seconds: u64,
    /// Nodes
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=9))]
    nodes: u8,
    /// Clients that stay
    #[arg(long, value_name = "N", default_value_t = 40)]
    clients: usize,
    /// Messages per second of all of them together
    #[arg(long, value_name = "R", default_value_t = 300.0)]
    rate: f64,
    /// Rooms that they are in
    #[arg(long, value_name = "N", default_value_t = 8)]
    rooms: usize,
    /// A day takes ten seconds, so an hour a year: rooms keep 90 days, others are made, filled,
    /// limited and purged, month after month, and what is stored must not grow either
    #[arg(long)]
    year: bool,
    /// Where rooms are kept
    #[arg(long, value_enum, default_value_t = Journals::Bus)]
    journal: Journals,
    /// Where all chance comes from
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// Where the page is written; its data and tables are put beside it
    #[arg(long, value_name = "FILE", default_value = "target/soak.html")]
    report: PathBuf,
    /// Programs of the profile for development
    #[arg(long)]
    debug: bool,
    /// A safe-chat that is built already
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
}

impl Options {
    /// The command that repeats it.
    fn command(&self) -> String {
        let Self {
            seconds,
            nodes,
            clients,
            rate,
            rooms,
            journal,
            seed,
            ..
        } = self;
        let journal = journal.as_str();
        let debug = if self.debug { " --debug" } else { "" };
        let year = if self.year { " --year" } else { "" };
        format!(
            "cargo xtask chaos soak --seconds {seconds} --nodes {nodes} --clients {clients} --rate {rate} --rooms {rooms} --journal {journal} --seed {seed}{year}{debug}"
        )
    }
}

/// Runs it and writes the report. Whether everything stayed flat and every promise was kept.
pub fn run(options: &Options, interrupt: &Interrupt) -> Result<bool> {
    process::raise_open_files();
    let program = match &options.program {
        Some(program) => std::path::absolute(program)?,
        None => binary::build(Build::whole(options.debug), interrupt)?,
    };
    let (state, dir) = runs::open()?;
    let mut cluster = Cluster::new(state, interrupt.clone())?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let mut report = Report {
        made_at: about::now(),
        commit: about::commit(),
        machine: about::machine(),
        command: options.command(),
        seed: options.seed,
        ..Report::default()
    };
    let mut met = true;
    for kept in options.journal.all() {
        let servers = servers::start(&mut cluster, kept, options, &program, interrupt)?;
        report.versions.clone_from(&servers.versions);
        let soak = runtime.block_on(soak(options, kept, servers, &mut cluster, interrupt))?;
        cluster.stop(cluster::GRACE)?;
        cluster.state().wipe_data()?;
        tell(&soak);
        met = soak.met();
        report.soaks.push(soak);
        // Its logs are what is looked at next.
        if !met {
            break;
        }
    }
    files::write(&report, &options.report)?;
    say(format!(
        "soak: {}; the report is {}",
        if met { "flat" } else { "NOT MET" },
        options.report.display()
    ));
    if met {
        drop(cluster);
        std::fs::remove_dir_all(&dir)?;
    } else {
        say(format!(
            "logs: {}/logs (until the next run)",
            paths::short(&dir)
        ));
    }
    Ok(met)
}

async fn soak(
    options: &Options,
    kept: Kept,
    servers: Servers,
    cluster: &mut Cluster,
    interrupt: &Interrupt,
) -> Result<Soak> {
    let plan = Plan {
        gateways: servers.gateways,
        rooms: options.rooms.max(1),
        steady: options.clients.max(1),
        rate: options.rate.max(0.1),
        passing: 8,
        slow: 3,
        floods: 1,
        tenants: if options.year { 4 } else { 0 },
        operators: servers.operators,
        seed: options.seed,
    };
    let figures = Figures::new(servers.places, !options.year);
    let (mut figures, started) = (figures, about::now());
    cluster.changes()?;
    let (began, load) = (Instant::now(), Load::begin(&plan).await?);
    let mut broken = Vec::new();
    for n in 0_u32.. {
        sleep_until(began + EVERY * n).await;
        let at = began.elapsed();
        let (taken, back) = take(figures, at).await?;
        figures = back;
        broken.extend(
            taken
                .err()
                .map(|error| format!("{} s: {error:#}", at.as_secs())),
        );
        broken.extend(
            cluster
                .changes()?
                .iter()
                .filter_map(|change| died(change, at)),
        );
        if n.is_multiple_of(TELL) {
            tell_now(at, &load, &figures);
        }
        if at.as_secs() >= options.seconds || interrupt.requested() {
            break;
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    let resets = load.resets();
    let ended = load.end().await;
    broken.extend(ended.violations);
    let warm_up = match options.year {
        true => (seconds / 4.0).max(OF_A_YEAR),
        false => (seconds / 4.0).min(WARM_UP),
    };
    let slow = closed_as_slow(&figures);
    let mut series = figures.into_series();
    for series in &mut series {
        series.slope = trend::per_hour(&series.points, warm_up);
        if series.slope.is_none() {
            series.tolerance = None; // too short a run to be judged
        }
    }
    let mut told = plan.told();
    told.push(format!(
        "{} visits, {} rooms purged, {slow} closed as slow, {resets} connections reset",
        ended.counts.visits, ended.counts.purges
    ));
    Ok(Soak {
        journal: kept.as_str().to_owned(),
        started,
        seconds,
        warm_up,
        load: told,
        sent: ended.counts.sent,
        journaled: ended.counts.journaled,
        rejected: ended.counts.rejected,
        connects: ended.counts.connects,
        p50_us: ended.p50_us,
        p99_us: ended.p99_us,
        violations: broken,
        series,
    })
}

/// Measures aside: the clients go on.
async fn take(mut figures: Figures, at: Duration) -> Result<(Result<()>, Figures)> {
    Ok(tokio::task::spawn_blocking(move || (figures.take(at.as_secs_f64()), figures)).await?)
}

fn died(change: &Change, at: Duration) -> Option<String> {
    match change {
        Change::Died { name, how, .. } => Some(format!("{} s: {name} {how}", at.as_secs())),
        Change::Started { .. } => None,
    }
}

fn closed_as_slow(figures: &Figures) -> u64 {
    figures.now(SLOW).iter().map(|count| *count as u64).sum()
}

fn tell_now(at: Duration, load: &Load, figures: &Figures) {
    let mib = |bytes: Vec<f64>| {
        bytes
            .iter()
            .map(|bytes| format!("{:.0}", bytes / 1_048_576.0))
            .collect::<Vec<_>>()
            .join("/")
    };
    let counts = load.counts();
    let [memory, nats] =
        ["resident memory", "resident memory of NATS"].map(|what| mib(figures.now(what)));
    let [tasks, files, commands] =
        ["tasks", "open files", "commands kept"].map(|what| figures.now(what));
    say(format!(
        "{:>5} s  journaled {}  visits {}  purges {}  slow {}  refused {}  broken {}  memory {memory} MiB  NATS {nats} MiB  tasks {tasks:?}  files {files:?}  commands {commands:?}",
        at.as_secs(),
        counts.journaled,
        counts.visits,
        counts.purges,
        closed_as_slow(figures),
        counts.rejected,
        load.violations().len(),
    ));
}

fn tell(soak: &Soak) {
    for series in soak.series.iter().filter(|series| !series.is_flat()) {
        say(format!(
            "{} of {} grows by {:.1} per hour, {:.1} are allowed",
            series.what,
            series.process,
            series.slope.unwrap_or(0.0),
            series.tolerance.unwrap_or(0.0)
        ));
    }
    soak.violations
        .iter()
        .take(20)
        .for_each(|what| say(format!("broken: {what}")));
}
