//! The form in which things travel on the bus: protobuf (`proto/safechat/bus/v1`) for what nodes
//! say, JSON for the cluster's records, so that `nats kv get` shows them readably. Commits travel
//! as they are stored: see `journal::codec`.

mod command;
mod direct;
mod record;

pub use command::{decode_command, encode_command};
pub use direct::{
    decode_ask, decode_heads, decode_inbound, decode_view, encode_ask, encode_heads,
    encode_inbound, encode_view,
};
pub use record::{
    decode_node, decode_plan, decode_settings, decode_shard, encode_node, encode_plan,
    encode_settings, encode_shard,
};

use crate::room::{
    DeviceId, Incarnation, Invalid, Key, Policy, RequestId, RoomId, SessionId, UserId,
};
use bytes::Bytes;

/// Why bytes from the bus cannot be what they should be. Without content.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Bad(pub String);

impl From<prost::DecodeError> for Bad {
    fn from(error: prost::DecodeError) -> Self {
        Self(error.to_string())
    }
}

impl From<Invalid> for Bad {
    fn from(invalid: Invalid) -> Self {
        Self(invalid.to_string())
    }
}

impl From<crate::journal::codec::Bad> for Bad {
    fn from(bad: crate::journal::codec::Bad) -> Self {
        Self(bad.0)
    }
}

impl From<serde_json::Error> for Bad {
    fn from(error: serde_json::Error) -> Self {
        Self(format!(
            "not the JSON that it should be (line {}, column {})",
            error.line(),
            error.column()
        ))
    }
}

fn room(name: &str) -> Result<RoomId, Bad> {
    Ok(RoomId::parse(name)?)
}

fn policy(word: Option<&str>) -> Result<Option<Policy>, Bad> {
    let unknown = || Bad("a policy that this version does not know".into());
    word.map(|word| Policy::parse(word).ok_or_else(unknown))
        .transpose()
}

fn user(name: &str) -> Result<UserId, Bad> {
    Ok(UserId::parse(name)?)
}

/// A gateway of before tokens lets a client bring any key: what stands for a token there is none.
fn key(text: &str, vouched: bool) -> Result<Key, Bad> {
    match Key::parse(text)? {
        _ if vouched => Ok(Key::vouched()),
        key if key.is_vouched() => Err(Bad("a key that no client may bring".into())),
        key => Ok(key),
    }
}

fn former(key: Option<&str>) -> Result<Option<Key>, Bad> {
    key.map(|text| self::key(text, false)).transpose()
}

fn device(name: Option<&str>) -> Result<Option<DeviceId>, Bad> {
    Ok(name.map(DeviceId::parse).transpose()?)
}

fn session(bytes: &[u8]) -> Result<SessionId, Bad> {
    SessionId::from_slice(bytes).ok_or_else(|| Bad("a session is not 16 bytes".into()))
}

fn request(bytes: &[u8]) -> Result<RequestId, Bad> {
    RequestId::from_slice(bytes).ok_or_else(|| Bad("a request is not 16 bytes".into()))
}

fn node(bytes: &[u8]) -> Result<Incarnation, Bad> {
    Incarnation::from_slice(bytes).ok_or_else(|| Bad("a node is not 16 bytes".into()))
}

fn id(bytes: [u8; 16]) -> Bytes {
    Bytes::copy_from_slice(&bytes)
}
