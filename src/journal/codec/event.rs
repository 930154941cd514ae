//! Stored form of events: the current versions for writing, an upcaster for every version that was
//! ever written for reading.

use super::{
    Error,
    change::{
        Bad, decode_changes, device, encode_change, id_bytes, number, request_id, session_id, user,
    },
    decode_command_id, encode_command_id,
};
use crate::{
    proto::journal::{
        v1,
        v2::{self, text::Content},
    },
    room::{Body, DeviceId, Event, Kind, Millis, Seq, Turn, UserId},
};
use bytes::Bytes;
use prost::Message;
use std::fmt;

/// Leads a stored payload to the domain event.
type Upcast = fn(Bytes) -> Result<Kind, Bad>;

const JOINED: &str = "joined";
const LEFT: &str = "left";
const TEXT: &str = "text";
const UNPINNED: &str = "unpinned";
const HANDSHAKE: &str = "handshake";
const PURGED: &str = "purged";
const ERASED: &str = "erased";

/// Every version that was ever written. The newest one of a name is the one that is written.
const STORED: [(&str, u32, Upcast); 8] = [
    (JOINED, 1, joined_v1),
    (LEFT, 1, left_v1),
    (TEXT, 1, text_v1),
    (TEXT, 2, text_v2),
    (UNPINNED, 1, unpinned_v1),
    // As `text` version 2; a name of its own, so that nodes that do not know it say so.
    (HANDSHAKE, 1, text_v2),
    (PURGED, 1, purged_v1),
    (ERASED, 1, erased_v1),
];

/// How a domain event is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    /// The domain event.
    pub event: &'static str,
    /// Its stored name.
    pub name: &'static str,
    /// The version that is written.
    pub version: u32,
    /// The versions that can be read.
    pub reads: Vec<u32>,
}

impl fmt::Display for Mapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -> {}@{}", self.event, self.name, self.version)
    }
}

/// How every domain event is stored.
pub fn schema() -> Vec<Mapping> {
    let events = [
        ("Joined", JOINED),
        ("Left", LEFT),
        ("Message", TEXT),
        ("Unpinned", UNPINNED),
        ("Handshake", HANDSHAKE),
        ("Purged", PURGED),
        ("Erased", ERASED),
    ];
    let mapping = |(event, name)| {
        let reads = versions(name);
        Mapping {
            event,
            name,
            version: current(name),
            reads,
        }
    };
    events.into_iter().map(mapping).collect()
}

fn versions(name: &str) -> Vec<u32> {
    STORED
        .iter()
        .filter(|stored| stored.0 == name)
        .map(|stored| stored.1)
        .collect()
}

fn current(name: &str) -> u32 {
    versions(name)
        .into_iter()
        .max()
        .expect("every event has a stored version")
}

/// The stored form of an event, in the current version.
pub fn encode_event(event: &Event) -> v1::StoredEvent {
    let (name, payload) = match &event.kind {
        Kind::Joined { user } => (
            JOINED,
            v1::Joined {
                user: user.to_string(),
            }
            .encode_to_vec(),
        ),
        Kind::Left { user } => (
            LEFT,
            v1::Left {
                user: user.to_string(),
            }
            .encode_to_vec(),
        ),
        Kind::Unpinned { user, changed } => {
            let (user, changed) = (user.to_string(), *changed);
            (UNPINNED, v1::Unpinned { user, changed }.encode_to_vec())
        }
        Kind::Purged => (PURGED, v1::Purged {}.encode_to_vec()),
        Kind::Erased { user, through } => {
            let (user, through) = (user.to_string(), through.0);
            (ERASED, v1::Erased { user, through }.encode_to_vec())
        }
        Kind::Message {
            from,
            to,
            body,
            id,
            device,
            turn,
            request,
        } => {
            let (name, content) = match body {
                Body::Text(text) => (TEXT, Some(Content::Text(text.to_string()))),
                Body::Sealed(bytes) => (TEXT, Some(Content::Sealed(bytes.clone()))),
                Body::Handshake(bytes) => (HANDSHAKE, Some(Content::Handshake(bytes.clone()))),
                Body::Erased => (TEXT, None),
            };
            let stored = v2::Text {
                user: from.to_string(),
                recipient: to.as_ref().map(UserId::to_string),
                content,
                id: id.as_ref().map(encode_command_id),
                device: device.as_ref().map(DeviceId::to_string),
                session: turn.map(|turn| id_bytes(turn.session.to_bytes())),
                number: turn.map_or(0, |turn| turn.number),
                request: request.map(|request| id_bytes(request.to_bytes())),
                erased: *body == Body::Erased,
            };
            (name, stored.encode_to_vec())
        }
    };
    let changes = event.changes.iter().map(encode_change).collect();
    v1::StoredEvent {
        seq: event.seq.0,
        at: event.at.0,
        name: name.into(),
        version: current(name),
        payload: payload.into(),
        changes,
    }
}

