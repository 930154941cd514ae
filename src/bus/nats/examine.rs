//! What a person asks about the servers before trusting them: version, clock, the largest message,
//! streams, and whether a message is on a disk when they acknowledge it. Makes nothing there.

use super::{
    Config, Error, Link, OLDEST, Subjects, clock,
    definition::{self, Definition},
    login::Access,
    payload, reach, settings,
};
use crate::bus::Store;
use async_nats::HeaderMap;
use chrono::Utc;
use serde::Deserialize;
use serde_json::json;
use std::time::Duration;

/// How long the servers may take to describe themselves.
const PATIENCE: Duration = Duration::from_secs(2);

/// What was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Examined {
    /// The version of the server that answered.
    pub version: String,
    /// The oldest version that will do, when that one is older.
    pub too_old: Option<String>,
    /// The largest message in bytes that it takes.
    pub max_payload: usize,
    /// What is needed of that, in bytes.
    pub needed_payload: usize,
    /// Whether a message is synced before it is acknowledged; `None`: the login may not see that.
    pub sync: Option<Sync>,
    /// Every stream and bucket, by name.
    pub streams: Vec<(String, Stream)>,
    /// What a gateway publishes that does not reach them, in words.
    pub unreached: Option<String>,
    /// By how much the server's clock is ahead of this machine's, in milliseconds; `None`: nothing
    /// told it.
    pub ahead_ms: Option<i64>,
}

/// When a server syncs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sync {
    /// Before it answers (`sync_interval: always`).
    Always,
    /// So often.
    Every(Duration),
}

/// How a stream, or the stream of a bucket, is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stream {
    /// It is not there.
    Missing,
    /// As it is needed, in so many copies.
    Fits(u64),
    /// It can be used, but should not be left so: why, and what to do.
    Weak(String),
    /// It cannot be used: why, and what to do.
    Unusable(String),
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

/// Asks the servers. One attempt.
pub async fn examine(config: &Config) -> Result<Examined, Error> {
    let subjects = Subjects::new(&config.prefix, config.shards)?;
    let access = Access::open(config)?;
    let link = Link::open(config, &access, "doctor", config.deadline, &subjects).await?;
    let info = link.client.server_info();
    let (major, minor, patch) = OLDEST;
    let is_new = link.client.is_server_compatible(major, minor, patch);
    let (mut streams, mut are_there) = (Vec::new(), true);
    let journal = async {
        let is_known = settings::check_journal(&link, &subjects, &config.settings()).await?;
        settings::check_complete(&link, &subjects).await?;
        Ok(is_known)
    }
    .await;
    let knows_journal = matches!(journal, Ok(true));
    for definition in definition::definitions(config, &subjects) {
        let state = match (definition.store, &journal) {
            (Store::Shards, Err(Error::Unusable(why))) => Stream::Unusable(why.clone()),
            _ => state(&definition, &link, knows_journal).await,
        };
        let is_there = matches!(state, Stream::Fits(_) | Stream::Weak(_));
        let state = match state {
            Stream::Unusable(why) if definition.store.is_optional() => Stream::Weak(why),
            state => state,
        };
        are_there &= is_there || definition.store.is_optional();
        streams.push((definition.name, state));
    }
    let unanswered = match are_there && !config.writes {
        true => reach::unanswered(&link, &subjects).await,
        false => Vec::new(),
    };
    Ok(Examined {
        unreached: (!unanswered.is_empty()).then(|| reach::told(&unanswered)),
        version: info.version,
        too_old: (!is_new).then(|| format!("{major}.{minor}")),
        max_payload: info.max_payload,
        needed_payload: payload::NEEDED,
        sync: sync(&link).await,
        ahead_ms: ahead(&link, &streams).await,
        streams,
    })
}

async fn state(definition: &Definition, link: &Link, knows_journal: bool) -> Stream {
    let found = match definition.find(link).await {
        Ok(Some(found)) => found,
        Ok(None) => return Stream::Missing,
        Err(error) => return Stream::Unusable(error.to_string()),
    };
    let away = found
        .cluster
        .as_ref()
        .and_then(|copies| definition.is_short_of_copies(copies));
    let found = found.config;
    if let Err(why) = definition.check(&found, knows_journal) {
        return Stream::Unusable(why);
    }
    let away = match away {
        Some((why, true)) => return Stream::Unusable(why),
        away => away.map(|(why, _)| why),
    };
    let weakness = away.or_else(|| definition.has_fewer_copies(&found));
    let weakness = weakness.or_else(|| definition.takes_no_batches(&found, link));
    let weakness = weakness.or_else(|| definition.lets_events_go(&found));
    let weakness = weakness.or_else(|| definition.keeps_everything(&found));
    match weakness.or_else(|| definition.lets_one_empty_it(&found)) {
        Some(why) => Stream::Weak(why),
        None => Stream::Fits(found["num_replicas"].as_u64().unwrap_or(1)),
    }
}

async fn sync(link: &Link) -> Option<Sync> {
    let request = json!({ "config": true }).to_string();
    let subject = "$SYS.REQ.SERVER.PING.JSZ".into();
    let answer = link
        .request_within(PATIENCE, subject, HeaderMap::new(), request.into())
        .await;
    read_sync(&answer.ok()?.payload)
}

fn read_sync(answer: &[u8]) -> Option<Sync> {
    let Described {
        data: Data { config },
    } = serde_json::from_slice(answer).ok()?;
    Some(match config.sync_always {
        true => Sync::Always,
        false => Sync::Every(Duration::from_nanos(config.sync_interval)),
    })
}

/// A description of a stream says when it was made, by the server's clock. The request is taken to
/// be as long on its way as the answer (Cristian's algorithm).
async fn ahead(link: &Link, streams: &[(String, Stream)]) -> Option<i64> {
    let is_there = |(_, state): &&(String, Stream)| matches!(state, Stream::Fits(_));
    let (name, _) = streams.iter().find(is_there)?;
    let asked = Utc::now();
    let told = clock::time(link, name).await;
    let answered = Utc::now();
    let here = asked + (answered - asked) / 2;
    Some((told.ok()? - here).num_milliseconds())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_says_of_its_syncing_is_read() {
        let said = |config: &str| format!(r#"{{"server":{{}},"data":{{"config":{config}}}}}"#);
        assert_eq!(
            read_sync(said(r#"{"sync_interval":120000000000}"#).as_bytes()),
            Some(Sync::Every(Duration::from_secs(120)))
        );
        assert_eq!(
            read_sync(said(r#"{"sync_interval":120000000000,"sync_always":true}"#).as_bytes()),
            Some(Sync::Always)
        );
        assert_eq!(read_sync(b"{}"), None);
    }
}
