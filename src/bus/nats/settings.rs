//! The cluster's settings: one record beside those of the shards. A node that starts agrees with it
//! or stores it; a node that runs keeps it there, since whoever starts without it may choose
//! another number of shards, and would look for every room in the wrong place.

use super::{link::Link, registry::is_deletion, subjects::Subjects};
use crate::{
    bus::{
        Error, Settings,
        codec::{decode_settings, decode_shard, encode_settings},
    },
    room::ShardId,
};
use async_nats::HeaderMap;
use std::{cmp::Reverse, sync::Arc};

/// The key of the settings.
pub(super) const SETTINGS: &str = "settings";
/// How often it is tried again when others store them at the same time.
const ATTEMPTS: usize = 4;

/// The record as it is.
enum Found {
    Stored(Settings),
    /// There is none, or none that can be read; where what is there lies, and what that is.
    Vacant(u64, String),
}

/// Stores the settings if there are none; those that are stored. [`Error::Unusable`] when the
/// records of the shards contradict them.
pub(super) async fn agree(
    link: &Link,
    subjects: &Subjects,
    wanted: &Settings,
    may_store: bool,
) -> Result<Settings, Error> {
    for _ in 0..ATTEMPTS {
        let (at, why) = match find(link, subjects).await? {
            Found::Stored(stored) => {
                let highest = highest(link, subjects, stored.shards).await?;
                return match highest.filter(|_| stored == *wanted) {
                    None => Ok(stored),
                    Some(shard) => Err(contradicted(subjects, stored.shards, shard)),
                };
            }
            Found::Vacant(_, why) if !may_store => {
                return Err(Error::Unavailable(format!(
                    "the cluster's settings {why}: a node that writes stores them, start one"
                )));
            }
            Found::Vacant(at, why) => (at, why),
        };
        let highest = highest(link, subjects, 0).await?;
        if let Some(shard) = highest.filter(|shard| shard.0 + 1 != wanted.shards) {
            // Another node may have stored them meanwhile, and begun to take shards.
            if matches!(find(link, subjects).await?, Found::Stored(_)) {
                continue;
            }
            return Err(unknown(subjects, &why, wanted.shards, shard));
        }
        match put(link, subjects, wanted, at).await {
            Err(Error::Conflict(_)) => {}
            Err(error) => return Err(error),
            Ok(()) if at == 0 && highest.is_none() => return Ok(*wanted),
            Ok(()) => {
                tracing::warn!(
                    shards = wanted.shards,
                    "the cluster's settings {why}; by the records of the shards they are known, \
                     and stored again"
                );
                return Ok(*wanted);
            }
        }
    }
    Err(Error::Unavailable(
        "the settings were changed while they were read: try again".into(),
    ))
}

/// Makes sure that the settings of a running cluster are there. Why that is not so: others are, or
/// they cannot be stored now.
pub(super) async fn keep(link: &Link, subjects: &Subjects) -> Result<(), Kept> {
    let ours = Settings {
        shards: subjects.shards().count(),
    };
    match find(link, subjects).await {
        Ok(Found::Stored(stored)) if stored == ours => Ok(()),
        Ok(Found::Stored(other)) => {
            let (bucket, command) = (subjects.bucket("SHARDS"), command(subjects, ours.shards));
            Err(Kept::Other(
                format!(
                    "the settings in {bucket} say {} shards where this cluster runs with {}: who \
                     starts with that looks for rooms in wrong places; {command}",
                    other.shards, ours.shards
                )
                .into(),
            ))
        }
        Ok(Found::Vacant(at, why)) => match put(link, subjects, &ours, at).await {
            Ok(()) => {
                tracing::warn!(
                    shards = ours.shards,
                    "the cluster's settings {why}; this node has stored its own again"
                );
                Ok(())
            }
            Err(Error::Conflict(_)) => Ok(()), // Another node was faster; the next look sees it.
            // Without the details, which may differ each time: it is told once.
            Err(_) => Err(Kept::Lost(
                format!(
                    "the cluster's settings {why}, and cannot be stored again now: a node that \
                     starts may choose another number of shards"
                )
                .into(),
            )),
        },
        Err(_) => Err(Kept::Unknown), // The look at the bucket says so.
    }
}

/// Why the settings are not there.
pub(super) enum Kept {
    Other(Arc<str>),
    Lost(Arc<str>),
    Unknown,
}

async fn find(link: &Link, subjects: &Subjects) -> Result<Found, Error> {
    let subject = subjects.key("SHARDS", SETTINGS);
    let stored = link.last(&subjects.bucket("SHARDS"), &subject).await?;
    Ok(match stored {
        None => Found::Vacant(0, "were missing".into()),
        Some(marker) if is_deletion(Some(&marker.headers)) => {
            Found::Vacant(marker.sequence, "were removed".into())
        }
        Some(record) => match decode_settings(&record.payload) {
            Ok(settings) => Found::Stored(settings),
            Err(bad) => Found::Vacant(record.sequence, format!("could not be read ({bad})")),
        },
    })
}

async fn put(link: &Link, subjects: &Subjects, settings: &Settings, at: u64) -> Result<(), Error> {
    let subject = subjects.key("SHARDS", SETTINGS);
    let value = encode_settings(settings);
    let stored = link.store(subject, HeaderMap::new(), value, Some(at)).await;
    stored.map(drop)
}

/// The highest shard, from `least` on, that has a record which can be read.
async fn highest(link: &Link, subjects: &Subjects, least: u16) -> Result<Option<ShardId>, Error> {
    let bucket = subjects.bucket("SHARDS");
    let keys = link.subjects(&bucket, &subjects.key("SHARDS", "*")).await?;
    let number = |key: &String| key.rsplit('.').next()?.parse::<u16>().ok();
    let mut shards: Vec<u16> = keys.iter().filter_map(number).collect();
    shards.retain(|shard| *shard >= least && *shard < u16::MAX);
    shards.sort_by_key(|shard| Reverse(*shard));
    for shard in shards {
        let key = subjects.key("SHARDS", &shard.to_string());
        let record = link.last(&bucket, &key).await?;
        if record.is_some_and(|record| decode_shard(&record.payload).is_ok()) {
            return Ok(Some(ShardId(shard)));
        }
    }
    Ok(None)
}

fn command(subjects: &Subjects, shards: u16) -> String {
    let bucket = subjects.bucket("SHARDS");
    let bucket = bucket.trim_start_matches("KV_");
    format!("nats kv put {bucket} {SETTINGS} '{{\"shards\":{shards}}}'")
}

fn contradicted(subjects: &Subjects, stored: u16, highest: ShardId) -> Error {
    let bucket = subjects.bucket("SHARDS");
    Error::Unusable(format!(
        "the settings in {bucket} say {stored} shards, but there is a record of shard {highest}: a \
         cluster of more shards wrote it, and its rooms would not be found. If it had {count}: {}, \
         and start with --shards {count}",
        command(subjects, highest.0 + 1),
        count = highest.0 + 1,
    ))
}

fn unknown(subjects: &Subjects, why: &str, wanted: u16, highest: ShardId) -> Error {
    let bucket = subjects.bucket("SHARDS");
    Error::Unusable(format!(
        "the cluster's settings in {bucket} {why}, and the highest shard with a record is \
         {highest}, so that {wanted} shards may be wrong. If the cluster had {wanted}: {}",
        command(subjects, wanted)
    ))
}
