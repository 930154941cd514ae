//! `simulation`: runs seeds, and shows what went wrong in one.

use anyhow::{Result, bail};
use clap::Parser;
use simulation::{
    run::{Conditions, run_in},
    seeds,
    trace::traced,
};
use std::{fs, path::PathBuf, thread, time::Instant};

/// Lines of a trace that are shown at once; the rest is in its file.
const SHOWN: usize = 60;

/// Runs whole clusters in virtual time, with faults by seed, and judges what clients saw.
#[derive(Parser)]
struct Options {
    /// How many seeds.
    #[arg(long, default_value_t = 1000)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// How many at a time (default: one per core).
    #[arg(long)]
    jobs: Option<usize>,
    /// End when so many seeds have failed.
    #[arg(long, default_value_t = 1)]
    failures: usize,
    /// What happens to the clusters.
    #[arg(long, value_enum, default_value_t = Conditions::Rough)]
    conditions: Conditions,
    /// Write down what happens in the seed `--from`, and run only that one.
    #[arg(long)]
    trace: bool,
    /// What a trace shows, as RUST_LOG.
    #[arg(long, default_value = "debug")]
    filter: String,
}

fn main() -> Result<()> {
    let options = Options::parse();
    if options.trace {
        return replay(&options, options.from);
    }
    let jobs = options
        .jobs
        .unwrap_or_else(|| thread::available_parallelism().map_or(1, Into::into));
    let since = Instant::now();
    let summary = seeds::all(
        options.conditions,
        options.from..options.from.saturating_add(options.seeds),
        jobs,
        options.failures,
    );
    println!(
        "{} seeds in {:.1} s: {}",
        summary.runs,
        since.elapsed().as_secs_f64(),
        summary.count
    );
    for failed in &summary.failed {
        println!(
            "seed {}: {}",
            failed.seed,
            failed.violations.first().map_or("", String::as_str)
        );
    }
    match summary.failed.first() {
        Some(failed) => replay(&options, failed.seed),
        None => Ok(()),
    }
}

/// Runs a seed again and tells what it did.
fn replay(options: &Options, seed: u64) -> Result<()> {
    let (outcome, trace) = traced(&options.filter, || run_in(options.conditions, seed));
    let file = PathBuf::from(format!("target/simulation/seed-{seed}.log"));
    fs::create_dir_all("target/simulation")?;
    fs::write(&file, &trace)?;
    let lines: Vec<&str> = trace.lines().collect();
    println!("{}", lines[lines.len().saturating_sub(SHOWN)..].join("\n"));
    println!(
        "seed {seed}: {}, slowest answer after {:?}",
        outcome.count, outcome.slowest
    );
    println!("{} lines in {}", lines.len(), file.display());
    if outcome.violations.is_empty() {
        return Ok(());
    }
    outcome
        .violations
        .iter()
        .take(20)
        .for_each(|violation| println!("  {violation}"));
    bail!(
        "seed {seed} broke {} promises; repeat it with: cargo xtask simulate --from {seed} --trace",
        outcome.violations.len()
    )
}
