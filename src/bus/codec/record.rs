//! The cluster's records: JSON, for eyes and for `nats kv get`.

use super::Bad;
use crate::{
    bus::{NodeRecord, Position, Role, Settings, ShardRecord},
    journal::codec::number,
    room::{Epoch, Incarnation},
};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Node {
    incarnation: String,
    name: String,
    roles: Vec<Role>,
    #[serde(default)]
    draining: bool,
    version: String,
}

#[derive(Serialize, Deserialize)]
struct Shard {
    owner: Option<String>,
    epoch: u64,
    floor: u64,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    shards: u16,
}

/// A node's record as it is stored.
pub fn encode_node(node: &NodeRecord) -> Bytes {
    let NodeRecord {
        incarnation,
        name,
        roles,
        draining,
        version,
    } = node;
    json(&Node {
        incarnation: incarnation.to_string(),
        name: name.clone(),
        roles: roles.clone(),
        draining: *draining,
        version: version.clone(),
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
    } = serde_json::from_slice(bytes)?;
    let visible =
        |text: &str| (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
    if !visible(&name) || !visible(&version) {
        return Err(Bad(
            "a node's name or version is not 1 to 64 visible ASCII characters".into(),
        ));
    }
    Ok(NodeRecord {
        incarnation: parse(&incarnation)?,
        name,
        roles,
        draining,
        version,
    })
}

/// A shard's record as it is stored.
pub fn encode_shard(shard: &ShardRecord) -> Bytes {
    json(&Shard {
        owner: shard.owner.map(|owner| owner.to_string()),
        epoch: shard.epoch.0,
        floor: shard.floor.0,
    })
}

/// Reads what [`encode_shard`] gave.
pub fn decode_shard(bytes: &[u8]) -> Result<ShardRecord, Bad> {
    let Shard {
        owner,
        epoch,
        floor,
    } = serde_json::from_slice(bytes)?;
    let (epoch, floor) = (
        Epoch(number("epoch", epoch)?),
        Position(number("position", floor)?),
    );
    Ok(ShardRecord {
        owner: owner.as_deref().map(parse).transpose()?,
        epoch,
        floor,
    })
}

/// The settings as they are stored.
pub fn encode_settings(settings: &Settings) -> Bytes {
    json(&Stored {
        shards: settings.shards,
    })
}

/// Reads what [`encode_settings`] gave.
pub fn decode_settings(bytes: &[u8]) -> Result<Settings, Bad> {
    let Stored { shards } = serde_json::from_slice(bytes)?;
    Ok(Settings { shards })
}

fn json(value: &impl Serialize) -> Bytes {
    serde_json::to_vec(value)
        .expect("strings and numbers become JSON")
        .into()
}

fn parse(text: &str) -> Result<Incarnation, Bad> {
    Incarnation::parse(text).ok_or_else(|| Bad("a node is not 32 hexadecimal digits".into()))
}
