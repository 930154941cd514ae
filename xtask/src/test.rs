//! `cargo xtask test`: everything that must hold before a change lands, in one command.
//!
//! A real nats-server and a real Cassandra start while cargo compiles, on a loopback address of
//! this run, so that it can run beside `up` and beside itself. Tests find them by environment
//! variables. No server: the run fails.

use std::fmt;
use std::fs;
use std::process::{Command, ExitCode};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use clap::{Args, ValueEnum};

use crate::binary::{Built, cargo};
use crate::cassandra::{Cassandra, CommitLog};
use crate::cluster::Cluster;
use crate::console::{self, say};
use crate::interrupt::{Interrupt, Interrupted};
use crate::nats::Nats;
use crate::{audit, fuzz, kubernetes, loopback, obtain, paths, process, runs, tool, wasm};

/// Runs of chaos for every change: faults, and what grows with so few that it takes seconds.
const CHAOS: [&[&str]; 3] = [
    &["--short"],
    &["growth", "--count=200", "--report=target/growth-short.json"],
    &[
        "growth",
        "visitors",
        "--count=200",
        "--journal=cassandra",
        "--report=target/growth-short.json",
    ],
];

#[derive(Args)]
pub(crate) struct Options {
    /// Only this step
    #[arg(long, value_name = "STEP")]
    only: Option<Step>,
    /// All but fuzzing, which takes minutes
    #[arg(long)]
    no_fuzz: bool,
    /// Passed on to `cargo test`; with them, nothing is fuzzed
    #[arg(last = true, value_name = "ARGS")]
    args: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Step {
    Fmt,
    Clippy,
    Test,
    Audit,
    Kubernetes,
    Chaos,
    Fuzz,
}

/// One run: what was asked for, and how each step went.
struct Run<'a> {
    options: &'a Options,
    interrupt: &'a Interrupt,
    outcomes: Vec<Outcome>,
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
    let mut run = Run {
        options,
        interrupt,
        outcomes: Vec::new(),
    };
    if run.wants(Step::Test) {
        run.all_beside_servers()?
    } else {
        run.lints()
    }
    if run.wants(Step::Audit) && !run.is_narrowed() {
        run.step("audit", || audit::check(false, interrupt));
    }
    if run.wants(Step::Kubernetes) && !run.is_narrowed() {
        run.step("kubernetes", || kubernetes::check(interrupt));
    }
    // After a failure the logs of its servers should stay, and a run deletes those of the one
    // before.
    if run.wants(Step::Chaos) && !run.is_narrowed() && !run.failed() {
        run.step("chaos", || {
            let built = Built::with_tests(interrupt)?;
            let (chaos, program) = (built.program("chaos")?, built.program("safe-chat")?);
            for args in CHAOS {
                let mut command = Command::new(&chaos);
                command.current_dir(paths::root());
                command.args(args).arg("--program").arg(&program);
                let status = tool::shown(&mut command, interrupt)?;
                ensure!(status.success(), "chaos {}: {status}", args.join(" "));
            }
            Ok(())
        });
    }
    if run.wants(Step::Fuzz) {
        run.fuzz();
    }
    interrupt.check()?;
    wasm::remind()?;
    Ok(run.verdict(since.elapsed()))
}