/// Reads an event of any stored version.
///
/// [`Error::Unsupported`] for a name or version that is not known, [`Error::Damaged`] for content
/// that cannot be.
pub fn decode_event(stored: v1::StoredEvent) -> Result<Event, Error> {
    let v1::StoredEvent {
        seq,
        at,
        name,
        version,
        payload,
        changes,
    } = stored;
    let upcast = STORED
        .iter()
        .find(|known| known.0 == name && known.1 == version)
        .map(|known| known.2);
    let Some(upcast) = upcast else {
        return Err(Error::Unsupported {
            seq: Seq(seq),
            name: shown(name),
            version,
        });
    };
    let damaged =
        |bad: Bad| Error::Damaged(format!("event {seq} (`{name}` version {version}): {bad}"));
    if seq == 0 || number("event", seq).is_err() {
        return Err(damaged(Bad("no room has such a place".into())));
    }
    let kind = upcast(payload).map_err(damaged)?;
    let changes = decode_changes(changes).map_err(damaged)?;
    Ok(Event {
        seq: Seq(seq),
        at: Millis(at),
        kind,
        changes,
    })
}

/// A name that is none may be anything; errors are no place for that.
fn shown(name: String) -> String {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"_-.".contains(&b);
    let is_name = (1..=32).contains(&name.len()) && name.bytes().all(allowed);
    if is_name {
        name
    } else {
        format!("({} bytes that are no name)", name.len())
    }
}

fn joined_v1(payload: Bytes) -> Result<Kind, Bad> {
    Ok(Kind::Joined {
        user: user(&v1::Joined::decode(payload)?.user)?,
    })
}

fn left_v1(payload: Bytes) -> Result<Kind, Bad> {
    Ok(Kind::Left {
        user: user(&v1::Left::decode(payload)?.user)?,
    })
}

fn unpinned_v1(payload: Bytes) -> Result<Kind, Bad> {
    let unpinned = v1::Unpinned::decode(payload)?;
    Ok(Kind::Unpinned {
        user: user(&unpinned.user)?,
        changed: unpinned.changed,
    })
}

fn purged_v1(payload: Bytes) -> Result<Kind, Bad> {
    let v1::Purged {} = v1::Purged::decode(payload)?;
    Ok(Kind::Purged)
}

fn erased_v1(payload: Bytes) -> Result<Kind, Bad> {
    let stored = v1::Erased::decode(payload)?;
    let through = Seq(number("event", stored.through)?);
    if through == Seq::ZERO {
        return Err(Bad("an erasure of nothing: its last place is 0".into()));
    }
    Ok(Kind::Erased {
        user: user(&stored.user)?,
        through,
    })
}

/// Version 1 had no command id, no device and no sealed content. Its `when` and `time_zone` are not
/// needed: the time of the stored event counts.
fn text_v1(payload: Bytes) -> Result<Kind, Bad> {
    let stored = v1::Text::decode(payload)?;
    let to = (stored.recipient != "*")
        .then(|| user(&stored.recipient))
        .transpose()?;
    Ok(Kind::Message {
        from: user(&stored.user)?,
        to,
        body: Body::Text(stored.content.into()),
        id: None,
        device: None,
        turn: None,
        request: None,
    })
}

fn text_v2(payload: Bytes) -> Result<Kind, Bad> {
    let stored = v2::Text::decode(payload)?;
    let body = match stored.content {
        Some(Content::Text(content)) => Body::Text(content.into()),
        Some(Content::Sealed(bytes)) => Body::Sealed(bytes),
        Some(Content::Handshake(bytes)) => Body::Handshake(bytes),
        None if stored.erased => Body::Erased,
        None => {
            return Err(Bad(
                "content of a kind that this version does not know: install a newer one".into(),
            ));
        }
    };
    let to = stored.recipient.as_deref().map(user).transpose()?;
    let id = stored.id.map(decode_command_id).transpose()?;
    let session = stored.session.as_deref().map(session_id).transpose()?;
    let turn = session.map(|session| Turn {
        session,
        number: stored.number,
    });
    Ok(Kind::Message {
        from: user(&stored.user)?,
        to,
        body,
        id,
        device: device(stored.device.as_deref())?,
        turn,
        request: stored.request.as_deref().map(request_id).transpose()?,
    })
}
