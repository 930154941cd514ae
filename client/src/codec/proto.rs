//! `safechat.v1+proto`: one protobuf message per binary frame, from the published .proto.

use super::DecodeError;
use crate::frame::{Body, ClientFrame, Content, Event, Page, ServerFrame, Welcome};
use bytes::Bytes;
use prost::Message as _;

#[allow(missing_docs, unreachable_pub, clippy::all)]
mod generated {
    include!("generated/safechat.client.v1.rs");
}
use generated::{self as pb, client_frame, event, send, server_frame::Frame};

/// The bytes of a frame.
pub fn encode(frame: &ClientFrame) -> Vec<u8> {
    let frame = match frame.clone() {
        ClientFrame::Send { id, to, content } => client_frame::Frame::Send(pb::Send {
            id,
            to,
            content: Some(match content {
                Content::Text(text) => send::Content::Text(text),
                Content::Sealed(bytes) => send::Content::Sealed(bytes),
                Content::Handshake(bytes) => send::Content::Handshake(bytes),
            }),
        }),
        ClientFrame::History { id, before, limit } => {
            client_frame::Frame::History(pb::HistoryRequest {
                id,
                before,
                limit: Some(limit.into()),
            })
        }
        ClientFrame::Members { id, after } => {
            client_frame::Frame::Members(pb::MembersRequest { id, after })
        }
        ClientFrame::Ping { id } => client_frame::Frame::Ping(pb::Ping { id }),
        ClientFrame::Token { id, token } => client_frame::Frame::Token(pb::NewToken {
            id,
            token: token.as_str().into(),
        }),
        ClientFrame::Proof {
            host,
            signature,
            former,
        } => client_frame::Frame::Proof(pb::Proof {
            host,
            signature: Bytes::copy_from_slice(&signature),
            former: former.map(|former| Bytes::copy_from_slice(&former)),
        }),
    };
    pb::ClientFrame { frame: Some(frame) }.encode_to_vec()
}

/// Reads a frame; one without a type that is known here is `Other`.
///
/// # Errors
/// It is no protobuf message of this protocol.
pub fn decode(bytes: &Bytes) -> Result<ServerFrame, DecodeError> {
    let frame = pb::ServerFrame::decode(bytes.clone())
        .map_err(|_| DecodeError::new("frame of safechat.v1+proto"))?;
    Ok(match frame.frame {
        Some(Frame::Challenge(it)) => ServerFrame::Challenge { nonce: it.nonce },
        Some(Frame::Welcome(it)) => ServerFrame::Welcome(Welcome {
            room: it.room,
            user: it.user,
            session: it.session,
            seq: Some(it.seq),
            recovered: it.recovered,
            members: it.members,
            member_count: it.more_members.then_some(it.member_count),
            epoch: it.epoch,
            node: it.node,
            proven: it.proven,
            policy: it.policy.unwrap_or_default(),
        }),
        Some(Frame::Event(it)) => ServerFrame::Event(read(it)),
        Some(Frame::Accepted(it)) => ServerFrame::Accepted { id: it.id },
        Some(Frame::Journaled(it)) => ServerFrame::Journaled {
            id: it.id,
            seq: it.seq,
            epoch: it.epoch,
            duplicate: it.duplicate,
        },
        Some(Frame::Rejected(it)) => ServerFrame::Rejected {
            id: it.id,
            reason: it.reason,
            message: it.message,
            retry_after_ms: it.retry_after_ms,
            seq: it.seq,
        },
        Some(Frame::History(it)) => ServerFrame::History(Page {
            id: it.id.unwrap_or_default(),
            events: it.events.into_iter().map(read).collect(),
            more: it.more,
            missing: it.missing_first.zip(it.missing_last),
        }),
        Some(Frame::Members(it)) => ServerFrame::Members {
            id: it.id,
            members: it.members,
            more: it.more,
        },
        Some(Frame::Pong(it)) => ServerFrame::Pong { id: it.id },
        Some(Frame::Reset(it)) => ServerFrame::Reset {
            seq: it.seq,
            reason: it.reason,
        },
        Some(Frame::Bye(it)) => ServerFrame::Bye {
            reason: it.reason,
            reconnect_after_ms: it.reconnect_after_ms,
        },
        Some(Frame::Expiring(it)) => ServerFrame::Expiring {
            expires_in_ms: it.expires_in_ms,
        },
        Some(Frame::Refreshed(it)) => ServerFrame::Refreshed {
            id: it.id,
            expires_in_ms: it.expires_in_ms,
        },
        None => ServerFrame::Other,
    })
}

fn read(it: pb::Event) -> Event {
    let body = match (it.kind.as_str(), it.content) {
        ("joined", _) => Body::Joined,
        ("left", _) => Body::Left,
        ("unpinned", _) if it.changed == Some(true) => Body::KeyChanged,
        ("unpinned", _) => Body::Unpinned,
        ("purged", _) => Body::Purged,
        ("erased", _) => Body::Erased,
        ("text", _) if it.erased == Some(true) => Body::ErasedText,
        ("text", Some(event::Content::Text(text))) => Body::Text(text),
        ("sealed", Some(event::Content::Sealed(bytes))) => Body::Sealed(bytes),
        ("handshake", Some(event::Content::Handshake(bytes))) => Body::Handshake(bytes),
        _ => Body::Other(it.kind),
    };
    Event {
        seq: it.seq,
        at: it.at,
        from: it.from,
        to: it.to,
        id: it.id,
        body,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_of_a_client_are_those_of_the_published_messages() {
        let frame = ClientFrame::Send {
            id: "m1".into(),
            to: Some("charly".into()),
            content: Content::Text("Hello".into()),
        };
        // Field 1 (send) of 19 bytes: 1 (id), 2 (to), 3 (text).
        let expected = b"\x0a\x13\x0a\x02m1\x12\x06charly\x1a\x05Hello";
        assert_eq!(encode(&frame), expected);
    }

    #[test]
    fn an_event_is_read_and_a_type_that_is_not_known_is_other() {
        let event = Event {
            seq: 7,
            at: 1,
            from: "harry".into(),
            to: None,
            id: Some("m1".into()),
            body: Body::Text("Hello".into()),
        };
        let sent = pb::ServerFrame {
            frame: Some(Frame::Event(pb::Event {
                seq: 7,
                at: 1,
                kind: "text".into(),
                from: "harry".into(),
                to: None,
                content: Some(event::Content::Text("Hello".into())),
                id: Some("m1".into()),
                erased: None,
                changed: None,
            })),
        };
        assert_eq!(
            decode(&sent.encode_to_vec().into()),
            Ok(ServerFrame::Event(event))
        );
        // Field 99, empty.
        let later = Bytes::from_static(&[0x9a, 0x06, 0x00]);
        assert_eq!(decode(&later), Ok(ServerFrame::Other));
        assert!(decode(&Bytes::from_static(b"{}")).is_err());
    }
}