impl Run<'_> {
    fn wants(&self, step: Step) -> bool {
        let narrowed =
            step == Step::Fuzz && (self.options.no_fuzz || !self.options.args.is_empty());
        self.options.only.map_or(!narrowed, |only| only == step)
    }

    /// The servers start while cargo lints and compiles, and end when all is done, also by an
    /// error.
    fn all_beside_servers(&mut self) -> Result<()> {
        process::raise_open_files();
        let (state, dir) = runs::open()?;
        let part = self.interrupt.part();
        let mut cluster = Cluster::new(state, part.clone())?;
        thread::scope(|scope| {
            let servers = scope.spawn(|| timed("servers", || servers(&mut cluster, &part)));
            self.lints();
            if !self.cargo(
                "build",
                &[self.test_command(), &["--no-run"]].concat(),
                &self.options.args,
                &Vec::new(),
            ) {
                part.cancel(); // nobody needs the servers any more
            }
            // Tests wait for servers half of the time: what fuzzing needs is compiled meanwhile.
            // What goes wrong with it is said when it is needed.
            if self.wants(Step::Fuzz) && !self.failed() {
                let interrupt = self.interrupt;
                scope.spawn(move || fuzz::beside(interrupt));
            }
            let joined = servers.join();
            let (took, result) = joined.unwrap_or_else(|_| {
                (
                    Duration::ZERO,
                    Err(anyhow!("the thread of the servers panicked")),
                )
            });
            self.tests(took, result);
        });
        cluster.stop(Duration::ZERO)?; // nobody reads their data again
        cluster.state().wipe_data()?;
        if self.failed() {
            say(format!(
                "logs of the servers: {}/logs (until the next run)",
                paths::short(&dir)
            ));
            return Ok(());
        }
        drop(cluster);
        fs::remove_dir_all(&dir).with_context(|| dir.display().to_string())
    }

    fn lints(&mut self) {
        if self.wants(Step::Fmt) {
            self.cargo("fmt", &["fmt", "--all", "--check"], &[], &Vec::new());
        }
        if self.wants(Step::Clippy) {
            self.cargo(
                "clippy",
                &[
                    "clippy",
                    "--workspace",
                    "--all-targets",
                    "--",
                    "--deny",
                    "warnings",
                ],
                &[],
                &Vec::new(),
            );
        }
    }

    /// Last, with the machine to itself.
    fn fuzz(&mut self) {
        let interrupt = self.interrupt;
        self.step("fuzz", || {
            let found = fuzz::found(&fuzz::Options::in_a_test_run(), interrupt)?;
            ensure!(found == 0, "something was found in {found} targets");
            Ok(())
        });
    }

    /// Something that needs no cargo.
    fn step(&mut self, step: &'static str, run: impl FnOnce() -> Result<()>) {
        let (took, result) = timed(step, || {
            self.interrupt.check()?;
            run()
        });
        self.outcomes.push(Outcome { step, took, result });
    }

    /// Only when they were built, and with servers: a test that finds none would be left out
    /// unseen.
    fn tests(&mut self, took: Duration, servers: Result<Environment>) {
        let built = self
            .outcomes
            .last()
            .is_some_and(|build| build.result.is_ok());
        match servers {
            Ok(environment) => {
                self.outcomes.push(Outcome {
                    step: "servers",
                    took,
                    result: Ok(()),
                });
                if built {
                    self.cargo(
                        "test",
                        self.test_command(),
                        &self.options.args,
                        &environment,
                    );
                }
            }
            Err(error) if error.is::<Interrupted>() => (), // not wanted any more: no failure of theirs
            Err(error) => self.outcomes.push(Outcome {
                step: "servers",
                took,
                result: Err(error),
            }),
        }
    }

    /// A run tells all that fails, not only the first program. cargo takes `--workspace -p X` as
    /// everything, but who names a package wants less.
    fn test_command(&self) -> &'static [&'static str] {
        let mut of_cargo = self.options.args.iter().take_while(|arg| *arg != "--");
        let narrowed = of_cargo.any(|arg| arg.starts_with("-p") || arg.starts_with("--package"));
        if narrowed {
            &["test", "--no-fail-fast"]
        } else {
            &["test", "--no-fail-fast", "--workspace"]
        }
    }

    /// Who names a test wants that one.
    fn is_narrowed(&self) -> bool {
        self.options.only.is_none() && !self.options.args.is_empty()
    }

    /// Runs a cargo command as a step, with more arguments and variables; whether it went well.
    fn cargo(
        &mut self,
        step: &'static str,
        args: &[&str],
        more: &[String],
        environment: &Environment,
    ) -> bool {
        let mut command = cargo();
        command
            .args(args)
            .args(more)
            .envs(environment.iter().map(|(name, value)| (name, value)));
        let (took, result) = timed(step, || {
            self.interrupt.check()?;
            say(format!(
                "{step}: cargo {} {}",
                args.join(" "),
                more.join(" ")
            ));
            let status = tool::shown(&mut command, self.interrupt)?;
            ensure!(status.success(), "cargo {}: {status}", args[0]);
            Ok(())
        });
        let well = result.is_ok();
        self.outcomes.push(Outcome { step, took, result });
        well
    }

    fn failed(&self) -> bool {
        self.outcomes.iter().any(|outcome| outcome.result.is_err())
    }

    fn verdict(&self, took: Duration) -> ExitCode {
        let steps: Vec<String> = self.outcomes.iter().map(ToString::to_string).collect();
        let verdict = if self.failed() { "FAILED" } else { "ok" };
        say(format!(
            "cargo xtask test: {verdict} in {:.1} s ({})",
            took.as_secs_f64(),
            steps.join(", ")
        ));
        if self.failed() {
            ExitCode::FAILURE
        } else {
            ExitCode::SUCCESS
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let failed = if self.result.is_err() { " FAILED" } else { "" };
        write!(
            out,
            "{}{failed} {:.1} s",
            self.step,
            self.took.as_secs_f64()
        )
    }
}

