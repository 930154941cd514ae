//! Commands as they lie on the bus. The room is in the subject.

use super::{Bad, device, former, id, key, node, policy, request, session, user};
use crate::{
    bus::{ReplyTo, Submission},
    journal::codec::{
        decode_command_id, decode_retention, encode_command_id, encode_retention, number,
    },
    proto::bus::v1::{
        self,
        command::{
            Abandon, Action as Wire, Batch, Close, Erase, Message as InBatch, Open, Purge, Retain,
            Send, Unpin, message::Content as InBatchContent, send::Content,
        },
    },
    room::{
        Action, BatchMessage, Body, DeviceId, Identity, Limits, Producer, ProducerSeq, RoomId,
        Turn, UserId,
    },
};
use bytes::Bytes;
use prost::Message;

/// A command as it is sent.
pub fn encode_command(submission: &Submission) -> Bytes {
    let action = match &submission.action {
        Action::Open {
            session,
            user,
            key,
            identity,
            device,
            gateway,
            policy,
            former,
        } => Wire::Open(Open {
            session: id(session.to_bytes()),
            user: user.to_string(),
            key: key.as_str().into(),
            device: device.as_ref().map(DeviceId::to_string),
            gateway: id(gateway.to_bytes()),
            proven: identity.is_proven(),
            vouched: key.is_vouched(),
            policy: policy.map(|policy| policy.as_str().into()),
            former: former.as_ref().map(|former| former.as_str().into()),
        }),
        Action::Close { session, gateway } => Wire::Close(Close {
            session: id(session.to_bytes()),
            gateway: gateway.map(|gateway| id(gateway.to_bytes())),
        }),
        Action::Abandon { gateway } => Wire::Abandon(Abandon {
            gateway: id(gateway.to_bytes()),
        }),
        Action::Send {
            user,
            key,
            identity,
            turn,
            after,
            request,
            id: command,
            to,
            body,
        } => Wire::Send(Send {
            user: user.to_string(),
            key: key.as_str().into(),
            session: turn.map(|turn| id(turn.session.to_bytes())),
            number: turn.map_or(0, |turn| turn.number),
            after: *after,
            request: request.map(|request| id(request.to_bytes())),
            id: Some(encode_command_id(command)),
            to: to.as_ref().map(UserId::to_string),
            content: match body {
                Body::Text(text) => Some(Content::Text(text.to_string())),
                Body::Sealed(bytes) => Some(Content::Sealed(bytes.clone())),
                Body::Handshake(bytes) => Some(Content::Handshake(bytes.clone())),
                Body::Erased => None,
            },
            proven: identity.is_proven(),
            vouched: key.is_vouched(),
        }),
        Action::Unpin { user } => Wire::Unpin(Unpin {
            user: user.to_string(),
        }),
        Action::Retain { own } => Wire::Retain(Retain {
            own: own.as_ref().map(encode_retention),
        }),
        Action::Purge => Wire::Purge(Purge {}),
        Action::Erase { user } => Wire::Erase(Erase {
            user: user.to_string(),
        }),
        Action::Batch { from, messages } => Wire::Batch(Batch {
            gateway: id(from.producer.gateway.to_bytes()),
            generation: from.producer.generation,
            sequence: from.sequence,
            messages: messages.iter().map(encode_in_batch).collect(),
        }),
    };
    let reply = submission.reply.map(|reply| v1::ReplyTo {
        node: id(reply.node.to_bytes()),
        tag: reply.tag,
    });
    v1::Command {
        action: Some(action),
        reply,
    }
    .encode_to_vec()
    .into()
}

/// Reads what [`encode_command`] gave.
pub fn decode_command(room: &RoomId, bytes: Bytes) -> Result<Submission, Bad> {
    let v1::Command { action, reply } = v1::Command::decode(bytes)?;
    let action = match action {
        Some(Wire::Open(open)) => Action::Open {
            session: session(&open.session)?,
            user: user(&open.user)?,
            key: key(&open.key, open.vouched)?,
            identity: Identity::of(open.proven),
            device: device(open.device.as_deref())?,
            gateway: node(&open.gateway)?,
            policy: policy(open.policy.as_deref())?,
            former: former(open.former.as_deref())?,
        },
        Some(Wire::Close(close)) => Action::Close {
            session: session(&close.session)?,
            gateway: close.gateway.as_deref().map(node).transpose()?,
        },
        Some(Wire::Abandon(abandon)) => Action::Abandon {
            gateway: node(&abandon.gateway)?,
        },
        Some(Wire::Send(send)) => decode_send(send)?,
        Some(Wire::Batch(batch)) => decode_batch(batch)?,
        Some(Wire::Unpin(unpin)) => Action::Unpin {
            user: user(&unpin.user)?,
        },
        Some(Wire::Retain(retain)) => Action::Retain {
            own: retain.own.as_ref().map(decode_retention),
        },
        Some(Wire::Purge(Purge {})) => Action::Purge,
        Some(Wire::Erase(erase)) => Action::Erase {
            user: user(&erase.user)?,
        },
        None => {
            return Err(Bad(
                "a command of a kind that this version does not know".into()
            ));
        }
    };
    let reply = reply
        .map(|reply| {
            Ok::<_, Bad>(ReplyTo {
                node: node(&reply.node)?,
                tag: reply.tag,
            })
        })
        .transpose()?;
    Ok(Submission {
        room: room.clone(),
        action,
        reply,
    })
}

