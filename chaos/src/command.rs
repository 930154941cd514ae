//! `chaos [SCENARIO...]`: the runs that were asked for, one after another, and their report.

use crate::{
    about, next,
    report::{self, Report, Run},
    run::{self, Load},
    scenario::{self, Scenario},
    site::{Kept, Setup, Site},
};
use anyhow::{Context, Result, bail, ensure};
use chrono::Utc;
use clap::{Args, ValueEnum};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::{runtime::Runtime, task::block_in_place};
use xtask::{
    binary::{self, Build},
    console::{print, say},
    interrupt::Interrupt,
    paths, process, runs,
    state::State,
};

/// Scenarios, and on what.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Scenarios by name (default: all; --list tells them)
    #[arg(value_name = "SCENARIO")]
    scenarios: Vec<String>,
    /// Where rooms are kept
    #[arg(long, value_enum, default_value_t = Journals::Both)]
    journal: Journals,
    /// How long `mixed` lasts
    #[arg(long, value_name = "N", default_value_t = 1200, value_parser = clap::value_parser!(u64).range(60..))]
    seconds: u64,
    /// Where all chance comes from (default: the time)
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// Messages per second of all clients together
    #[arg(long, value_name = "R", default_value_t = 200.0)]
    rate: f64,
    /// Clients, spread over rooms and gateways
    #[arg(long, value_name = "N", default_value_t = 40)]
    clients: usize,
    /// Rooms
    #[arg(long, value_name = "N", default_value_t = 4)]
    rooms: usize,
    /// Of 100 messages, how many are sent once more after they were answered
    #[arg(long, value_name = "N", default_value_t = 2)]
    repeats: u32,
    /// nats-servers
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = one_or_three)]
    nats: u16,
    /// Cassandra nodes
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = one_or_three)]
    cassandra: u16,
    /// Every scenario so often
    #[arg(long, value_name = "N", default_value_t = 1)]
    repeat: usize,
    /// About three minutes for every change: slow programs, one server of each kind, figures are
    /// only told
    #[arg(long)]
    short: bool,
    /// Programs of the profile for development
    #[arg(long)]
    debug: bool,
    /// A safe-chat that is built already
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// A safe-chat of the version before: the cluster begins with it, and the only scenario is its
    /// upgrade under load
    #[arg(long, value_name = "FILE", conflicts_with_all = ["short", "scenarios"])]
    before: Option<PathBuf>,
    /// The cluster begins with this version, and is upgraded to the one after it: that one has a
    /// form more, in which every message is a command and an event that this one does not know
    /// (chaos/next.patch)
    #[arg(long, conflicts_with_all = ["short", "scenarios", "before"])]
    next: bool,
    /// Tell the scenarios
    #[arg(long)]
    list: bool,
    /// Where the report is written: a page; its data and tables are put beside it
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Journals {
    Bus,
    Cassandra,
    Both,
}

impl Journals {
    /// As it is given.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Bus => "bus",
            Self::Cassandra => "cassandra",
            Self::Both => "both",
        }
    }

    pub(crate) fn all(self) -> Vec<Kept> {
        match self {
            Self::Bus => vec![Kept::Bus],
            Self::Cassandra => vec![Kept::Cassandra],
            Self::Both => vec![Kept::Bus, Kept::Cassandra],
        }
    }
}

fn one_or_three(text: &str) -> Result<u16, String> {
    match text {
        "1" => Ok(1),
        "3" => Ok(3),
        _ => Err("1 or 3".to_owned()),
    }
}

/// Runs them. `false` when a promise was broken or, unless it is the short one, a wanted figure was
/// missed.
pub fn run(options: Options, interrupt: &Interrupt) -> Result<bool> {
    Runtime::new()?.block_on(async { options.shortened().run(interrupt).await })
}

impl Options {
    /// What `--short` means.
    fn shortened(self) -> Self {
        if !self.short {
            return self;
        }
        Self {
            nats: 1,
            cassandra: 1,
            clients: self.clients.min(16),
            rate: self.rate.min(40.0),
            debug: true,
            ..self
        }
    }

