//! The protobuf protocol: the same frames, one message per binary frame.

use super::{ClientFrame, Refused, ServerFrame, check, proof::Proof, view::View};
use crate::{
    proto::client::v1::{self as pb, client_frame, event, send, server_frame},
    room::{Body, Event, Policy, RoomId, UserId},
};
use bytes::Bytes;
use prost::Message as _;

/// Reads a frame. A frame without a known type is unsupported; the id of one cannot be known.
pub(super) fn decode(bytes: &[u8]) -> Result<ClientFrame, Refused> {
    let frame = pb::ClientFrame::decode(bytes)
        .map_err(|_| Refused::bad_frame("a frame must be one ClientFrame message"))?;
    match frame.frame {
        None | Some(client_frame::Frame::Proof(_)) => Err(Refused::unsupported(None)),
        Some(client_frame::Frame::Send(send)) => message(send),
        Some(client_frame::Frame::History(history)) => check::history(
            check::id(&history.id)?,
            history.before,
            history.limit.map(u64::from),
        ),
        Some(client_frame::Frame::Members(members)) => {
            check::members(check::id(&members.id)?, members.after.as_deref())
        }
        Some(client_frame::Frame::Ping(ping)) => Ok(ClientFrame::Ping {
            id: check::id(&ping.id)?,
        }),
        Some(client_frame::Frame::Token(new)) => check::token(check::id(&new.id)?, &new.token),
    }
}

/// Reads the answer to a challenge; `None`: it is none.
pub(super) fn proof(bytes: &[u8]) -> Option<Proof> {
    match pb::ClientFrame::decode(bytes).ok()?.frame? {
        client_frame::Frame::Proof(proof) => Some(Proof {
            host: proof.host,
            signature: proof.signature.as_ref().try_into().ok()?,
            former: match proof.former {
                Some(former) => Some(former.as_ref().try_into().ok()?),
                None => None,
            },
        }),
        _ => None,
    }
}

fn message(send: pb::Send) -> Result<ClientFrame, Refused> {
    let id = check::id(&send.id)?;
    let to = match send.to {
        Some(to) => check::to(Some(&id), &to)?,
        None => None,
    };
    let body = match send.content {
        Some(send::Content::Text(text)) => check::text(Some(&id), &text)?,
        Some(send::Content::Sealed(bytes)) => check::sealed(Some(&id), bytes)?,
        Some(send::Content::Handshake(bytes)) => check::handshake(Some(&id), bytes)?,
        None => {
            return Err(Refused::bad_field(
                Some(id),
                "a message needs text, sealed content or a handshake",
            ));
        }
    };
    Ok(ClientFrame::Send(check::message(id, to, body)))
}

/// The message of a frame.
pub(super) fn encode(room: &RoomId, frame: &ServerFrame) -> Bytes {
    use server_frame::Frame;
    let frame = match frame {
        ServerFrame::Challenge { nonce, within_ms } => Frame::Challenge(pb::Challenge {
            nonce: Bytes::copy_from_slice(&nonce.0),
            within_ms: *within_ms,
        }),
        ServerFrame::Welcome {
            user,
            session,
            seq,
            recovered,
            members,
            left_out,
            epoch,
            node,
            identity,
            policy,
        } => Frame::Welcome(pb::Welcome {
            room: room.to_string(),
            user: user.to_string(),
            session: session.to_string(),
            seq: seq.0,
            recovered: *recovered,
            members: names(members),
            epoch: epoch.0,
            node: node.clone(),
            proven: identity.is_proven(),
            more_members: *left_out > 0,
            member_count: match left_out {
                0 => 0,
                left_out => (members.len() + left_out) as u64,
            },
            policy: (*policy != Policy::Open).then(|| policy.as_str().into()),
        }),
        ServerFrame::Event(shared) => Frame::Event(seen(shared.event())),
        ServerFrame::Accepted { id } => Frame::Accepted(pb::Accepted { id: id.to_string() }),
        ServerFrame::Journaled {
            id,
            seq,
            epoch,
            duplicate,
        } => Frame::Journaled(pb::Journaled {
            id: id.to_string(),
            seq: seq.0,
            epoch: epoch.0,
            duplicate: *duplicate,
        }),
        ServerFrame::Rejected { id, rejection } => Frame::Rejected(pb::Rejected {
            id: id.as_deref().map(str::to_owned),
            reason: rejection.reason.to_string(),
            message: rejection.message.clone(),
            retry_after_ms: rejection.retry_after_ms,
            seq: rejection.seq.map(|seq| seq.0),
        }),
        ServerFrame::History {
            id,
            events,
            more,
            missing,
        } => {
            let id = id.as_deref().map(str::to_owned);
            Frame::History(pb::History {
                id,
                events: events.iter().map(seen).collect(),
                more: *more,
                missing_first: missing.map(|(first, _)| first.0),
                missing_last: missing.map(|(_, last)| last.0),
            })
        }
        ServerFrame::Members { id, members, more } => Frame::Members(pb::Members {
            id: id.to_string(),
            members: names(members),
            more: *more,
        }),
        ServerFrame::Pong { id } => Frame::Pong(pb::Pong { id: id.to_string() }),
        ServerFrame::Reset { seq, reason } => Frame::Reset(pb::Reset {
            seq: seq.0,
            reason: reason.to_string(),
        }),
        ServerFrame::Bye {
            reason,
            reconnect_after_ms,
        } => Frame::Bye(pb::Bye {
            reason: reason.to_string(),
            reconnect_after_ms: *reconnect_after_ms,
        }),
        ServerFrame::Expiring { expires_in_ms } => Frame::Expiring(pb::Expiring {
            expires_in_ms: *expires_in_ms,
        }),
        ServerFrame::Refreshed { id, expires_in_ms } => Frame::Refreshed(pb::Refreshed {
            id: id.to_string(),
            expires_in_ms: *expires_in_ms,
        }),
    };
    write(frame)
}

/// The message of an event.
pub(super) fn event(event: &Event) -> Bytes {
    write(server_frame::Frame::Event(seen(event)))
}

fn write(frame: server_frame::Frame) -> Bytes {
    pb::ServerFrame { frame: Some(frame) }
        .encode_to_vec()
        .into()
}

fn seen(event: &Event) -> pb::Event {
    let View {
        seq,
        at,
        kind,
        from,
        to,
        body,
        id,
        changed,
    } = View::of(event);
    let content = body.map(|body| match body {
        Body::Text(text) => event::Content::Text(text.to_string()),
        Body::Sealed(bytes) => event::Content::Sealed(bytes.clone()),
        Body::Handshake(bytes) => event::Content::Handshake(bytes.clone()),
        Body::Erased => event::Content::Text(String::new()),
    });
    let (kind, from, to) = (kind.to_owned(), from.to_string(), to.map(UserId::to_string));
    pb::Event {
        seq,
        at,
        kind,
        from,
        to,
        content,
        id: id.map(str::to_owned),
        erased: (body == Some(&Body::Erased)).then_some(true),
        changed: changed.then_some(true),
    }
}

fn names(users: &[UserId]) -> Vec<String> {
    users.iter().map(UserId::to_string).collect()
}
