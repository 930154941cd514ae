//! Starting a server so that it outlives no supervisor unseen, and waiting until it answers.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::console::Step;
use crate::interrupt::Interrupt;
use crate::paths;
use crate::ports;
use crate::process::Identity;
use crate::server::Server;
use crate::state::{Process, State};

/// Lines of a log that are shown when its process died.
const LAST_LINES: usize = 15;

/// Starts it in a process group of its own (Ctrl-C does not reach it) and records it, as one change
/// of the state.
pub(crate) fn launch(state: &State, server: &Server) -> Result<Child> {
    state.update(|record| {
        ensure!(
            !record.stopping && record.supervisor_lives(),
            "cargo xtask up is ending: {} is not started",
            server.name
        );
        ports::check(server.listens.iter().map(|listen| listen.at))?;
        let mut child = spawn(state, server)?;
        match Identity::of(child.id()) {
            Ok(identity) => record.note(Process {
                server: server.clone(),
                identity,
            }),
            Err(error) => {
                let _ = child.kill();
                return Err(error);
            }
        }
        Ok(child)
    })
}

fn spawn(state: &State, server: &Server) -> Result<Child> {
    fs::create_dir_all(&server.dir).with_context(|| server.dir.display().to_string())?;
    let path = state.log(&server.name);
    fs::create_dir_all(path.parent().unwrap_or(&server.dir))?;
    let mut log = File::options()
        .create(true)
        .append(true)
        .open(&path)
        .with_context(|| path.display().to_string())?;
    let _ = writeln!(
        log,
        "--- {} {}",
        server.program.display(),
        server.args.join(" ")
    );
    let mut command = Command::new(&server.program);
    command
        .args(&server.args)
        .current_dir(&server.dir)
        .process_group(0)
        .stdin(Stdio::null());
    for ours in paths::VARIABLES {
        command.env_remove(ours); // a node would warn about them as unknown settings of its own
    }
    command.stdout(log.try_clone()?).stderr(log);
    command.spawn().with_context(|| {
        format!(
            "{} cannot be started ({})",
            server.name,
            server.program.display()
        )
    })
}

/// Waits until the servers answer. One that dies meanwhile is an error with its last log lines.
pub(crate) fn await_ready(state: &State, names: &[&str], interrupt: &Interrupt) -> Result<()> {
    let mut step = Step::start(format!("waiting for {}", names.join(", ")));
    let since = Instant::now();
    let mut waiting = names.to_vec();
    loop {
        let mut why = String::new();
        let record = state.read()?;
        for name in std::mem::take(&mut waiting) {
            if let Err(error) = answers(record.process(name)?, state, since)? {
                why = format!("({name}: {error})");
                waiting.push(name);
            }
        }
        if waiting.is_empty() {
            step.done("ready");
            return Ok(());
        }
        interrupt.check()?;
        step.tick(&why);
        thread::sleep(Duration::from_millis(100));
    }
}

/// The inner error: not yet. The outer one: never.
fn answers(process: &Process, state: &State, since: Instant) -> Result<Result<()>> {
    let server = &process.server;
    let answer = server.ready.ask();
    if !process.identity.is_alive() {
        bail!(
            "{} (pid {}) ended before it was ready. {}",
            server.name,
            process.identity.pid,
            last_lines(state, server)
        );
    }
    if let Err(error) = &answer
        && since.elapsed().as_secs() >= server.patience
    {
        let limit = server.patience;
        bail!(
            "{} is not ready after {limit} s: {error:#}. {}",
            server.name,
            last_lines(state, server)
        );
    }
    Ok(answer)
}

/// `The last lines of LOG:` and these lines.
fn last_lines(state: &State, server: &Server) -> String {
    let log = state.log(&server.name);
    format!("The last lines of {}:{}", paths::short(&log), tail(&log))
}

fn tail(path: &Path) -> String {
    let text = fs::read(path)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LAST_LINES)..]
        .iter()
        .map(|line| format!("\n    {line}"))
        .collect()
}
