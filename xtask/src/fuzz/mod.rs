//! `cargo xtask fuzz`: looks for inputs that break what must hold for whatever comes from outside
//! (`fuzz/`).
//!
//! It needs the stable compiler and a C++ compiler, nothing else: libfuzzer-sys brings the source
//! of libFuzzer, and LLVM counts what an input reaches when plain code generation flags ask for it.
//! What is found beyond `fuzz/corpus` stays in the cache, so that the next run goes on from there;
//! an input that breaks something goes to `fuzz/artifacts`, and the command fails with its path.

mod build;
mod report;

pub(crate) use build::beside;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Mutex;
use std::thread;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use crate::console::{self, say};
use crate::interrupt::Interrupt;
use crate::{paths, tool};
use report::Report;

/// Seconds that one input may take before it counts as found.
const PATIENCE: u32 = 10;
/// MiB that a target may use before its input counts as found.
const MEMORY: u32 = 2048;
/// Bytes of an input: beyond it are only the limits of sizes, which other tests cover.
const LONGEST: u32 = 4096;

#[derive(Args)]
pub(crate) struct Options {
    /// Only these targets, by the names in fuzz/fuzz_targets
    targets: Vec<String>,
    /// How long each target runs
    #[arg(long, default_value_t = 60, value_name = "SECONDS")]
    seconds: u32,
    /// How many targets run at the same time
    #[arg(long, default_value_t = 2, value_name = "N", value_parser = clap::value_parser!(u8).range(1..))]
    jobs: u8,
    /// Start of the random numbers, to repeat a run [default: another one each time]
    #[arg(long, value_name = "N")]
    seed: Option<u32>,
    /// Run one target with this input only, such as one that was found
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
}

impl Options {
    /// All targets, as long as a test run can wait: what was found before is tried first.
    pub(crate) fn in_a_test_run() -> Self {
        Self {
            targets: Vec::new(),
            seconds: 10,
            jobs: 2,
            seed: None,
            input: None,
        }
    }
}

pub(crate) fn run(options: &Options, interrupt: &Interrupt) -> Result<ExitCode> {
    match found(options, interrupt)? {
        0 => Ok(ExitCode::SUCCESS),
        _ => Ok(ExitCode::FAILURE),
    }
}

/// In how many targets something was found.
pub(crate) fn found(options: &Options, interrupt: &Interrupt) -> Result<usize> {
    let targets = chosen(&options.targets)?;
    ensure!(
        options.input.is_none() || targets.len() == 1,
        "--input needs one target: cargo xtask fuzz TARGET --input FILE"
    );
    let programs = build::programs(interrupt)?;
    console::share();
    if let Some(input) = &options.input {
        let status = tool::shown(
            Command::new(programs.join(&targets[0])).arg(input),
            interrupt,
        )?;
        return Ok(usize::from(!status.success()));
    }
    let waiting = Mutex::new(targets.iter());
    let reports = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..options.jobs {
            scope.spawn(|| {
                loop {
                    let Some(target) = waiting.lock().expect("no thread panics with it").next()
                    else {
                        return;
                    };
                    let report = one(&programs, target, options, interrupt);
                    reports
                        .lock()
                        .expect("no thread panics with it")
                        .push(report);
                }
            });
        }
    });
    interrupt.check()?;
    let reports = reports
        .into_inner()
        .expect("no thread panics with it")
        .into_iter()
        .collect::<Result<Vec<_>>>()?;
    Ok(reports
        .iter()
        .filter(|report| report.found.is_some())
        .count())
}

fn chosen(wanted: &[String]) -> Result<Vec<String>> {
    let folder = paths::root().join("fuzz/fuzz_targets");
    let entries = fs::read_dir(&folder).with_context(|| folder.display().to_string())?;
    let stem = |path: PathBuf| {
        path.file_stem()
            .map(|stem| stem.to_string_lossy().into_owned())
    };
    let mut all: Vec<String> = entries
        .flatten()
        .filter_map(|entry| stem(entry.path()))
        .collect();
    all.sort();
    if let Some(unknown) = wanted.iter().find(|name| !all.contains(name)) {
        bail!("there is no target {unknown}; there are {}", all.join(", "));
    }
    Ok(if wanted.is_empty() {
        all
    } else {
        wanted.to_vec()
    })
}

/// Runs a target for its time, and says at once how it went.
fn one(programs: &Path, target: &str, options: &Options, interrupt: &Interrupt) -> Result<Report> {
    let made = |path: PathBuf| {
        fs::create_dir_all(&path)
            .with_context(|| path.display().to_string())
            .map(|()| path)
    };
    let artifacts = made(paths::root().join("fuzz/artifacts").join(target))?;
    let explored = made(paths::cache()?.join("fuzz").join(target))?;
    let log = made(paths::root().join("target/fuzz/logs"))?.join(format!("{target}.log"));
    let output = File::create(&log).with_context(|| log.display().to_string())?;

    let mut command = Command::new(programs.join(target));
    command.arg(format!("-max_total_time={}", options.seconds));
    command.args([
        format!("-timeout={PATIENCE}"),
        format!("-rss_limit_mb={MEMORY}"),
        format!("-max_len={LONGEST}"),
    ]);
    command.args([
        "-print_final_stats=1".to_owned(),
        format!("-artifact_prefix={}/", artifacts.display()),
    ]);
    command.args(options.seed.map(|seed| format!("-seed={seed}")));
    command
        .arg(explored)
        .arg(paths::root().join("fuzz/corpus").join(target));
    command.stdout(output.try_clone()?).stderr(output);
    let status = tool::shown(&mut command, interrupt)?;

    let text = fs::read(&log).with_context(|| log.display().to_string())?;
    let report = Report::read(&String::from_utf8_lossy(&text), status.success());
    say(format!("fuzz {target}: {report}"));
    if report.found.is_some() {
        say(format!(
            "  log: {}; again: cargo xtask fuzz {target} --input FILE",
            paths::short(&log)
        ));
    }
    Ok(report)
}
