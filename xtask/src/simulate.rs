//! `cargo xtask simulate`: runs of whole clusters in virtual time, and what they are worth: with
//! `--mutants` each patch of `simulation/mutations/` breaks one rule of the code, in a copy of the
//! tree, and the runs must notice it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::binary::cargo;
use crate::console::{Step, say};
use crate::interrupt::Interrupt;
use crate::{paths, tool};

/// A patched copy compiles and runs within this time, also on a busy machine.
const LIMIT: Duration = Duration::from_secs(1800);
/// So many seeds may pass a mutant by.
const SEEDS: &str = "150";
/// What may notice a mutant, in this order: what is at hand at once, whole clusters, then the parts
/// on their own. Each is a package, which of its programs of tests, and which tests of that.
const TESTS: [(&str, &[&str], &str); 8] = [
    ("safe-chat", &["--lib"], "gateway::lane"),
    ("simulation", &["--test", "seeds"], ""),
    ("simulation", &["--test", "calm"], ""),
    ("safe-chat", &["--test", "gateway"], "faults::"),
    ("safe-chat", &["--test", "writer"], ""),
    ("safe-chat", &["--test", "cluster_faults"], ""),
    ("safe-chat", &["--test", "journal_faults"], ""),
    ("safe-chat", &["--test", "room_batches"], ""),
];

#[derive(Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Options {
    /// Show that the runs notice what `simulation/mutations/` breaks, instead of running the code
    /// as it is
    #[arg(long)]
    mutants: bool,
    /// Passed on to the simulation (`cargo xtask simulate --help`); with --mutants the names of
    /// patches, by default all
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "ARGS"
    )]
    args: Vec<String>,
}

pub(crate) fn run(options: &Options, interrupt: &Interrupt) -> Result<ExitCode> {
    if options.mutants {
        return mutants(&options.args, interrupt);
    }
    let mut command = cargo();
    command
        .args([
            "run",
            "--quiet",
            "--profile",
            "test",
            "--package",
            "simulation",
            "--",
        ])
        .args(&options.args);
    let status = tool::shown(&mut command, interrupt)?;
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// A copy of what git tracks, to be patched, with a target directory of its own.
struct Copy {
    tree: PathBuf,
    target: PathBuf,
}

fn mutants(wanted: &[String], interrupt: &Interrupt) -> Result<ExitCode> {
    let copy = Copy::make(interrupt)?;
    let mut missed = 0;
    for patch in patches(wanted)? {
        let name = patch
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let text = fs::read_to_string(&patch).with_context(|| patch.display().to_string())?;
        let since = Instant::now();
        copy.patch(&patch, &[], interrupt)?;
        let noticed = copy.noticed(interrupt);
        copy.patch(&patch, &["--reverse"], interrupt)?;
        let noticed = noticed?;
        missed += usize::from(noticed.is_none());
        let verdict = noticed.unwrap_or_else(|| "NOT NOTICED".to_owned());
        say(format!(
            "{name} ({}): {verdict} [{:.0} s]",
            text.lines().next().unwrap_or_default(),
            since.elapsed().as_secs_f64()
        ));
    }
    Ok(if missed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The patches with these names, or all.
fn patches(wanted: &[String]) -> Result<Vec<PathBuf>> {
    let dir = paths::root().join("simulation/mutations");
    let named = |path: &Path| {
        wanted.is_empty()
            || wanted.iter().any(|name| {
                path.file_stem()
                    .is_some_and(|stem| stem.to_string_lossy() == **name)
            })
    };
    let mut all = Vec::new();
    for entry in fs::read_dir(&dir).with_context(|| dir.display().to_string())? {
        let path = entry?.path();
        if path.extension().is_some_and(|it| it == "patch") && named(&path) {
            all.push(path);
        }
    }
    all.sort();
    ensure!(
        !all.is_empty() && (wanted.is_empty() || all.len() == wanted.len()),
        "not all of {wanted:?} are patches in {}",
        dir.display()
    );
    Ok(all)
}

impl Copy {
    fn make(interrupt: &Interrupt) -> Result<Self> {
        let dir = paths::root().join("target/mutants");
        let copy = Self {
            tree: dir.join("tree"),
            target: dir.join("target"),
        };
        let _ = fs::remove_dir_all(&copy.tree); // of a run before, if any
        let mut git = Command::new("git");
        git.current_dir(paths::root()).args([
            "checkout-index",
            "--all",
            "--prefix",
            "target/mutants/tree/",
        ]);
        tool::quiet(
            &mut git,
            Duration::from_secs(60),
            interrupt,
            &mut Step::start("copying the tree"),
        )?;
        Ok(copy)
    }

    fn patch(&self, patch: &Path, how: &[&str], interrupt: &Interrupt) -> Result<()> {
        let mut git = Command::new("git");
        // Outside any repository as far as git knows, so that it takes the paths as they are.
        git.current_dir(&self.tree)
            .env("GIT_DIR", "/dev/null")
            .arg("apply")
            .args(how)
            .arg(patch);
        tool::quiet(
            &mut git,
            Duration::from_secs(60),
            interrupt,
            &mut Step::start("patching"),
        )?;
        Ok(())
    }

    /// What notices the patch, and how; `None`: nothing does.
    fn noticed(&self, interrupt: &Interrupt) -> Result<Option<String>> {
        for (package, program, tests) in TESTS {
            // On its own, or a mutant would count as noticed by what does not compile or is no more.
            let mut build = self.cargo(&["test", "--no-run", "--package", package]);
            build.args(program);
            let mut step = Step::start("building the mutant");
            tool::quiet(&mut build, LIMIT, interrupt, &mut step)?;
            let mut test = self.cargo(&["test", "--package", package]);
            test.args(program)
                .args((!tests.is_empty()).then_some(tests));
            test.env("SEEDS", SEEDS)
                .env("FAILURES", "1")
                .env("RUST_BACKTRACE", "0");
            let failed = tool::quiet(&mut test, LIMIT, interrupt, &mut Step::silent()).is_err();
            interrupt.check()?;
            if failed {
                let program = program.join(" ");
                return Ok(Some(format!("noticed by {package}, {program} {tests}")));
            }
        }
        Ok(None)
    }

    fn cargo(&self, arguments: &[&str]) -> Command {
        let mut command = cargo();
        command
            .current_dir(&self.tree)
            .args(arguments)
            .env("CARGO_TARGET_DIR", &self.target);
        command
    }
}
