//! The command line.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::interrupt::{Interrupt, Interrupted};
use crate::{
    audit, bench, browser, by_hand, chaos, console, fuzz, kubernetes, procfs, sbom, simulate, test,
    up, wasm,
};

/// Development commands of safe-chat.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build safe-chat and run it with a real NATS (and Cassandra) until Ctrl-C
    Up(up::Options),
    /// One line per process of `up`
    Ps,
    /// SIGKILL a process of `up`
    Kill(by_hand::Name),
    /// SIGSTOP a process of `up`: it freezes
    Pause(by_hand::Name),
    /// SIGCONT a paused process of `up`
    Resume(by_hand::Name),
    /// Start a dead process of `up` again, with the same flags and data
    Start(by_hand::Name),
    /// End `up` and everything it started
    Down(by_hand::Down),
    /// Everything that must hold before a change lands: format, lints, tests against real servers,
    /// faults, fuzzing
    Test(test::Options),
    /// Look for inputs that break a parser of outside bytes
    Fuzz(fuzz::Options),
    /// Licences, sources and advisories of dependencies, by deny.toml
    Audit(audit::Options),
    /// What the program contains, as CycloneDX, into target/sbom
    Sbom(sbom::Options),
    /// Render the overlays of docker/k8s and check them against the schemas of Kubernetes
    Kubernetes,
    /// Whole clusters in virtual time, with faults by seed: `cargo xtask simulate --help`
    Simulate(simulate::Options),
    /// Real faults on real processes under load: `cargo xtask chaos --list`
    Chaos(chaos::Options),
    /// The page in the browser of this machine, with a terminal in the same sealed room
    Browser(browser::Options),
    /// Build the page's part for sealed rooms, which is committed, out of seal/wasm
    Wasm(wasm::Options),
    /// Measure beside other servers, and write the table of docs/performance.md
    Bench(bench::Options),
}

/// The program.
pub fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(code) => code,
        Err(error) if error.is::<Interrupted>() => {
            console::say("interrupted");
            ExitCode::from(130)
        }
        Err(error) => {
            console::say(format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<ExitCode> {
    let interrupt = Interrupt::install()?;
    procfs::required()?;
    match command {
        Command::Up(options) => up::run(&options, &interrupt)?,
        Command::Ps => by_hand::ps()?,
        Command::Kill(name) => by_hand::kill(&name)?,
        Command::Pause(name) => by_hand::pause(&name)?,
        Command::Resume(name) => by_hand::resume(&name)?,
        Command::Start(name) => by_hand::start(&name, &interrupt)?,
        Command::Down(options) => by_hand::down(&options)?,
        Command::Test(options) => return test::run(&options, &interrupt),
        Command::Fuzz(options) => return fuzz::run(&options, &interrupt),
        Command::Audit(options) => audit::run(&options, &interrupt)?,
        Command::Sbom(options) => sbom::run(&options, &interrupt)?,
        Command::Kubernetes => kubernetes::check(&interrupt)?,
        Command::Simulate(options) => return simulate::run(&options, &interrupt),
        Command::Browser(options) => browser::run(&options, &interrupt)?,
        Command::Wasm(options) => wasm::run(&options, &interrupt)?,
        Command::Bench(options) => bench::run(&options, &interrupt)?,
        Command::Chaos(options) => return chaos::run(&options, &interrupt),
    }
    Ok(ExitCode::SUCCESS)
}
