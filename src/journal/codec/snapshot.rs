//! Stored form of a room's state.

use super::{
    Error,
    change::{
        Bad, decode_abandoned, decode_changes, decode_maker, decode_opened, decode_pinned,
        decode_policy, decode_reason, decode_taken, encode_abandoned, encode_change, encode_maker,
        encode_opened, encode_pinned, encode_taken, id_bytes, number, request_id, session_id, user,
    },
    decode_command_id, decode_retention, encode_command_id, encode_retention,
};
use crate::{
    proto::journal::v1::{self, change, snapshot},
    room::{
        Attempt, Away, Carried, Ended, Erasure, Erasures, Group, Holder, Kept, MessageKey, Millis,
        Policy, Purge, Sent, Seq, Session, SessionId, State, Turn,
    },
};
use bytes::Bytes;
use prost::Message;

/// The version of a stored state, kept beside it. A snapshot of another version is refused
/// ([`Error::Unsupported`]): what no event has carried yet is in it alone. 2: of a room with a
/// policy, which an owner that does not know it would forget. 3: of a room with keys in records of
/// their own, to which names an owner that does not know that would let anybody in. 4: with content
/// that is to be erased, which such an owner would leave.
pub fn snapshot_version(state: &State) -> u32 {
    match state.policy {
        _ if !state.erasures.pending.is_empty() => 4,
        _ if state.away != Away::default() => 3,
        Policy::Open => 1,
        Policy::Proven | Policy::Sealed => 2,
    }
}

/// Whether this version reads stored states of a version.
pub fn reads_snapshot(version: u32) -> bool {
    (1..=4).contains(&version)
}

/// The stored form of what the next event is to take along: a `v1::Snapshot` of nothing else.
pub fn encode_carried(carried: &Carried) -> Bytes {
    let stored = v1::Snapshot {
        head: carried.seq.0,
        carried: carried.changes.iter().map(encode_change).collect(),
        ..v1::Snapshot::default()
    };
    stored.encode_to_vec().into()
}

/// What [`encode_carried`] stored.
pub fn decode_carried(bytes: Bytes) -> Result<Carried, Error> {
    let damaged = |bad: Bad| Error::Damaged(format!("what is stored beside a snapshot: {bad}"));
    let stored = v1::Snapshot::decode(bytes).map_err(|error| damaged(error.into()))?;
    let seq = number("event", stored.head).map_err(damaged)?;
    let changes = decode_changes(stored.carried).map_err(damaged)?;
    let seq = Seq(seq);
    Ok(Carried { seq, changes })
}

/// The stored form of a state (`v1::Snapshot`).
pub fn encode_snapshot(state: &State) -> Bytes {
    let mut keys: Vec<_> = state
        .pins
        .iter()
        .map(|(user, pin)| encode_pinned(user, &pin.key, pin.identity))
        .collect();
    keys.sort_by(|a, b| a.user.cmp(&b.user));
    let unpinned = state.unpinned.iter();
    let mut unpinned: Vec<_> = unpinned
        .map(|(user, at)| snapshot::LastUnpin {
            user: user.to_string(),
            at: at.0,
        })
        .collect();
    unpinned.sort_by(|a, b| a.user.cmp(&b.user));
    let sent = state
        .sent
        .iter()
        .map(|(message, sent)| encode_sent(message, sent));
    let ended = state.ended.iter().map(|(session, ended)| snapshot::Ended {
        session: id_bytes(session.to_bytes()),
        reason: match ended {
            Ended::Closed => None,
            Ended::Refused(reason) => Some(reason.as_str().into()),
        },
    });
    let stored = v1::Snapshot {
        head: state.head.0,
        members: state.members.iter().map(ToString::to_string).collect(),
        sessions: sessions(state),
        keys,
        sent: sent.collect(),
        ended: ended.collect(),
        carried: state.unjournaled.iter().map(encode_change).collect(),
        abandoned: state
            .abandoned
            .iter()
            .map(|((gateway, at), ())| encode_abandoned(*gateway, *at))
            .collect(),
        producers: state
            .producers
            .iter()
            .map(|(last, repeats)| encode_taken(last, repeats))
            .collect(),
        unpinned,
        policy: (state.policy != Policy::Open).then(|| state.policy.as_str().into()),
        group: state.group.as_ref().map(|group| snapshot::Group {
            state: group.stored(),
            made_at: group.made_at().0,
            lost: group.is_lost(),
        }),
        maker: state.maker.as_ref().map(encode_maker),
        kept: (state.kept != Kept::default()).then(|| encode_kept(&state.kept)),
        away: (state.away != Away::default()).then(|| encode_away(&state.away)),
        erasures: encode_erasures(&state.erasures),
    };
    stored.encode_to_vec().into()
}

