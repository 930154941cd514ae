//! Stored form of changes and of the ids in them.

use crate::{
    proto::journal::v1::{self, change::Change as Stored, command_id::Id},
    room::{
        Change, CommandId, DeviceId, Identity, Incarnation, Invalid, Key, Limits, Maker, Millis,
        Pin, Policy, Producer, ProducerSeq, Reason, RequestId, Retention, Seq, SessionId, Turn,
        UserId,
    },
};
use bytes::Bytes;

/// Why stored bytes cannot be what they should be.
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

/// The stored form of a command's id.
pub fn encode_command_id(id: &CommandId) -> v1::CommandId {
    let id = match id {
        CommandId::Client(id) => Id::Client(id.to_string()),
        CommandId::Gateway(session, n) => Id::Gateway(v1::command_id::Gateway {
            session: id_bytes(session.to_bytes()),
            n: *n,
        }),
    };
    v1::CommandId { id: Some(id) }
}

/// Reads what [`encode_command_id`] gave.
pub fn decode_command_id(stored: v1::CommandId) -> Result<CommandId, Bad> {
    match stored.id {
        Some(Id::Client(id)) => CommandId::parse(&id)
            .ok_or_else(|| Bad("a command id is not 1 to 64 visible ASCII characters".into())),
        Some(Id::Gateway(v1::command_id::Gateway { session, n })) => {
            Ok(CommandId::Gateway(session_id(&session)?, n))
        }
        None => Err(Bad("a command id of a kind that is not known".into())),
    }
}

/// The stored form of a change.
pub(super) fn encode_change(change: &Change) -> v1::Change {
    let change = match change {
        Change::Opened {
            session,
            user,
            device,
            gateway,
        } => Stored::Opened(encode_opened(*session, user, device.as_ref(), *gateway)),
        Change::Closed { session } => Stored::Closed(v1::change::Closed {
            session: id_bytes(session.to_bytes()),
        }),
        Change::Refused { session, reason } => Stored::Refused(v1::change::Refused {
            session: id_bytes(session.to_bytes()),
            reason: reason.as_str().into(),
        }),
        Change::Abandoned { gateway, at } => Stored::Abandoned(encode_abandoned(*gateway, *at)),
        Change::DuplicateRecorded {
            turn: Turn { session, number: n },
            seq,
        } => Stored::Said(v1::change::Said {
            session: id_bytes(session.to_bytes()),
            number: *n,
            seq: seq.0,
        }),
        Change::BatchTaken { from, repeats } => {
            let of_this = repeats.iter().map(|(index, seq)| (0, *index, *seq));
            Stored::BatchTaken(encode_taken(*from, of_this))
        }
        Change::Pinned {
            user,
            key,
            identity,
        } => Stored::Pinned(encode_pinned(user, key, *identity)),
        Change::Recalled {
            user,
            key,
            identity,
        } => Stored::Recalled(encode_pinned(user, key, *identity)),
        Change::PolicySet { policy, maker } => Stored::PolicySet(v1::change::PolicySet {
            policy: policy.as_str().into(),
            maker: maker.as_ref().map(encode_maker),
        }),
        Change::RetentionSet { own, at } => Stored::RetentionSet(v1::change::RetentionSet {
            own: own.as_ref().map(encode_retention),
            at: at.0,
        }),
        Change::Trimmed {
            start,
            since,
            bytes,
        } => Stored::Trimmed(v1::change::Trimmed {
            start: start.0,
            since: since.0,
            bytes: *bytes,
        }),
    };
    v1::Change {
        change: Some(change),
    }
}

/// Reads changes as [`encode_change`] gave them. An earlier version also had events say that the
/// owner had finished an erasure: only the journal itself knows that ([`State::rewritten`]).
///
/// [`State::rewritten`]: crate::room::State::rewritten
pub(super) fn decode_changes(stored: Vec<v1::Change>) -> Result<Vec<Change>, Bad> {
    let counts = |stored: &v1::Change| !matches!(stored.change, Some(Stored::Rewritten(_)));
    stored
        .into_iter()
        .filter(counts)
        .map(decode_change)
        .collect()
}