    async fn run(&self, interrupt: &Interrupt) -> Result<bool> {
        let seed = self
            .seed
            .unwrap_or_else(|| Utc::now().timestamp_millis().unsigned_abs());
        if self.list {
            for scenario in scenario::all(
                seed,
                Duration::from_secs(self.seconds),
                self.nats,
                usize::from(self.cassandra),
            ) {
                print(format!(
                    "{:<20} {:>5} s  {}",
                    scenario.name,
                    scenario.talk.as_secs(),
                    scenario.about
                ));
            }
            return Ok(true);
        }
        let plans: Vec<(Kept, Vec<Scenario>)> = self
            .journal
            .all()
            .into_iter()
            .map(|kept| Ok((kept, self.chosen(kept, seed)?)))
            .collect::<Result<_>>()?;
        block_in_place(process::raise_open_files);
        let next = match self.next {
            true => Some(block_in_place(|| next::build(self.debug, interrupt))?),
            false => None,
        };
        let this = match &self.program {
            Some(program) => std::path::absolute(program)?,
            None => block_in_place(|| binary::build(Build::whole(self.debug), interrupt))?,
        };
        let (before, program) = match (next, &self.before) {
            (Some(next), _) => (Some(this), next),
            (None, Some(before)) => (Some(std::path::absolute(before)?), this),
            (None, None) => (None, this),
        };
        let (state, dir) = block_in_place(runs::open)?;
        let mut report = Report {
            made_at: about::now(),
            commit: about::commit(),
            machine: about::machine(),
            versions: versions(&program, before.as_deref()),
            command: self.command(seed),
            seed,
            ..Report::default()
        };
        let mut failed = None;
        for (kept, scenarios) in plans {
            let setup = Setup {
                program: program.clone(),
                before: before.clone(),
                journal: kept,
                nats: self.nats,
                cassandra: usize::from(self.cassandra),
            };
            if let Err(error) = self
                .journal(setup, &scenarios, &state, seed, interrupt, &mut report)
                .await
            {
                failed = Some(error);
                break;
            }
        }
        // What was found before an error, or Ctrl-C, is worth something too.
        if let (Some(page), false) = (&self.report, report.runs.is_empty()) {
            report::files::write(&report, page)?;
            print(format!("report: {}", page.display()));
        }
        let well = self.verdict(&report) && failed.is_none();
        if !well {
            say(format!(
                "logs: {}/logs (until the next run)\nagain: {}",
                paths::short(&dir),
                report.command
            ));
        }
        if let Some(error) = failed {
            return Err(error);
        }
        if well {
            std::fs::remove_dir_all(&dir).with_context(|| dir.display().to_string())?;
        }
        Ok(well)
    }

    /// All scenarios on one journal. A site on which a promise was broken is not used again.
    async fn journal(
        &self,
        setup: Setup,
        scenarios: &[Scenario],
        state: &State,
        seed: u64,
        interrupt: &Interrupt,
        report: &mut Report,
    ) -> Result<()> {
        let mut site = None;
        for scenario in scenarios
            .iter()
            .flat_map(|scenario| std::iter::repeat_n(scenario, self.repeat))
        {
            let n = report.runs.len() + 1;
            let mut here = match site.take() {
                Some(site) => site,
                None => {
                    let data = state.data(&format!("{}-{n}", setup.journal.as_str()));
                    Site::start(setup.clone(), state.clone(), data, seed, interrupt).await?
                }
            };
            say(format!(
                "{n}: {} on {}: {}",
                scenario.name,
                setup.journal.as_str(),
                scenario.about
            ));
            let run = run::run(
                &mut here,
                scenario,
                self.load(seed.wrapping_add(n as u64)),
                &format!("{}-{n}", scenario.name),
                interrupt,
            )
            .await?;
            tell(&run);
            let broken = !run.violations.is_empty();
            report.runs.push(run);
            if broken {
                here.end()?;
            } else {
                site = Some(here);
            }
        }
        site.map_or(Ok(()), Site::end)
    }

    fn load(&self, seed: u64) -> Load {
        Load {
            seed,
            clients: self.clients,
            rooms: self.rooms,
            rate: self.rate,
            repeats: self.repeats,
        }
    }