fn encode_erasures(erasures: &Erasures) -> Vec<snapshot::Erasure> {
    let pending = erasures.pending.iter().map(|(user, it)| snapshot::Erasure {
        user: user.to_string(),
        at: it.at.0,
        through: it.through.0,
        bytes_since: it.bytes_since,
    });
    let done = erasures.done.iter().map(|(user, at)| snapshot::Erasure {
        user: user.to_string(),
        at: at.0,
        ..snapshot::Erasure::default()
    });
    let mut all: Vec<_> = pending.chain(done).collect();
    all.sort_by(|one, other| one.user.cmp(&other.user));
    all
}

fn decode_erasures(stored: Vec<snapshot::Erasure>) -> Result<Erasures, Bad> {
    let mut erasures = Erasures::default();
    for erasure in stored {
        let (user, at) = (user(&erasure.user)?, Millis(erasure.at));
        match number("event", erasure.through)? {
            0 => drop(erasures.done.insert(user, at)),
            through => drop(erasures.pending.insert(
                user,
                Erasure {
                    through: Seq(through),
                    at,
                    bytes_since: erasure.bytes_since,
                },
            )),
        }
    }
    Ok(erasures)
}

fn encode_away(away: &Away) -> snapshot::Away {
    snapshot::Away {
        used: away.is_used,
        count: away.count,
        freed: away.freed.iter().map(ToString::to_string).collect(),
        stale: away.stale.iter().map(|generation| generation.0).collect(),
    }
}

fn decode_away(stored: snapshot::Away) -> Result<Away, Bad> {
    let generations = stored.stale.into_iter();
    let generations = generations.map(|generation| number("event", generation).map(Seq));
    Ok(Away {
        is_used: stored.used,
        count: number("name", stored.count)?,
        freed: stored
            .freed
            .iter()
            .map(|name| user(name))
            .collect::<Result<_, _>>()?,
        stale: generations.collect::<Result<_, _>>()?,
    })
}

fn encode_kept(kept: &Kept) -> snapshot::Kept {
    snapshot::Kept {
        own: kept.own.as_ref().map(encode_retention),
        said: kept.said.0,
        start: kept.start.0,
        since: kept.since.0,
        bytes: kept.bytes,
        counted: kept.counted.0,
        purged: kept.purge.map_or(0, |purge| purge.seq.0),
        purged_at: kept.purge.map_or(0, |purge| purge.at.0),
    }
}

fn decode_kept(stored: &snapshot::Kept) -> Result<Kept, Bad> {
    let purge = Purge {
        seq: Seq(number("event", stored.purged)?),
        at: Millis(stored.purged_at),
    };
    Ok(Kept {
        own: stored.own.as_ref().map(decode_retention),
        said: Millis(stored.said),
        start: Seq(number("event", stored.start)?),
        since: Millis(stored.since),
        bytes: stored.bytes,
        counted: Seq(number("event", stored.counted)?),
        purge: Some(purge).filter(|purge| purge.seq > Seq::ZERO),
    })
}

fn encode_sent(message: &MessageKey, sent: &Sent) -> snapshot::Sent {
    let (user, id, digest) = match message {
        MessageKey::Named(user, id) => (user.to_string(), Some(encode_command_id(id)), None),
        MessageKey::Digest(digest) => (String::new(), None, Some(id_bytes(*digest))),
    };
    snapshot::Sent {
        user,
        id,
        digest,
        ..encode_place(sent)
    }
}

/// Without by what it is known.
fn encode_place(sent: &Sent) -> snapshot::Sent {
    let (turn, request) = match sent.by {
        Some(Attempt::Turn(turn)) => (Some(turn), None),
        Some(Attempt::Request(request)) => (None, Some(request)),
        None => (None, None),
    };
    snapshot::Sent {
        holder: sent.holder.map(|Holder(digest)| digest),
        former: sent.former.iter().map(encode_place).collect(),
        seq: sent.seq.0,
        session: turn.map(|turn| id_bytes(turn.session.to_bytes())),
        number: turn.map_or(0, |turn| turn.number),
        request: request.map(|request| id_bytes(request.to_bytes())),
        ..snapshot::Sent::default()
    }
}

fn decode_sent(mut stored: snapshot::Sent) -> Result<(MessageKey, Sent), Bad> {
    let digest = stored.digest.as_deref().map(<[u8; 16]>::try_from);
    let message = match (digest, stored.id.take()) {
        (Some(Ok(digest)), _) => MessageKey::Digest(digest),
        (None, Some(id)) => MessageKey::Named(user(&stored.user)?, decode_command_id(id)?),
        _ => return Err(Bad("a message of the dedupe window without an id".into())),
    };
    Ok((message, decode_place(stored)?))
}

