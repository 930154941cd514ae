//! The cluster's records: JSON, for eyes and for `nats kv get`.

use super::Bad;
use crate::{
    bus::{
        ClusterId, ImportId, JournalKind, NodeRecord, Plan, Position, Role, Settings, ShardRecord,
    },
    journal::codec::number,
    room::{Epoch, Incarnation, Millis, Retention, RoomId, ShardId},
};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use uuid::Uuid;

/// The longest name of a host, and a port.
const ADDRESS: usize = 253 + 6;

#[derive(Serialize, Deserialize)]
struct Node {
    incarnation: String,
    name: String,
    roles: Vec<Role>,
    #[serde(default)]
    draining: bool,
    version: String,
    /// Nodes of before do not say it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    commit: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    address: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    unreachable: Vec<String>,
    /// Nodes of before do not say it.
    #[serde(default = "first")]
    formats: u32,
    /// Nodes of before do not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    keeps: Option<Keeps>,
    /// Nodes of before do not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    gone_after_s: Option<u64>,
}

/// Without a bound: everything.
#[derive(Serialize, Deserialize)]
struct Keeps {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    age_s: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    events: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
}

fn first() -> u32 {
    1
}

#[derive(Serialize, Deserialize)]
struct Shard {
    owner: Option<String>,
    epoch: u64,
    floor: u64,
    /// Nodes of before do not say it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    unfinished: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct StoredPlan {
    writers: Vec<String>,
    moved: BTreeMap<u16, String>,
}

/// What is not of the expected form counts as open: what matters of it the format says.
#[derive(Serialize, Deserialize)]
struct Stored {
    shards: u16,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cluster: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    journal: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    keyspace: Option<String>,
    #[serde(default, skip_serializing_if = "is_zero")]
    format: u32,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    incomplete: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    import: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    moved: Option<String>,
    #[serde(default, skip_serializing_if = "is_zero")]
    held_until: u64,
    /// What later versions add: kept when the record is written again.
    #[serde(flatten)]
    later: BTreeMap<String, serde_json::Value>,
}

fn is_zero<T: Default + PartialEq>(number: &T) -> bool {
    *number == T::default()
}

/// A node's record as it is stored.
pub fn encode_node(node: &NodeRecord) -> Bytes {
    let NodeRecord {
        incarnation,
        name,
        roles,
        draining,
        version,
        commit,
        address,
        unreachable,
        formats,
        keeps,
        gone_after_s,
    } = node;
    json(&Node {
        incarnation: incarnation.to_string(),
        name: name.clone(),
        roles: roles.clone(),
        draining: *draining,
        version: version.to_string(),
        commit: commit.to_string(),
        address: address.to_string(),
        unreachable: unreachable.iter().map(ToString::to_string).collect(),
        formats: *formats,
        keeps: keeps.map(|Retention { age, events, bytes }| Keeps {
            age_s: age,
            events,
            bytes,
        }),
        gone_after_s: *gone_after_s,
    })
}

/// Reads what [`encode_node`] gave.
pub fn decode_node(bytes: &[u8]) -> Result<NodeRecord, Bad> {
    let Node {
        incarnation,
        name,
        roles,
        draining,
        version,
        commit,
        address,
        unreachable,
        formats,
        keeps,
        gone_after_s,
    } = serde_json::from_slice(bytes)?;
    let visible =
        |text: &str| (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
    if !visible(&name) || !visible(&version) {
        return Err(Bad(
            "a node's name or version is not 1 to 64 visible ASCII characters".into(),
        ));
    }
    if !commit.is_empty() && !visible(&commit) {
        return Err(Bad(
            "a node's commit is not 64 visible ASCII characters at most".into(),
        ));
    }
    if address.len() > ADDRESS || !address.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(Bad("a node's address is no host and port".into()));
    }
    Ok(NodeRecord {
        incarnation: parse(&incarnation)?,
        name,
        roles,
        draining,
        version: version.into(),
        commit: commit.into(),
        address: address.into(),
        unreachable: unreachable
            .iter()
            .map(|node| parse(node))
            .collect::<Result<_, _>>()?,
        formats,
        keeps: keeps.map(
            |Keeps {
                 age_s,
                 events,
                 bytes,
             }| Retention {
                age: age_s,
                events,
                bytes,
            },
        ),
        gone_after_s,
    })
}

