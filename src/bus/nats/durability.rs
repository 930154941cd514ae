//! What the servers do with what they store: whether it is on a disk when they answer.

use super::{Config, Error, Link, Subjects, login::Access};
use async_nats::HeaderMap;
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::Duration;

/// How long the servers may take to describe themselves.
const PATIENCE: Duration = Duration::from_secs(2);

/// What is known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Durability {
    /// Whether a message is synced before it is acknowledged; `None`: the login may not see that.
    pub sync: Option<Sync>,
    /// Copies of the stream of events; `None`: there is no such stream yet.
    pub copies: Option<u64>,
}

/// When a server syncs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sync {
    /// Before it answers (`sync_interval: always`).
    Always,
    /// So often.
    Every(Duration),
}

/// A server's answer to `$SYS.REQ.SERVER.PING.JSZ`.
#[derive(Deserialize)]
struct Described {
    data: Data,
}

#[derive(Deserialize)]
struct Data {
    config: Settings,
}

#[derive(Deserialize)]
struct Settings {
    #[serde(default)]
    sync_always: bool,
    /// In nanoseconds.
    #[serde(default)]
    sync_interval: u64,
}

/// Asks the servers. Makes nothing there.
pub async fn durability(config: &Config) -> Result<Durability, Error> {
    let subjects = Subjects::new(&config.prefix, config.shards)?;
    let access = Access::open(config)?;
    let link = Link::open(config, &access, "doctor", config.deadline, &subjects).await?;
    let request = json!({ "config": true }).to_string();
    let answer = link
        .request_within(
            PATIENCE,
            "$SYS.REQ.SERVER.PING.JSZ".into(),
            HeaderMap::new(),
            request.into(),
        )
        .await;
    let sync = answer.ok().and_then(|message| read(&message.payload));
    let copies = match link.info(&subjects.stream("EVT")).await {
        Ok(info) => info.config.get("num_replicas").and_then(Value::as_u64),
        Err(_) => None,
    };
    Ok(Durability { sync, copies })
}

fn read(answer: &[u8]) -> Option<Sync> {
    let Described {
        data: Data { config },
    } = serde_json::from_slice(answer).ok()?;
    Some(match config.sync_always {
        true => Sync::Always,
        false => Sync::Every(Duration::from_nanos(config.sync_interval)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_says_of_itself_is_read() {
        let said = |config: &str| format!(r#"{{"server":{{}},"data":{{"config":{config}}}}}"#);
        assert_eq!(
            read(said(r#"{"sync_interval":120000000000}"#).as_bytes()),
            Some(Sync::Every(Duration::from_secs(120)))
        );
        assert_eq!(
            read(said(r#"{"sync_interval":120000000000,"sync_always":true}"#).as_bytes()),
            Some(Sync::Always)
        );
        assert_eq!(read(b"{}"), None);
    }
}