fn decode_change(stored: v1::Change) -> Result<Change, Bad> {
    match stored.change {
        Some(Stored::Opened(opened)) => {
            let (session, user, device, gateway) = decode_opened(opened)?;
            Ok(Change::Opened {
                session,
                user,
                device,
                gateway,
            })
        }
        Some(Stored::Closed(closed)) => Ok(Change::Closed {
            session: session_id(&closed.session)?,
        }),
        Some(Stored::Refused(refused)) => Ok(Change::Refused {
            session: session_id(&refused.session)?,
            reason: decode_reason(&refused.reason)?,
        }),
        Some(Stored::Abandoned(abandoned)) => {
            let (gateway, at) = decode_abandoned(&abandoned)?;
            Ok(Change::Abandoned { gateway, at })
        }
        Some(Stored::Said(said)) => {
            let turn = Turn {
                session: session_id(&said.session)?,
                number: said.number,
            };
            Ok(Change::DuplicateRecorded {
                turn,
                seq: Seq(number("event", said.seq)?),
            })
        }
        Some(Stored::BatchTaken(taken)) => {
            let (from, repeats) = decode_taken(taken)?;
            let repeats = repeats.into_iter();
            Ok(Change::BatchTaken {
                from,
                repeats: repeats.map(|(_, index, seq)| (index, seq)).collect(),
            })
        }
        Some(Stored::Pinned(pinned)) => {
            let (user, Pin { key, identity }) = decode_pinned(&pinned)?;
            Ok(Change::Pinned {
                user,
                key,
                identity,
            })
        }
        Some(Stored::Recalled(pinned)) => {
            let (user, Pin { key, identity }) = decode_pinned(&pinned)?;
            Ok(Change::Recalled {
                user,
                key,
                identity,
            })
        }
        Some(Stored::PolicySet(set)) => Ok(Change::PolicySet {
            policy: decode_policy(&set.policy)?,
            maker: set.maker.as_ref().map(decode_maker).transpose()?,
        }),
        Some(Stored::RetentionSet(set)) => Ok(Change::RetentionSet {
            own: set.own.as_ref().map(decode_retention),
            at: Millis(set.at),
        }),
        Some(Stored::Trimmed(trimmed)) => Ok(Change::Trimmed {
            start: Seq(number("event", trimmed.start)?),
            since: Millis(trimmed.since),
            bytes: trimmed.bytes,
        }),
        Some(Stored::Rewritten(_)) | None => Err(Bad(
            "a change of a kind that this version does not know: install a newer one".into(),
        )),
    }
}

pub(super) fn encode_opened(
    session: SessionId,
    user: &UserId,
    device: Option<&DeviceId>,
    gateway: Incarnation,
) -> v1::change::Opened {
    v1::change::Opened {
        session: id_bytes(session.to_bytes()),
        user: user.to_string(),
        device: device.map(DeviceId::to_string),
        gateway: id_bytes(gateway.to_bytes()),
        last: 0,
        repeats: Vec::new(),
        skipped: Vec::new(),
    }
}

pub(super) fn decode_opened(
    stored: v1::change::Opened,
) -> Result<(SessionId, UserId, Option<DeviceId>, Incarnation), Bad> {
    Ok((
        session_id(&stored.session)?,
        user(&stored.user)?,
        device(stored.device.as_deref())?,
        incarnation(&stored.gateway)?,
    ))
}

pub(super) fn encode_pinned(user: &UserId, key: &Key, identity: Identity) -> v1::change::Pinned {
    v1::change::Pinned {
        user: user.to_string(),
        key: key.as_str().into(),
        proven: identity.is_proven(),
        posted: identity == Identity::Posted,
    }
}

pub(super) fn decode_pinned(stored: &v1::change::Pinned) -> Result<(UserId, Pin), Bad> {
    let identity = match stored.posted {
        true => Identity::Posted,
        false => Identity::of(stored.proven),
    };
    let key = Key::parse(&stored.key)?;
    Ok((user(&stored.user)?, Pin { key, identity }))
}