fn decode_place(stored: snapshot::Sent) -> Result<Sent, Bad> {
    let session = stored.session.as_deref().map(session_id).transpose()?;
    let turn = session.map(|session| Turn {
        session,
        number: stored.number,
    });
    let request = stored.request.as_deref().map(request_id).transpose()?;
    // Others under the same name have none behind them.
    let alone = |former: snapshot::Sent| {
        decode_place(snapshot::Sent {
            former: Vec::new(),
            ..former
        })
    };
    Ok(Sent {
        seq: Seq(number("event", stored.seq)?),
        by: Attempt::of(turn, request),
        holder: stored.holder.map(Holder),
        former: stored
            .former
            .into_iter()
            .map(alone)
            .collect::<Result<_, _>>()?,
    })
}

/// User by user, and of a user oldest first, so that reading them in this order restores that
/// order.
fn sessions(state: &State) -> Vec<change::Opened> {
    let mut users: Vec<_> = state
        .sessions
        .iter()
        .map(|(_, session)| &session.user)
        .collect();
    users.sort();
    users.dedup();
    let ids = users.into_iter().flat_map(|user| state.sessions.of(user));
    let open = ids.filter_map(|id| Some((*id, state.sessions.get(*id)?)));
    let stored = |(id, session): (SessionId, &Session)| {
        let opened = encode_opened(id, &session.user, session.device.as_ref(), session.gateway);
        let repeats = session
            .repeats
            .iter()
            .map(|(number, seq)| change::Repeat {
                number: *number,
                seq: seq.0,
            })
            .collect();
        let skipped = session
            .skipped
            .iter()
            .map(|&(first, last)| change::Skipped { first, last })
            .collect();
        change::Opened {
            last: session.last,
            repeats,
            skipped,
            ..opened
        }
    };
    open.map(stored).collect()
}

/// Reads what [`encode_snapshot`] gave.
pub fn decode_snapshot(bytes: Bytes) -> Result<State, Error> {
    let damaged = |bad: Bad| Error::Damaged(format!("a snapshot: {bad}"));
    let stored = v1::Snapshot::decode(bytes).map_err(|error| damaged(error.into()))?;
    restore(stored).map_err(damaged)
}

fn decode_group(stored: snapshot::Group) -> Result<Group, Bad> {
    let made_at = Seq(number("event", stored.made_at)?);
    Group::restore(stored.state, made_at, stored.lost)
        .ok_or_else(|| Bad("a group in a form that this version does not know".into()))
}

fn restore(stored: v1::Snapshot) -> Result<State, Bad> {
    let mut state = State {
        head: Seq(number("head", stored.head)?),
        ..State::default()
    };
    for name in &stored.members {
        state.members.insert(user(name)?);
    }
    for opened in stored.sessions {
        let last = opened.last;
        let repeats = opened
            .repeats
            .iter()
            .map(|repeat| Ok((repeat.number, Seq(number("event", repeat.seq)?))))
            .collect::<Result<_, Bad>>()?;
        let skipped = opened
            .skipped
            .iter()
            .map(|skipped| (skipped.first, skipped.last))
            .collect();
        let (id, user, device, gateway) = decode_opened(opened)?;
        state.sessions.insert(
            id,
            Session {
                user,
                device,
                gateway,
                last,
                repeats,
                skipped,
            },
        );
    }
    for pinned in &stored.keys {
        let (user, pin) = decode_pinned(pinned)?;
        // An owner of an older version took what stands for a token for a key.
        if !pin.key.is_vouched() {
            state.pins.insert(user, pin);
        }
    }
    for last in &stored.unpinned {
        state.unpinned.insert(user(&last.user)?, Millis(last.at));
    }
    for sent in stored.sent {
        let (message, sent) = decode_sent(sent)?;
        state.sent.insert(message, sent);
    }
    for ended in stored.ended {
        let how = ended
            .reason
            .as_deref()
            .map(decode_reason)
            .transpose()?
            .map_or(Ended::Closed, Ended::Refused);
        state.ended.insert(session_id(&ended.session)?, how);
    }
    for abandoned in &stored.abandoned {
        state.abandoned.insert(decode_abandoned(abandoned)?, ());
    }
    for taken in stored.producers {
        let (last, repeats) = decode_taken(taken)?;
        state.producers.restore(last, repeats);
    }
    if let Some(policy) = &stored.policy {
        state.policy = decode_policy(policy)?;
    }
    state.maker = stored.maker.as_ref().map(decode_maker).transpose()?;
    state.group = stored.group.map(decode_group).transpose()?;
    let kept = stored.kept.as_ref().map(decode_kept).transpose()?;
    state.kept = kept.unwrap_or_default();
    state.away = stored
        .away
        .map(decode_away)
        .transpose()?
        .unwrap_or_default();
    state.erasures = decode_erasures(stored.erasures)?;
    state.unjournaled = decode_changes(stored.carried)?;
    Ok(state)
}
