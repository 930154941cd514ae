//! What a process says: logs and the banner of a node, to stderr, for people or as JSON, filtered
//! by level. No message body, key or password is ever logged, by any part. And where messages go:
//! traces (`trace`), which are off unless a node is told where to send them.
//!
//! A node never waits for whoever reads its stderr (`lines`); a short command writes directly.

mod format;
mod level;
mod lines;
pub mod trace;

use chrono::{SecondsFormat, Utc};
use lines::Lines;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::{
    any::Any,
    backtrace::{Backtrace, BacktraceStatus},
    fs::File,
    io::{self, IsTerminal, Write},
    os::fd::AsFd,
    panic::{self, PanicHookInfo},
    sync::{Arc, OnceLock},
    time::Duration,
};
use tracing::{Level, Metadata};
use tracing_subscriber::{
    Layer,
    filter::{FilterExt, filter_fn},
    fmt::{self, MakeWriter},
    layer::SubscriberExt,
    registry,
    util::SubscriberInitExt,
};

/// How long the end of a process may wait for its last lines to be written.
const LAST_LINES: Duration = Duration::from_secs(1);

/// The queue before stderr, once logging has started.
static STDERR: OnceLock<Arc<Lines>> = OnceLock::new();
/// The node that says everything as JSON, if it does.
static JSON: OnceLock<Box<str>> = OnceLock::new();

/// How logs look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// One readable line each.
    #[default]
    Pretty,
    /// One JSON object per line.
    Json,
}

/// What is logged, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Config {
    /// How logs look. Default: pretty.
    pub format: Format,
    /// What is logged: off, error, warn, info, debug, trace, or more finely such as
    /// `info,safe_chat::writer=debug`. A level alone is that of this program. Of libraries only
    /// those of the bus and of traces say what goes wrong; others say nothing unless they are named
    /// (`info,hyper=debug`), for they would say what clients send. Default: info.
    pub level: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            format: Format::Pretty,
            level: "info".into(),
        }
    }
}

impl Config {
    /// Says what is wrong, if something is.
    pub fn validate(&self) -> Result<(), String> {
        level::filter(&self.level).map(|_| ())
    }
}

/// From now on the last words of this process ([`fail`]) are of the form of its log, though that
/// may never have started.
pub fn speak(format: Format, node: &str) {
    if format == Format::Json {
        // Set before, it is the same node.
        let _ = JSON.set(node.into());
    }
}

/// Starts logging for the rest of the process. Called once, by a node. From then on nothing that
/// this process says on stderr, panics included, waits for its reader or fails with it. Each object
/// of a JSON log names the node.
pub fn start(config: &Config, node: &str) -> Result<(), String> {
    speak(config.format, node);
    let filter = level::filter(&config.level)?;
    let started = |error: &dyn std::fmt::Display| format!("logging cannot be started: {error}");
    // A descriptor of its own: whoever holds the lock of std's stderr may be blocked in a write.
    let stderr = io::stderr().as_fd().try_clone_to_owned();
    let stderr = File::from(stderr.map_err(|error| started(&error))?);
    let lines = Lines::start(stderr, say_lost).map_err(|error| started(&error))?;
    let node = match config.format {
        Format::Pretty => None,
        Format::Json => Some(format!("{{\"node\":{},", serde_json::Value::from(node)).into()),
    };
    let queue = Queue {
        lines: STDERR.get_or_init(|| lines).clone(),
        node,
    };
    panic::set_hook(Box::new(log_panic));
    let layer = fmt::layer().with_writer(queue);
    let layer = match config.format {
        Format::Pretty => layer
            .with_ansi(io::stderr().is_terminal())
            .compact()
            .with_target(false)
            .boxed(),
        Format::Json => layer
            .json()
            .flatten_event(true)
            .map_event_format(format::WithTrace)
            .boxed(),
    };
    let shown = filter.and(filter_fn(trace::is_none_of_it));
    registry()
        .with(layer.with_filter(shown))
        .with(trace::layer())
        .with(filter_fn(is_safe))
        .try_init()
        .map_err(|error| started(&error))
}

/// Says something to whoever reads stderr, apart from the log: whole lines. Whether they can be
/// written is nobody's concern.
pub fn say(text: &str) {
    match STDERR.get() {
        Some(lines) => lines.push(text.as_bytes()),
        None => drop(io::stderr().write_all(text.as_bytes())),
    }
}