    fn chosen(&self, kept: Kept, seed: u64) -> Result<Vec<Scenario>> {
        if self.before.is_some() || self.next {
            return Ok(scenario::of_two_versions());
        }
        if self.short && self.scenarios.is_empty() {
            return Ok(scenario::short(kept));
        }
        let cassandra = if kept == Kept::Cassandra {
            usize::from(self.cassandra)
        } else {
            0
        };
        let all = scenario::all(
            seed,
            Duration::from_secs(self.seconds),
            self.nats,
            cassandra,
        );
        for name in &self.scenarios {
            ensure!(
                all.iter().any(|scenario| scenario.name == *name),
                "there is no scenario {name} (--list tells them)"
            );
        }
        let named = |scenario: &Scenario| {
            self.scenarios.is_empty() || self.scenarios.contains(&scenario.name)
        };
        let fits = |scenario: &Scenario| kept == Kept::Cassandra || !scenario.needs_cassandra;
        let chosen: Vec<_> = all
            .into_iter()
            .filter(|scenario| named(scenario) && fits(scenario))
            .collect();
        if chosen.is_empty() && self.journal.all().len() == 1 {
            bail!("these scenarios have a meaning only when rooms are kept in Cassandra");
        }
        Ok(chosen)
    }

    fn verdict(&self, report: &Report) -> bool {
        let broken = report
            .runs
            .iter()
            .filter(|run| !run.violations.is_empty())
            .count();
        let missed = report
            .runs
            .iter()
            .filter(|run| run.violations.is_empty() && !run.met)
            .count();
        let runs = report.runs.len();
        print(format!(
            "{runs} runs: {broken} with broken promises, {missed} missed a wanted figure"
        ));
        if self.repeat > 1 {
            self.tell_repeated(report);
        }
        broken == 0 && (missed == 0 || self.short)
    }

    /// The gaps of runs of the same scenario, sorted.
    fn tell_repeated(&self, report: &Report) {
        for runs in report
            .runs
            .chunk_by(|a, b| (&a.scenario, &a.journal) == (&b.scenario, &b.journal))
        {
            let mut gaps: Vec<f64> = runs
                .iter()
                .filter_map(|run| run.gap_after_fault_ms)
                .collect();
            gaps.sort_by(f64::total_cmp);
            let gaps: Vec<String> = gaps.iter().map(|gap| format!("{gap:.0}")).collect();
            print(format!(
                "{} on {}: gaps after the fault, ms: {}",
                runs[0].scenario,
                runs[0].journal,
                gaps.join(" ")
            ));
        }
    }

    /// The command that repeats it.
    fn command(&self, seed: u64) -> String {
        let mut words = vec!["cargo xtask chaos".to_owned()];
        words.extend(self.scenarios.iter().cloned());
        let journal = self.journal.as_str();
        words.push(format!(
            "--journal {journal} --seed {seed} --rate {} --clients {} --rooms {}",
            self.rate, self.clients, self.rooms
        ));
        words.push(format!(
            "--nats {} --cassandra {} --seconds {} --repeat {}",
            self.nats, self.cassandra, self.seconds, self.repeat
        ));
        let before = self.before.as_ref();
        words.extend(before.map(|before| format!("--before {}", before.display())));
        words.extend(self.next.then(|| "--next".to_owned()));
        words.extend(self.short.then(|| "--short".to_owned()));
        words.extend((self.debug && !self.short).then(|| "--debug".to_owned()));
        words.join(" ")
    }
}

fn tell(run: &Run) {
    let gap = run
        .gap_after_fault_ms
        .map_or(String::new(), |gap| format!(", {gap:.0} ms after a fault"));
    say(format!(
        "   sent {}  journaled {}  rejected {}  connects {}  failures seen {}  p50 {:.1} ms  p99 {:.1} ms  longest gap {:.0} ms{gap}",
        run.sent,
        run.journaled,
        run.rejected,
        run.connects,
        run.failures_seen,
        run.p50_us as f64 / 1e3,
        run.p99_us as f64 / 1e3,
        run.longest_gap_ms
    ));
    if let Some(sealed) = &run.sealed {
        say(format!("   sealed: {}", sealed.told()));
    }
    if let Some(wanted) = &run.wanted {
        say(format!(
            "   wanted: {wanted}: {}",
            if run.met { "met" } else { "MISSED" }
        ));
    }
    for violation in run.violations.iter().take(20) {
        say(format!("   BROKEN: {violation}"));
    }
    if run.violations.len() > 20 {
        say(format!("   and {} more", run.violations.len() - 20));
    }
}

fn versions(program: &Path, before: Option<&Path>) -> Vec<String> {
    let nats = xtask::obtain::nats::nats_server(&Interrupt::default()).ok();
    let cassandra = format!("Cassandra {}", xtask::obtain::cassandra::VERSION);
    [
        before.map(|before| format!("{}, then", about::version(before))),
        Some(about::version(program)),
        nats.map(|nats| about::version(&nats)),
        Some(cassandra),
    ]
    .into_iter()
    .flatten()
    .collect()
}