pub(super) fn encode_taken(
    from: ProducerSeq,
    repeats: impl Iterator<Item = (u64, u32, Seq)>,
) -> v1::change::BatchTaken {
    let repeats = repeats.map(|(sequence, index, seq)| v1::change::RepeatInBatch {
        index,
        seq: seq.0,
        sequence,
    });
    v1::change::BatchTaken {
        gateway: id_bytes(from.producer.gateway.to_bytes()),
        generation: from.producer.generation,
        sequence: from.sequence,
        repeats: repeats.collect(),
    }
}

/// A batch, and messages that were there before: by batch (in a snapshot) and index, with their
/// places.
pub(super) type Taken = (ProducerSeq, Vec<(u64, u32, Seq)>);

pub(super) fn decode_taken(stored: v1::change::BatchTaken) -> Result<Taken, Bad> {
    let producer = Producer {
        gateway: incarnation(&stored.gateway)?,
        generation: number("generation", stored.generation)?,
    };
    let sequence = number("batch", stored.sequence)?;
    let repeats = stored.repeats.into_iter().map(|repeat| {
        let seq = Seq(number("event", repeat.seq)?);
        Ok((repeat.sequence, repeat.index, seq))
    });
    Ok((
        ProducerSeq { producer, sequence },
        repeats.collect::<Result<_, Bad>>()?,
    ))
}

/// The stored form of how much is kept.
pub fn encode_retention(retention: &Retention) -> v1::Retention {
    let Retention { age, events, bytes } = *retention;
    v1::Retention { age, events, bytes }
}

/// Reads what [`encode_retention`] gave.
pub fn decode_retention(stored: &v1::Retention) -> Retention {
    let v1::Retention { age, events, bytes } = *stored;
    Retention { age, events, bytes }
}

pub(super) fn encode_abandoned(gateway: Incarnation, at: Millis) -> v1::change::Abandoned {
    v1::change::Abandoned {
        gateway: id_bytes(gateway.to_bytes()),
        at: at.0,
    }
}

pub(super) fn decode_abandoned(
    stored: &v1::change::Abandoned,
) -> Result<(Incarnation, Millis), Bad> {
    Ok((incarnation(&stored.gateway)?, Millis(stored.at)))
}

pub(super) fn decode_reason(word: &str) -> Result<Reason, Bad> {
    Reason::parse(word)
        .ok_or_else(|| Bad("a reason that this version does not know: install a newer one".into()))
}

pub(super) fn decode_policy(word: &str) -> Result<Policy, Bad> {
    Policy::parse(word)
        .ok_or_else(|| Bad("a policy that this version does not know: install a newer one".into()))
}

pub(super) fn encode_maker(maker: &Maker) -> v1::change::Maker {
    v1::change::Maker {
        key: maker.key.as_str().into(),
        at: maker.at.0,
    }
}

pub(super) fn decode_maker(stored: &v1::change::Maker) -> Result<Maker, Bad> {
    Ok(Maker {
        key: Key::parse(&stored.key)?,
        at: Millis(stored.at),
    })
}

/// A number that counts something: beyond the limit nothing can be counted on.
pub(crate) fn number(what: &str, value: u64) -> Result<u64, Bad> {
    if value <= Limits::NUMBER {
        Ok(value)
    } else {
        Err(Bad(format!("{what} {value} is more than there can be")))
    }
}

pub(super) fn user(name: &str) -> Result<UserId, Bad> {
    Ok(UserId::parse(name)?)
}

pub(super) fn device(name: Option<&str>) -> Result<Option<DeviceId>, Bad> {
    Ok(name.map(DeviceId::parse).transpose()?)
}

pub(super) fn session_id(bytes: &[u8]) -> Result<SessionId, Bad> {
    SessionId::from_slice(bytes).ok_or_else(|| Bad("a session is not 16 bytes".into()))
}

pub(super) fn request_id(bytes: &[u8]) -> Result<RequestId, Bad> {
    RequestId::from_slice(bytes).ok_or_else(|| Bad("a request is not 16 bytes".into()))
}

fn incarnation(bytes: &[u8]) -> Result<Incarnation, Bad> {
    Incarnation::from_slice(bytes).ok_or_else(|| Bad("a gateway is not 16 bytes".into()))
}

pub(super) fn id_bytes(id: [u8; 16]) -> Bytes {
    Bytes::copy_from_slice(&id)
}
