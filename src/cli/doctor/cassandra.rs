//! Cassandra, when it is the journal: tables, syncing and copies, clocks.

use super::{Finding, State, clock};
use crate::{
    config::{Config, JournalKind},
    journal::{
        Error,
        cassandra::{self, Examined, Worth},
    },
};

pub(super) async fn look(config: &Config) -> Vec<Finding> {
    let server = |state, message: String| Finding::new("cassandra: server", state, message);
    if config.journal.kind == JournalKind::Bus {
        return vec![server(
            State::Skipped,
            "not used here: rooms are kept on the bus".into(),
        )];
    }
    match cassandra::examine(&config.cassandra).await {
        Ok(found) => {
            let mut findings = vec![
                server(State::Ok, format!("Cassandra {}", found.release)),
                schema(&found, config),
                commit_log(&found),
            ];
            for (node, ahead_ms) in &found.ahead_ms {
                findings.push(clock("cassandra: clock", node, *ahead_ms));
            }
            findings
        }
        Err(error) => vec![server(State::Fail, error.to_string())],
    }
}

fn schema(found: &Examined, config: &Config) -> Finding {
    let check = "cassandra: tables";
    match &found.schema {
        Ok(()) => Finding::new(
            check,
            State::Ok,
            format!("keyspace {}", config.cassandra.keyspace),
        ),
        Err(error @ Error::Unusable(_)) if config.cassandra.auto_migrate => Finding::new(
            check,
            State::Warn,
            format!("{error}; a node that starts does (cassandra.auto_migrate)"),
        ),
        Err(error) => Finding::new(check, State::Fail, error.to_string()),
    }
}

fn commit_log(found: &Examined) -> Finding {
    let (state, message) = match found.durability.worth() {
        Worth::Kept(what) => (State::Ok, what),
        Worth::Weak(what) | Worth::Unknown(what) => (State::Warn, what),
        Worth::Lost(what) => (State::Fail, what),
    };
    Finding::new("cassandra: commit log", state, message)
}
