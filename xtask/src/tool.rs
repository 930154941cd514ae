//! Running an outside program (cargo, go, pip, mvn ...) to its end.
//!
//! Each runs in a process group of its own, so that Ctrl-C reaches only this process, which then
//! ends the whole group: nothing that a tool started outlives it.

use std::io::{PipeReader, Read, pipe};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;

use crate::console::Step;
use crate::interrupt::Interrupt;

/// How often a waiting loop looks.
const POLL: Duration = Duration::from_millis(50);
/// From SIGTERM to SIGKILL.
const GRACE: Duration = Duration::from_secs(5);

/// Runs it with its output on this terminal.
pub(crate) fn shown(command: &mut Command, interrupt: &Interrupt) -> Result<ExitStatus> {
    let child = spawn(command)?;
    wait(child, None, interrupt, || ())
}

/// Runs it with its progress (stderr) on this terminal, and returns what it wrote to stdout.
pub(crate) fn progress_shown(
    command: &mut Command,
    interrupt: &Interrupt,
) -> Result<(ExitStatus, String)> {
    let (reader, writer) = pipe().context("no pipe")?;
    let child = spawn(command.stdout(writer))?;
    command.stdout(Stdio::null()); // drops our writing end: the reader must see the end
    let text = read_beside(reader);
    let status = wait(child, None, interrupt, || ())?;
    Ok((status, text.join().unwrap_or_default()))
}

/// Runs it silently; an error carries its last words. `step` is ticked meanwhile.
pub(crate) fn quiet(
    command: &mut Command,
    limit: Duration,
    interrupt: &Interrupt,
    step: &mut Step,
) -> Result<String> {
    let (reader, writer) = pipe().context("no pipe")?;
    let child = spawn(
        command
            .stderr(writer.try_clone().context("no pipe")?)
            .stdout(writer),
    )?;
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let text = read_beside(reader);
    let status = wait(child, Some(limit), interrupt, || step.tick(""))?;
    let text = text.join().unwrap_or_default();
    if status.success() {
        return Ok(text);
    }
    bail!(
        "{} ended with {status}: {}",
        name(command),
        last_words(&text)
    )
}

fn spawn(command: &mut Command) -> Result<Child> {
    command.process_group(0).stdin(Stdio::null());
    command
        .spawn()
        .map_err(|error| anyhow!("{} cannot be run: {error}", name(command)))
}

fn name(command: &Command) -> String {
    command.get_program().to_string_lossy().into_owned()
}

fn read_beside(mut reader: PipeReader) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = reader.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

fn wait(
    mut child: Child,
    limit: Option<Duration>,
    interrupt: &Interrupt,
    mut tick: impl FnMut(),
) -> Result<ExitStatus> {
    let since = Instant::now();
    let pid = Pid::from_raw(child.id().cast_signed());
    while !ended(pid)? {
        let late = limit.is_some_and(|limit| since.elapsed() > limit);
        if interrupt.requested() || late {
            end_group(pid)?;
            child.wait()?;
            interrupt.check()?;
            bail!("not done after {} s", since.elapsed().as_secs());
        }
        tick();
        thread::sleep(POLL);
    }
    // Not reaped yet, so the group's number cannot have been given away.
    let _ = killpg(pid, Signal::SIGKILL);
    Ok(child.wait()?)
}

fn ended(pid: Pid) -> Result<bool> {
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT | WaitPidFlag::WNOHANG;
    Ok(waitid(Id::Pid(pid), flags)? != WaitStatus::StillAlive)
}

fn end_group(pid: Pid) -> Result<()> {
    let since = Instant::now();
    let _ = killpg(pid, Signal::SIGTERM);
    while !ended(pid)? && since.elapsed() < GRACE {
        thread::sleep(POLL);
    }
    let _ = killpg(pid, Signal::SIGKILL);
    Ok(())
}

/// The last lines that say something, as one line.
fn last_words(text: &str) -> String {
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    let words = lines[lines.len().saturating_sub(3)..].join(" | ");
    match words.char_indices().nth_back(399) {
        Some((start, _)) => format!("... {}", &words[start..]),
        None => words,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn a_failed_tool_says_its_last_words() {
        let mut step = Step::silent();
        let error = quiet(
            &mut sh("echo one; echo two >&2; exit 3"),
            GRACE,
            &Interrupt::default(),
            &mut step,
        );
        let error = error.unwrap_err().to_string();
        assert!(
            error.contains("one | two") && error.contains('3'),
            "{error}"
        );
    }

    #[test]
    fn a_tool_over_its_time_is_ended_with_its_children() {
        let mut step = Step::silent();
        let limit = Duration::from_millis(100);
        let error = quiet(
            &mut sh("sleep 60 & wait"),
            limit,
            &Interrupt::default(),
            &mut step,
        )
        .unwrap_err();
        assert!(error.to_string().contains("not done"), "{error}");
    }

    #[test]
    fn what_a_tool_left_behind_does_not_outlive_it() {
        // Were the sleeper not ended with its group, it would keep the pipe open and this test
        // would hang.
        let mut step = Step::silent();
        let text = quiet(
            &mut sh("sleep 600 & echo done"),
            GRACE,
            &Interrupt::default(),
            &mut step,
        );
        assert_eq!(text.unwrap().trim(), "done");
    }
}
