//! `safe-chat doctor`: looks at what a cluster rests on, and says what is wrong and what to do.
//!
//! Looks from this machine with this configuration, and changes nothing. One file for each thing
//! that is looked at.

mod access;
#[cfg(feature = "cassandra")]
mod cassandra;
mod host;
mod nats;

use super::{Settings, stdout::print};
use crate::{
    app::{hold, look},
    bus::{Held, time},
};
use anyhow::bail;
use clap::Args;
use serde::Serialize;

/// How far two clocks may be apart. No decision looks at a clock; what people are shown does, and
/// so does whoever compares logs.
const CLOCKS_APART_MS: i64 = 1000;

/// What `safe-chat doctor` can be told.
#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(flatten)]
    settings: Settings,
    /// Print JSON: a list of objects with `check`, `state` (ok, warn, fail, skipped) and `message`
    #[arg(long)]
    json: bool,
}

/// What a look at one thing found.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Finding {
    /// What was looked at, as `nats: streams`.
    check: &'static str,
    state: State,
    /// What it is, and what to do.
    message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Ok,
    /// It works, and should not be left so.
    Warn,
    /// A node cannot start or work so, or may lose what it acknowledged.
    Fail,
    /// It is not used here, or cannot be looked at.
    Skipped,
}

impl Finding {
    fn new(check: &'static str, state: State, message: impl Into<String>) -> Self {
        let message = message.into();
        Self {
            check,
            state,
            message,
        }
    }

    fn line(&self) -> String {
        let state = match self.state {
            State::Ok => "ok",
            State::Warn => "WARN",
            State::Fail => "FAIL",
            State::Skipped => "-",
        };
        format!("{:<22} {state:<5} {}\n", self.check, self.message)
    }
}

/// Looks at everything; fails when something fails.
pub(super) async fn run(options: &Options) -> anyhow::Result<()> {
    let config = options.settings.read()?;
    let mut found = host::look(&config).await;
    found.extend(access::look(&config));
    found.extend(nats::look(&config).await);
    let refusal = look::keeps_out(&config).await;
    #[cfg(feature = "cassandra")]
    let of_cassandra = cassandra::look(&config, refusal.as_deref()).await;
    found.push(cluster(refusal.clone()));
    found.push(removals(hold::held(&config).await));
    #[cfg(feature = "cassandra")]
    {
        found.extend(of_cassandra);
        found.extend(cassandra::newest(&config, refusal.is_some()).await);
    }
    let text = match options.json {
        true => serde_json::to_string_pretty(&found)? + "\n",
        false => found.iter().map(Finding::line).collect(),
    };
    // What is wrong shows in the exit code, whether or not somebody reads on.
    let _ = print(&text)?;
    match found.iter().filter(|it| it.state == State::Fail).count() {
        0 => Ok(()),
        1 => bail!("1 check failed"),
        more => bail!("{more} checks failed"),
    }
}

/// Whether a node of this configuration would join the cluster that is there.
fn cluster(refusal: Option<String>) -> Finding {
    let check = "cluster";
    match refusal {
        Some(why) => Finding::new(check, State::Fail, why),
        None => Finding::new(
            check,
            State::Ok,
            "nothing keeps a node of this configuration out",
        ),
    }
}

/// Whether what rooms let go is removed.
fn removals(held: Option<Held>) -> Finding {
    let check = "cluster: removals";
    match held {
        Some(held) => Finding::new(
            check,
            State::Warn,
            format!(
                "nodes remove nothing of what is erased, purged or let go until {}: once no \
                 backup runs, `safe-chat journal hold 0`",
                time(held.until)
            ),
        ),
        None => Finding::new(check, State::Ok, "nothing holds what is to go"),
    }
}

/// What to say of the clock of a server that is ahead of this machine's by so much.
fn clock(check: &'static str, server: &str, ahead_ms: Option<i64>) -> Finding {
    match ahead_ms {
        None => Finding::new(
            check,
            State::Skipped,
            format!("{server} did not tell its time"),
        ),
        Some(ms) if ms.abs() > CLOCKS_APART_MS => Finding::new(
            check,
            State::Warn,
            format!(
                "the clock of {server} is {} ms {} this machine's: people see wrong times, and \
                 logs do not fit together; run a time service (chrony, systemd-timesyncd) on both",
                ms.abs(),
                if ms > 0 { "ahead of" } else { "behind" },
            ),
        ),
        Some(ms) => Finding::new(check, State::Ok, format!("{server}: {ms:+} ms")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_that_are_apart_are_named() {
        let state = |ms| clock("nats: clock", "nats-server", ms).state;
        assert_eq!(state(Some(-1000)), State::Ok);
        assert_eq!(state(Some(1001)), State::Warn);
        assert_eq!(state(None), State::Skipped);
        let behind = clock("nats: clock", "nats-server", Some(-5000)).message;
        assert!(behind.contains("5000 ms behind"), "{behind}");
    }
}
