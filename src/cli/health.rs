//! `safe-chat health`: whether the node of this configuration is ready, as its exit code: 0 when it
//! is, 1 when it is not or does not answer. The health check of the image, which has no other
//! program.

use super::{Settings, internal::Internal, stdout::print};
use crate::config::Config;
use anyhow::bail;
use hyper::Method;
use std::{fmt, time::Duration};

/// How long the node may take. Below the 5 s after which the image's health check is given up, so
/// that this line is what is shown then.
const DEADLINE: Duration = Duration::from_secs(3);
/// What `/ready` says.
#[derive(serde::Deserialize)]
struct Ready {
    ready: bool,
    #[serde(default)]
    why: Vec<String>,
    #[serde(default)]
    warnings: Vec<String>,
}

pub(super) async fn run(settings: &Settings) -> anyhow::Result<()> {
    match state(&settings.load()?.config).await? {
        State::Ready { warnings } => {
            let warnings = warnings.iter().map(|why| format!("warning: {why}\n"));
            // The answer is the exit code, whether or not somebody can read this.
            let _ = print(&format!("ready\n{}", warnings.collect::<String>()));
            Ok(())
        }
        not_ready => bail!("{not_ready}"),
    }
}

/// What a node says of itself.
#[derive(Debug)]
pub(super) enum State {
    /// It is, and what somebody should look at.
    Ready { warnings: Vec<String> },
    /// Why not.
    NotReady(Vec<String>),
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready { .. } => f.write_str("ready"),
            Self::NotReady(why) => write!(f, "not ready: {}", why.join("; ")),
        }
    }
}

/// Asks the node of this configuration.
pub(super) async fn state(config: &Config) -> anyhow::Result<State> {
    let node = Internal::probes(config)?;
    let asked = node.ask(Method::GET, "/ready", None, DEADLINE).await;
    let (status, body) = asked?;
    match serde_json::from_slice::<Ready>(&body) {
        Ok(Ready {
            ready: true,
            warnings,
            ..
        }) => Ok(State::Ready { warnings }),
        Ok(Ready { why, .. }) => Ok(State::NotReady(why)),
        Err(_) => bail!(
            "{} answers {status}: is that the internal port of a node?",
            node.address()
        ),
    }
}