/// Says why the process ends without having done what it should: its last words, whatever the level
/// of the log.
pub fn fail(why: &str) {
    match JSON.get() {
        None => say(&format!("error: {why}\n")),
        Some(node) => say(&last_words(node, why)),
    }
}

/// As a line of the log.
fn last_words(node: &str, why: &str) -> String {
    let line = json!({
        "node": node,
        "timestamp": Utc::now().to_rfc3339_opts(SecondsFormat::Micros, true),
        "level": "ERROR",
        "message": why,
        "target": "safe_chat",
    });
    format!("{line}\n")
}

/// Waits until what was logged is written, but not long for a reader that takes nothing. The
/// process ends next.
pub fn finish() {
    if let Some(lines) = STDERR.get() {
        lines.flush(LAST_LINES);
    }
}

/// Lines of the log that could not be written so far, or had to be dropped before that.
pub fn dropped_lines() -> u64 {
    STDERR.get().map_or(0, |lines| lines.dropped())
}

fn say_lost(lines: u64) {
    tracing::warn!(
        lines,
        "lines of the log were lost before this one: stderr did not take them"
    );
}

/// What tracing writes to: one call for each event.
#[derive(Clone)]
struct Queue {
    lines: Arc<Lines>,
    /// How each object begins instead.
    node: Option<Arc<str>>,
}

impl Write for Queue {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match (&self.node, line.strip_prefix(b"{")) {
            (Some(node), Some(rest)) => self.lines.push(&[node.as_bytes(), rest].concat()),
            _ => self.lines.push(line),
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Queue {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

/// The standard hook writes directly, and so would wait for the reader.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let trace = Backtrace::capture();
    let trace = (trace.status() == BacktraceStatus::Captured).then(|| trace.to_string());
    let (place, thread) = (panic.location(), std::thread::current());
    tracing::error!(
        place = place.map(tracing::field::display),
        thread = thread.name(),
        trace,
        "a panic, which is a fault of this program: {}",
        words(panic.payload())
    );
}

/// What a panic says, up to where it begins to quote: that may be what somebody said in a room.
fn words(payload: &(dyn Any + Send)) -> &str {
    let fixed = payload.downcast_ref::<&'static str>().copied();
    let made = payload
        .downcast_ref::<String>()
        .and_then(|text| text.split(['`', '"', '\'']).next());
    fixed.or(made).unwrap_or("(no words)")
}

/// At level trace, libraries log what goes over their connections (the WebSocket library: every
/// message). No setting may show that.
fn is_safe(metadata: &Metadata<'_>) -> bool {
    *metadata.level() <= Level::DEBUG || metadata.target().starts_with("safe_chat")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Seek};

    #[test]
    fn libraries_never_log_at_level_trace() {
        let file = std::sync::Arc::new(tempfile::tempfile().unwrap());
        let everything = fmt::fmt()
            .with_env_filter("trace")
            .with_writer(file.clone())
            .finish()
            .with(filter_fn(is_safe));
        tracing::subscriber::with_default(everything, || {
            tracing::trace!(target: "tungstenite::protocol", "Received message");
            tracing::debug!(target: "tungstenite::protocol", "Received close");
            tracing::trace!(target: "safe_chat::gateway", "own words");
        });
        let mut logged = String::new();
        (&*file).rewind().unwrap();
        (&*file).read_to_string(&mut logged).unwrap();
        assert!(
            !logged.contains("message") && logged.contains("close") && logged.contains("own words"),
            "{logged}"
        );
    }

    #[test]
    fn a_panic_says_what_and_not_what_was_said() {
        let words_of = |panics: fn()| {
            let payload = panic::catch_unwind(panics).unwrap_err();
            words(&*payload).to_owned()
        };
        assert_eq!(words_of(|| panic!("plain `words`")), "plain `words`");
        let inside = words_of(|| drop(String::from(&"g\u{e9}heim"[..2])));
        assert!(!inside.contains("heim") && !inside.is_empty(), "{inside}");
        let odd = words_of(|| panic::panic_any(7));
        assert_eq!(odd, "(no words)");
    }
}