fn decode_send(send: Send) -> Result<Action, Bad> {
    let body = match send.content {
        Some(Content::Text(text)) => Body::Text(text.into()),
        Some(Content::Sealed(bytes)) => Body::Sealed(bytes),
        Some(Content::Handshake(bytes)) => Body::Handshake(bytes),
        None => {
            return Err(Bad(
                "content of a kind that this version does not know".into()
            ));
        }
    };
    check(&body)?;
    Ok(Action::Send {
        user: user(&send.user)?,
        key: key(&send.key, send.vouched)?,
        identity: Identity::of(send.proven),
        turn: send
            .session
            .as_deref()
            .map(session)
            .transpose()?
            .map(|session| Turn {
                session,
                number: send.number,
            }),
        after: send.after,
        request: send.request.as_deref().map(request).transpose()?,
        id: decode_command_id(
            send.id
                .ok_or_else(|| Bad("a message without a command id".into()))?,
        )?,
        to: send.to.as_deref().map(user).transpose()?,
        body,
    })
}

fn encode_in_batch(message: &BatchMessage) -> InBatch {
    InBatch {
        session: id(message.turn.session.to_bytes()),
        number: message.turn.number,
        user: message.user.to_string(),
        id: Some(encode_command_id(&message.id)),
        to: message.to.as_ref().map(UserId::to_string),
        content: match &message.body {
            Body::Text(text) => Some(InBatchContent::Text(text.to_string())),
            Body::Sealed(bytes) => Some(InBatchContent::Sealed(bytes.clone())),
            Body::Handshake(bytes) => Some(InBatchContent::Handshake(bytes.clone())),
            Body::Erased => None,
        },
    }
}

fn decode_batch(batch: Batch) -> Result<Action, Bad> {
    let count = batch.messages.len();
    if !(1..=Limits::BATCH).contains(&count) {
        let most = Limits::BATCH;
        return Err(Bad(format!(
            "a batch of {count} messages, where 1 to {most} are allowed"
        )));
    }
    let producer = Producer {
        gateway: node(&batch.gateway)?,
        generation: number("generation", batch.generation)?,
    };
    let from = ProducerSeq {
        producer,
        sequence: number("batch", batch.sequence)?,
    };
    let messages = batch.messages.into_iter().map(decode_in_batch);
    Ok(Action::Batch {
        from,
        messages: messages.collect::<Result<_, _>>()?,
    })
}

fn decode_in_batch(message: InBatch) -> Result<BatchMessage, Bad> {
    let body = match message.content {
        Some(InBatchContent::Text(text)) => Body::Text(text.into()),
        Some(InBatchContent::Sealed(bytes)) => Body::Sealed(bytes),
        Some(InBatchContent::Handshake(bytes)) => Body::Handshake(bytes),
        None => return Err(Bad("content of an unknown kind".into())),
    };
    check(&body)?;
    let without_id = || Bad("a message without a command id".into());
    Ok(BatchMessage {
        turn: Turn {
            session: session(&message.session)?,
            number: number("message", message.number)?,
        },
        user: user(&message.user)?,
        id: decode_command_id(message.id.ok_or_else(without_id)?)?,
        to: message.to.as_deref().map(user).transpose()?,
        body,
    })
}

/// Checks what every gateway checks of its clients.
fn check(body: &Body) -> Result<(), Bad> {
    let most = match body {
        Body::Text(_) => Limits::TEXT,
        Body::Sealed(_) => Limits::SEALED,
        Body::Handshake(_) => Limits::HANDSHAKE,
        Body::Erased => 0,
    };
    let size = body.size();
    match (1..=most).contains(&size) {
        true => Ok(()),
        false => Err(Bad(format!(
            "content of {size} bytes, where 1 to {most} are allowed"
        ))),
    }
}
