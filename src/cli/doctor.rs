//! `safe-chat doctor`: looks at what a cluster rests on, and says what is wrong and what to do.
//!
//! A list of checks; each looks at one thing and changes nothing. A new one is one entry in
//! [`CHECKS`].

use super::Settings;
use crate::{
    app::connect,
    bus::nats::Sync,
    config::{Config, JournalKind},
    journal::cassandra::{self, Worth},
};
use anyhow::bail;
use futures::future::{BoxFuture, FutureExt};
use std::fmt;

/// A look at one thing.
struct Check {
    name: &'static str,
    look: fn(&Config) -> BoxFuture<'_, Finding>,
}

const CHECKS: [Check; 2] = [
    Check {
        name: "nats: sync",
        look: |config| nats_sync(config).boxed(),
    },
    Check {
        name: "cassandra: commit log",
        look: |config| commit_log(config).boxed(),
    },
];

/// What a look has found: what it is, and what to do.
#[derive(Debug, PartialEq, Eq)]
enum Finding {
    Ok(String),
    Warn(String),
    Fail(String),
    /// It is not used here.
    Skipped,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ok(what) => write!(f, "ok    {what}"),
            Self::Warn(what) => write!(f, "WARN  {what}"),
            Self::Fail(what) => write!(f, "FAIL  {what}"),
            Self::Skipped => write!(f, "-     not used here"),
        }
    }
}

/// Looks at everything; fails when something fails.
pub(super) async fn run(settings: &Settings) -> anyhow::Result<()> {
    let config = settings.read()?;
    let mut failed = 0;
    for check in CHECKS {
        let found = (check.look)(&config).await;
        failed += usize::from(matches!(found, Finding::Fail(_)));
        println!("{:<22} {found}", check.name);
    }
    match failed {
        0 => Ok(()),
        1 => bail!("1 check failed"),
        more => bail!("{more} checks failed"),
    }
}

async fn nats_sync(config: &Config) -> Finding {
    let durability = match connect::bus_durability(config).await {
        Ok(durability) => durability,
        Err(error) => return Finding::Fail(format!("{error:#}")),
    };
    let copies = durability.copies.unwrap_or(config.bus.replicas as u64);
    let advice = "set `sync_interval: always` in the jetstream block of every nats-server";
    match durability.sync {
        Some(Sync::Always) => Finding::Ok(format!(
            "synced before it is acknowledged, {copies} copies of the events"
        )),
        Some(Sync::Every(time)) => Finding::Warn(format!(
            "synced every {time:?}, {copies} copies of the events: servers that lose their power \
             forget what was acknowledged since; {advice}"
        )),
        None => Finding::Warn(format!(
            "sync_interval cannot be seen with this login ({copies} copies of the events): look \
             at http://SERVER:8222/jsz?config=1, and {advice}"
        )),
    }
}

async fn commit_log(config: &Config) -> Finding {
    if config.journal.kind == JournalKind::Bus {
        return Finding::Skipped;
    }
    match cassandra::durability(&config.cassandra)
        .await
        .map(|found| found.worth())
    {
        Ok(Worth::Kept(what)) => Finding::Ok(what),
        Ok(Worth::Weak(what) | Worth::Unknown(what)) => Finding::Warn(what),
        Ok(Worth::Lost(what)) => Finding::Fail(what),
        Err(error) => Finding::Fail(error.to_string()),
    }
}