/// Obtains and starts what tests need.
fn servers(cluster: &mut Cluster, interrupt: &Interrupt) -> Result<Environment> {
    let host = loopback::of_pid(std::process::id());
    let data = cluster.state().data("test");
    let nats = Nats {
        program: obtain::nats::nats_server(interrupt)?,
        host,
        servers: 1,
        data: data.clone(),
        // What streams reserve, which is by far more than they fill. By itself it takes no more than
        // three quarters of the disk for that.
        max_file: Some(1 << 40),
    };
    let mut servers = nats.servers()?;
    cluster.start(&servers[0])?;

    let program = obtain::cassandra::cassandra(interrupt)?;
    // No test cuts the power: periodic sync is as real and much faster.
    let cassandra = Cassandra {
        program,
        hosts: vec![host],
        data,
        commit_log: CommitLog::Periodic,
        tls: true,
    };
    servers.extend(cassandra.servers()?);
    cluster.start(&servers[1])?;
    let promtool = obtain::promtool::promtool(interrupt)?;
    let openapi = obtain::openapi::checkers(interrupt)?;
    cluster.await_ready(&servers)?;
    Ok(vec![
        ("SAFE_CHAT_TEST_NATS", nats.urls()),
        (
            "SAFE_CHAT_TEST_NATS_SERVER",
            nats.program.display().to_string(),
        ),
        ("SAFE_CHAT_TEST_CASSANDRA", cassandra.addresses()),
        (
            "SAFE_CHAT_TEST_CASSANDRA_TLS",
            paths::root()
                .join("xtask/templates/tls")
                .display()
                .to_string(),
        ),
        ("SAFE_CHAT_TEST_PROMTOOL", promtool.display().to_string()),
        ("SAFE_CHAT_TEST_OPENAPI", openapi.display().to_string()),
    ])
}

/// How long it took, too. An error is said at once, not only at the end.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_named_package_narrows_the_run() {
        let command = |args: &[&str]| {
            let options = Options {
                only: None,
                no_fuzz: false,
                args: args.iter().map(ToString::to_string).collect(),
            };
            Run {
                options: &options,
                interrupt: &Interrupt::default(),
                outcomes: Vec::new(),
            }
            .test_command()
        };
        assert!(command(&[]).contains(&"--workspace"));
        assert!(command(&["--test", "e2e"]).contains(&"--workspace"));
        assert!(
            command(&["--", "-p"]).contains(&"--workspace"),
            "that is an argument of the test program"
        );
        assert!(!command(&["-p", "xtask"]).contains(&"--workspace"));
    }
}
