//! The cluster's settings: one record beside those of the shards. A node that starts agrees with it
//! or stores it; a node that runs keeps it there, since whoever starts without it may choose
//! another number of shards, or another journal, and would look for every room in the wrong place.

use super::{link::Link, registry::is_deletion, subjects::Subjects};
use crate::{
    bus::{
        Contradiction, Error, Settings,
        codec::{decode_settings, decode_shard, encode_settings},
    },
    room::ShardId,
};
use async_nats::HeaderMap;
use bytes::Bytes;
use std::{cmp::Reverse, sync::Arc};

/// The key of the settings.
pub(super) const SETTINGS: &str = "settings";
/// How often it is tried again when others store them at the same time.
const ATTEMPTS: usize = 4;

/// The record as it is.
enum Found {
    Stored(Settings, Previous),
    /// There is none, or none that can be read, and why.
    Vacant(Previous, String),
}

/// What a record replaces: its revision, and its bytes.
#[derive(Default)]
struct Previous {
    revision: u64,
    bytes: Bytes,
}

/// Why a node of this configuration may have nothing to do with what is stored, before it looks at
/// any stream: its rooms are kept elsewhere. And whether it is known where they are kept.
pub(super) async fn check_journal(
    link: &Link,
    subjects: &Subjects,
    mine: &Settings,
) -> Result<bool, Error> {
    let Found::Stored(stored, _) = find(link, subjects).await? else {
        return Ok(false);
    };
    // Another number of shards is told later.
    let mine = Settings {
        shards: stored.shards,
        ..*mine
    };
    match stored.contradiction(&mine) {
        Some(why @ Contradiction::Journal { .. }) => Err(Error::Unusable(format!(
            "{why} (the settings in {})",
            subjects.bucket("SHARDS")
        ))),
        _ => Ok(stored.journal.is_some()),
    }
}

/// The settings as they are, if there are any that can be read.
pub(super) async fn stored(link: &Link, subjects: &Subjects) -> Result<Option<Settings>, Error> {
    Ok(match find(link, subjects).await? {
        Found::Stored(stored, _) => Some(stored),
        Found::Vacant(..) => None,
    })
}

/// Whether there were settings, or shards with a record, and now none that can be read.
pub(super) async fn are_lost(link: &Link, subjects: &Subjects) -> Result<bool, Error> {
    match find(link, subjects).await? {
        Found::Stored(..) => Ok(false),
        Found::Vacant(previous, _) if previous.revision > 0 => Ok(true),
        Found::Vacant(..) => Ok(highest(link, subjects, 0).await?.is_some()),
    }
}

/// Whether something may be stored that this program does not read.
pub(super) async fn are_newer(link: &Link, subjects: &Subjects) -> Result<bool, Error> {
    let stored = stored(link, subjects).await?;
    Ok(stored.is_some_and(|stored| stored.is_newer()))
}

/// Why nobody may use the cluster, as far as its settings say.
pub(super) async fn check_complete(link: &Link, subjects: &Subjects) -> Result<(), Error> {
    match find(link, subjects).await? {
        Found::Stored(stored, _) => stored
            .check_complete()
            .map_err(|why| Error::Unusable(why.to_string())),
        Found::Vacant(..) => Ok(()),
    }
}