/// A shard's record as it is stored.
pub fn encode_shard(shard: &ShardRecord) -> Bytes {
    json(&Shard {
        owner: shard.owner.map(|owner| owner.to_string()),
        epoch: shard.epoch.0,
        floor: shard.floor.0,
        unfinished: shard.unfinished.iter().map(ToString::to_string).collect(),
    })
}

/// Reads what [`encode_shard`] gave.
pub fn decode_shard(bytes: &[u8]) -> Result<ShardRecord, Bad> {
    let Shard {
        owner,
        epoch,
        floor,
        unfinished,
    } = serde_json::from_slice(bytes)?;
    let (epoch, floor) = (
        Epoch(number("epoch", epoch)?),
        Position(number("position", floor)?),
    );
    Ok(ShardRecord {
        owner: owner.as_deref().map(parse).transpose()?,
        epoch,
        floor,
        // What is no name costs nobody the shard.
        unfinished: unfinished
            .iter()
            .filter_map(|room| RoomId::parse(room).ok())
            .take(ShardRecord::UNFINISHED)
            .collect(),
    })
}

/// The plan as it is stored.
pub fn encode_plan(plan: &Plan) -> Bytes {
    let moved = plan.moved.iter();
    json(&StoredPlan {
        writers: plan.writers.iter().map(ToString::to_string).collect(),
        moved: moved.map(|(shard, to)| (shard.0, to.to_string())).collect(),
    })
}

/// Reads what [`encode_plan`] gave.
pub fn decode_plan(bytes: &[u8]) -> Result<Plan, Bad> {
    let StoredPlan { writers, moved } = serde_json::from_slice(bytes)?;
    let moved = moved.into_iter();
    Ok(Plan {
        writers: writers
            .iter()
            .map(|node| parse(node))
            .collect::<Result<_, _>>()?,
        moved: moved
            .map(|(shard, to)| Ok((ShardId(shard), parse(&to)?)))
            .collect::<Result<_, Bad>>()?,
    })
}

/// The settings as they are stored. `before`: what they take the place of.
pub fn encode_settings(settings: &Settings, before: &[u8]) -> Bytes {
    let later = serde_json::from_slice::<Stored>(before).map(|stored| stored.later);
    json(&Stored {
        shards: settings.shards,
        cluster: settings.cluster.map(|id| id.to_string()),
        journal: settings.journal.map(|kind| kind.as_str().into()),
        keyspace: settings.keyspace.map(|id| id.to_string()),
        format: settings.format,
        incomplete: settings.is_incomplete,
        import: settings.import.map(|id| id.to_string()),
        moved: settings.moved.map(|id| id.to_string()),
        held_until: settings.held_until.0,
        later: later.unwrap_or_default(),
    })
}

/// Reads what [`encode_settings`] gave.
pub fn decode_settings(bytes: &[u8]) -> Result<Settings, Bad> {
    let stored: Stored = serde_json::from_slice(bytes)?;
    Ok(Settings {
        shards: stored.shards,
        cluster: stored.cluster.as_deref().and_then(ClusterId::parse),
        journal: stored.journal.as_deref().and_then(JournalKind::parse),
        keyspace: stored.keyspace.and_then(|id| Uuid::parse_str(&id).ok()),
        format: stored.format,
        is_incomplete: stored.incomplete,
        import: stored.import.as_deref().and_then(ImportId::parse),
        moved: stored.moved.as_deref().and_then(ClusterId::parse),
        held_until: Millis(stored.held_until),
    })
}

fn json(value: &impl Serialize) -> Bytes {
    serde_json::to_vec(value)
        .expect("strings and numbers become JSON")
        .into()
}

fn parse(text: &str) -> Result<Incarnation, Bad> {
    Incarnation::parse(text).ok_or_else(|| Bad("a node is not 32 hexadecimal digits".into()))
}
