//! What the person at the terminal sees: single lines, and steps that say how long they take.
//!
//! Progress goes to stderr, results to stdout. A reader that went away (`| head`) ends nothing:
//! write errors are ignored.

use std::fmt::Display;
use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// A step that takes longer than this says so again, where no line can be drawn over.
const REMINDER: Duration = Duration::from_secs(20);
/// How often a line on a terminal is drawn again.
const REDRAW: Duration = Duration::from_millis(250);
/// A line that wraps cannot be drawn over.
const WIDTH: usize = 79;

static SHARED: AtomicBool = AtomicBool::new(false);

/// Another program writes to the terminal at the same time: from now on no line is drawn over.
pub fn share() {
    SHARED.store(true, Ordering::Relaxed);
}

/// One line of progress or trouble.
pub fn say(line: impl Display) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// One line of what the command is for.
pub fn print(line: impl Display) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Something that takes a while.
pub struct Step {
    open: bool,
    what: String,
    since: Instant,
    drawn: Instant,
}

impl Step {
    /// Says what begins.
    pub fn start(what: impl Into<String>) -> Self {
        let now = Instant::now();
        let step = Self {
            open: true,
            what: what.into(),
            since: now,
            drawn: now,
        };
        if draws() {
            step.draw("")
        } else {
            say(format!("{} ...", step.what))
        }
        step
    }

    /// For what is done before anyone could wonder.
    pub fn silent() -> Self {
        Self {
            open: false,
            what: String::new(),
            since: Instant::now(),
            drawn: Instant::now(),
        }
    }

    /// Called while waiting, as often as the caller likes.
    pub fn tick(&mut self, detail: &str) {
        let pause = if draws() { REDRAW } else { REMINDER };
        if !self.open || self.drawn.elapsed() < pause {
            return;
        }
        self.drawn = Instant::now();
        match draws() {
            true => self.draw(detail),
            false => say(format!(
                "{} ... {} s {detail}",
                self.what,
                self.since.elapsed().as_secs()
            )),
        }
    }

    /// Says how it ended, and how long it took.
    pub fn done(mut self, outcome: impl Display) {
        self.finish(format!(
            "{outcome} ({:.1} s)",
            self.since.elapsed().as_secs_f64()
        ));
    }

    /// Says why it did not work out.
    pub fn failed(mut self, why: impl Display) {
        self.finish(why);
    }

    fn finish(&mut self, outcome: impl Display) {
        self.open = false;
        let clear = if draws() { "\r\x1b[K" } else { "" };
        say(format!("{clear}{}: {outcome}", self.what));
    }

    fn draw(&self, detail: &str) {
        let line = format!(
            "{} ... {} s {detail}",
            self.what,
            self.since.elapsed().as_secs()
        );
        let line: String = line.chars().take(WIDTH).collect();
        let mut out = std::io::stderr();
        let _ = write!(out, "\r\x1b[K{line}");
        let _ = out.flush();
    }
}

/// Given up by an error: what is said next begins on a line of its own.
impl Drop for Step {
    fn drop(&mut self) {
        if self.open && draws() {
            say("");
        }
    }
}

fn draws() -> bool {
    !SHARED.load(Ordering::Relaxed) && std::io::stderr().is_terminal()
}