/// Stores the settings if there are none, and fills in what they leave open; those that are stored.
/// [`Error::Unusable`] when the records of the shards contradict them.
pub(super) async fn agree(
    link: &Link,
    subjects: &Subjects,
    wanted: &Settings,
    may_store: bool,
) -> Result<Settings, Error> {
    for _ in 0..ATTEMPTS {
        let (previous, why) = match find(link, subjects).await? {
            Found::Stored(stored, previous) => {
                let highest = highest(link, subjects, stored.shards).await?;
                if let Some(shard) = highest.filter(|_| stored.shards == wanted.shards) {
                    return Err(contradicted(subjects, stored.shards, shard));
                }
                let whole = stored.filled(wanted);
                let is_final = whole == stored || stored.contradiction(wanted).is_some();
                if is_final || !may_store {
                    return Ok(stored);
                }
                match put(link, subjects, &whole, previous).await {
                    Err(Error::Conflict(_)) => continue,
                    done => return done.map(|()| whole),
                }
            }
            Found::Vacant(_, why) if !may_store => {
                return Err(Error::Unavailable(format!(
                    "the cluster's settings {why}: a node that writes stores them, start one"
                )));
            }
            Found::Vacant(previous, why) => (previous, why),
        };
        let highest = highest(link, subjects, 0).await?;
        if let Some(shard) = highest.filter(|shard| shard.0 + 1 != wanted.shards) {
            // Another node may have stored them meanwhile, and begun to take shards.
            if matches!(find(link, subjects).await?, Found::Stored(..)) {
                continue;
            }
            return Err(unknown(subjects, &why, wanted.shards, shard));
        }
        let is_first = previous.revision == 0 && highest.is_none();
        match put(link, subjects, wanted, previous).await {
            Err(Error::Conflict(_)) => {}
            Err(error) => return Err(error),
            Ok(()) if is_first => return Ok(*wanted),
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
    Err(in_use())
}

fn in_use() -> Error {
    Error::Unavailable("the settings were changed while they were read: try again".into())
}

/// Changes the settings as they are, also where somebody else changes them at the same time.
pub(super) async fn change(
    link: &Link,
    subjects: &Subjects,
    change: impl Fn(Settings) -> Result<Settings, Error>,
) -> Result<Settings, Error> {
    let bucket = subjects.bucket("SHARDS");
    for _ in 0..ATTEMPTS {
        let Found::Stored(stored, previous) = find(link, subjects).await? else {
            return Err(Error::Unusable(format!("{bucket} has no settings")));
        };
        let wanted = change(stored)?;
        if wanted == stored {
            return Ok(wanted);
        }
        match put(link, subjects, &wanted, previous).await {
            Err(Error::Conflict(_)) => {}
            done => return done.map(|()| wanted),
        }
    }
    Err(in_use())
}

/// Makes sure that the settings of a running cluster are there, as `ours`, which learns what others
/// have filled in. Why that is not so: others are, or they cannot be stored now.
pub(super) async fn keep(
    link: &Link,
    subjects: &Subjects,
    ours: &mut Settings,
) -> Result<(), Kept> {
    let (previous, why) = match find(link, subjects).await {
        Ok(Found::Stored(stored, previous)) => {
            if let Some(why) = stored.contradiction(ours) {
                return Err(Kept::Other(others(subjects, &stored, ours, why).into()));
            }
            let mut whole = stored.filled(ours);
            // While the record was away, a node that started may have made an id of its own: the
            // older one counts, whoever looks.
            whole.cluster = [stored.cluster, ours.cluster].into_iter().flatten().min();
            *ours = whole;
            if whole == stored {
                return Ok(());
            }
            // An older version stored what it knew. Whoever was faster is seen by the next look.
            let _ = put(link, subjects, &whole, previous).await;
            return Ok(());
        }
        Ok(Found::Vacant(previous, why)) => (previous, why),
        Err(_) => return Err(Kept::Unknown), // The look at the bucket says so.
    };
    match put(link, subjects, ours, previous).await {
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
                 starts may choose another number of shards, or another journal"
            )
            .into(),
        )),
    }
}

fn others(subjects: &Subjects, stored: &Settings, ours: &Settings, why: Contradiction) -> String {
    let (bucket, command) = (subjects.bucket("SHARDS"), command(subjects, ours));
    match why {
        Contradiction::Shards { .. } => format!(
            "the settings in {bucket} say {} shards where this cluster runs with {}: who starts \
             with that looks for rooms in wrong places; {command}",
            stored.shards, ours.shards
        ),
        Contradiction::Format { .. } | Contradiction::Moved { .. } => {
            format!("the settings in {bucket}: {why}")
        }
        Contradiction::Journal { .. } | Contradiction::Keyspace { .. } => format!(
            "the settings in {bucket} are not those that this cluster runs with: {why}. If they \
             were changed by mistake: {command}"
        ),
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
        None => Found::Vacant(Previous::default(), "were missing".into()),
        Some(marker) if is_deletion(Some(&marker.headers)) => {
            let previous = Previous {
                revision: marker.sequence,
                ..Previous::default()
            };
            Found::Vacant(previous, "were removed".into())
        }
        Some(record) => {
            let previous = Previous {
                revision: record.sequence,
                bytes: record.payload,
            };
            match decode_settings(&previous.bytes) {
                Ok(settings) => Found::Stored(settings, previous),
                Err(bad) => Found::Vacant(previous, format!("could not be read ({bad})")),
            }
        }
    })
}

async fn put(
    link: &Link,
    subjects: &Subjects,
    settings: &Settings,
    previous: Previous,
) -> Result<(), Error> {
    let subject = subjects.key("SHARDS", SETTINGS);
    let value = encode_settings(settings, &previous.bytes);
    let stored = link.store(subject, HeaderMap::new(), value, Some(previous.revision));
    stored.await.map(drop)
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

/// What an operator types to store settings.
pub(super) fn command(subjects: &Subjects, settings: &Settings) -> String {
    let bucket = subjects.bucket("SHARDS");
    let bucket = bucket.trim_start_matches("KV_");
    let value = encode_settings(settings, b"");
    let value = String::from_utf8_lossy(&value);
    format!("nats kv put {bucket} {SETTINGS} '{value}'")
}

fn contradicted(subjects: &Subjects, stored: u16, highest: ShardId) -> Error {
    let bucket = subjects.bucket("SHARDS");
    Error::Unusable(format!(
        "the settings in {bucket} say {stored} shards, but there is a record of shard {highest}: a \
         cluster of more shards wrote it, and its rooms would not be found. If it had {count}: {}, \
         and start with --shards {count}",
        command(subjects, &Settings::of_shards(highest.0 + 1)),
        count = highest.0 + 1,
    ))
}

fn unknown(subjects: &Subjects, why: &str, wanted: u16, highest: ShardId) -> Error {
    let bucket = subjects.bucket("SHARDS");
    Error::Unusable(format!(
        "the cluster's settings in {bucket} {why}, and the highest shard with a record is \
         {highest}, so that {wanted} shards may be wrong. If the cluster had {wanted}: {}",
        command(subjects, &Settings::of_shards(wanted))
    ))
}
