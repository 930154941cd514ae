//! `cargo xtask test`: everything that must hold before a change lands, in one command.
//!
//! A real nats-server and a real Cassandra start while cargo compiles, on a loopback address of this run, so that it can
//! run beside `up` and beside itself. Tests find them by environment variables. No server: the run fails.

use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use clap::{Args, ValueEnum};

use crate::binary::cargo;
use crate::cassandra::{Cassandra, CommitLog};
use crate::cluster::{self, Cluster};
use crate::console::{self, say};
use crate::interrupt::{Interrupt, Interrupted};
use crate::nats::Nats;
use crate::state::State;
use crate::{loopback, obtain, paths, process, tool};

#[derive(Args)]
pub(crate) struct Options {
    /// Only this step
    #[arg(long, value_name = "STEP")]
    only: Option<Step>,
    /// Passed on to `cargo test`
    #[arg(last = true, value_name = "ARGS")]
    args: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Step {
    Fmt,
    Clippy,
    Test,
}

/// How a step went.
struct Outcome {
    step: &'static str,
    took: Duration,
    result: Result<()>,
}

/// What tests are told about the servers.
type Environment = Vec<(&'static str, String)>;

pub(crate) fn run(options: &Options, interrupt: &Interrupt) -> Result<ExitCode> {
    console::share();
    let since = Instant::now();
    let mut outcomes = Vec::new();
    let wanted = |step: Step| options.only.is_none_or(|only| only == step);
    if wanted(Step::Test) {
        with_servers(options, interrupt, &mut outcomes)?;
    } else {
        lints(options, interrupt, &mut outcomes);
    }
    summary(&outcomes, since.elapsed(), interrupt)
}

fn with_servers(options: &Options, interrupt: &Interrupt, outcomes: &mut Vec<Outcome>) -> Result<()> {
    process::raise_open_files();
    let runs = paths::state()?.join("runs");
    sweep(&runs)?;
    let dir = runs.join(std::process::id().to_string());
    let part = interrupt.part();
    let mut cluster = Cluster::new(State::open(&dir)?, part.clone())?;
    thread::scope(|scope| {
        let servers = scope.spawn(|| timed("servers", || servers(&mut cluster, &part)));
        lints(options, interrupt, outcomes);
        tests(options, interrupt, servers, &part, outcomes);
    });
    cluster.stop(Duration::ZERO)?; // nobody reads their data again
    let failed = outcomes.iter().any(|outcome| outcome.result.is_err());
    cluster.state().wipe_data()?;
    if failed {
        say(format!("logs of the servers: {}/logs (until the next run)", paths::short(&dir)));
    } else {
        drop(cluster);
        fs::remove_dir_all(&dir).with_context(|| dir.display().to_string())?;
    }
    Ok(())
}

fn lints(options: &Options, interrupt: &Interrupt, outcomes: &mut Vec<Outcome>) {
    if options.only.is_none_or(|only| only == Step::Fmt) {
        outcomes.push(cargo_step("fmt", &["fmt", "--all", "--check"], &[], &Vec::new(), interrupt));
    }
    if options.only.is_none_or(|only| only == Step::Clippy) {
        let clippy = ["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"];
        outcomes.push(cargo_step("clippy", &clippy, &[], &Vec::new(), interrupt));
    }
}

/// Compiles while the servers start, then runs the tests with them.
fn tests(
    options: &Options,
    interrupt: &Interrupt,
    servers: ScopedJoinHandle<'_, (Duration, Result<Environment>)>,
    part: &Interrupt,
    outcomes: &mut Vec<Outcome>,
) {
    let test = if names_package(&options.args) { vec!["test"] } else { vec!["test", "--workspace"] };
    let build = cargo_step("build", &[test.as_slice(), &["--no-run"]].concat(), &options.args, &Vec::new(), interrupt);
    if build.result.is_err() {
        part.cancel(); // nobody needs them any more
    }
    let built = build.result.is_ok();
    outcomes.push(build);
    let joined = servers.join().unwrap_or_else(|_| (Duration::ZERO, Err(anyhow!("the thread of the servers panicked"))));
    let (took, result) = joined;
    match result {
        Ok(environment) if built => {
            outcomes.push(Outcome { step: "servers", took, result: Ok(()) });
            outcomes.push(cargo_step("test", &test, &options.args, &environment, interrupt));
        }
        Err(error) if built || !error.is::<Interrupted>() => {
            outcomes.push(Outcome { step: "servers", took, result: Err(error) });
        }
        _ => (),
    }
}

/// Whether the person asks for less than everything: cargo takes `--workspace -p X` as everything.
fn names_package(args: &[String]) -> bool {
    let mut of_cargo = args.iter().take_while(|arg| *arg != "--");
    of_cargo.any(|arg| arg.starts_with("-p") || arg.starts_with("--package"))
}

/// Obtains and starts what tests need.
fn servers(cluster: &mut Cluster, interrupt: &Interrupt) -> Result<Environment> {
    let host = loopback::of_pid(std::process::id());
    let data = cluster.state().data("test");
    let nats = Nats { program: obtain::nats::nats_server(interrupt)?, host, servers: 1, data: data.clone() };
    let mut servers = nats.servers()?;
    cluster.start(&servers[0])?;

    let program = obtain::cassandra::cassandra(interrupt)?;
    // No test cuts the power: periodic sync is as real and much faster.
    let cassandra = Cassandra { program, hosts: vec![host], data, commit_log: CommitLog::Periodic };
    servers.extend(cassandra.servers()?);
    cluster.start(&servers[1])?;
    cluster.await_ready(&servers)?;
    Ok(vec![
        ("SAFE_CHAT_TEST_NATS", nats.urls()),
        ("SAFE_CHAT_TEST_NATS_SERVER", nats.program.display().to_string()),
        ("SAFE_CHAT_TEST_CASSANDRA", cassandra.addresses()),
    ])
}

/// Ends and deletes what killed runs left behind.
fn sweep(runs: &Path) -> Result<()> {
    let Ok(entries) = fs::read_dir(runs) else {
        return Ok(());
    };
    for entry in entries.flatten() {
        let state = State::open(&entry.path())?;
        // Supervised: that run is still going on.
        if let Ok(_supervision) = state.supervise() {
            cluster::end_leftovers(&state)?;
            fs::remove_dir_all(entry.path()).with_context(|| entry.path().display().to_string())?;
        }
    }
    Ok(())
}

fn cargo_step(step: &'static str, args: &[&str], more: &[String], environment: &Environment, interrupt: &Interrupt) -> Outcome {
    let mut command = cargo();
    command.args(args).args(more).envs(environment.iter().map(|(name, value)| (name, value)));
    let (took, result) = timed(step, || {
        interrupt.check()?;
        say(format!("{step}: cargo {} {}", args.join(" "), more.join(" ")));
        let status = tool::shown(&mut command, interrupt)?;
        ensure!(status.success(), "cargo {}: {status}", args[0]);
        Ok(())
    });
    Outcome { step, took, result }
}

fn timed<T>(step: &str, run: impl FnOnce() -> Result<T>) -> (Duration, Result<T>) {
    let since = Instant::now();
    let result = run();
    if let Err(error) = &result
        && !error.is::<Interrupted>()
    {
        say(format!("{step}: error: {error:#}"));
    }
    (since.elapsed(), result)
}

fn summary(outcomes: &[Outcome], took: Duration, interrupt: &Interrupt) -> Result<ExitCode> {
    interrupt.check()?;
    let failed = outcomes.iter().any(|outcome| outcome.result.is_err());
    let steps: Vec<String> = outcomes
        .iter()
        .map(|Outcome { step, took, result }| {
            let failed = if result.is_err() { " FAILED" } else { "" };
            format!("{step}{failed} {:.1} s", took.as_secs_f64())
        })
        .collect();
    let verdict = if failed { "FAILED" } else { "ok" };
    say(format!("cargo xtask test: {verdict} in {:.1} s ({})", took.as_secs_f64(), steps.join(", ")));
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
