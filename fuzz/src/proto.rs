//! A frame of the protobuf protocol: what is understood is written again and read as the same.

use super::shown::{self, harry};
use prost::Message as _;
use safe_chat::{
    proto::client::v1::{self as pb, client_frame::Frame, send::Content},
    room::{Body, CommandId, Reason, UserId},
    wire::{ClientFrame, Incoming, Message, Protocol},
};

pub fn check(bytes: &[u8]) {
    let read = |bytes: &[u8]| Protocol::Proto.decode(Incoming::Binary(bytes), &harry());
    match read(bytes) {
        Ok(frame) => {
            assert_eq!(read(&written(&frame)).as_ref(), Ok(&frame));
            if let ClientFrame::Send(message) = &frame {
                shown::accepted(message);
            }
        }
        Err(refused) => {
            let readable = pb::ClientFrame::decode(bytes).is_ok();
            assert_eq!(readable, refused.rejection.reason != Reason::BadFrame);
            shown::refused(
                &refused,
                &[
                    Reason::BadFrame,
                    Reason::BadField,
                    Reason::Unsupported,
                    Reason::TooLarge,
                ],
            );
        }
    }
}

fn written(frame: &ClientFrame) -> Vec<u8> {
    let frame = match frame {
        ClientFrame::Send(Message { id, to, body }) => Frame::Send(pb::Send {
            id: id
                .as_ref()
                .and_then(CommandId::shown)
                .expect("a client's id")
                .into(),
            to: to.as_ref().map(UserId::to_string),
            content: match body {
                Body::Text(text) => Some(Content::Text(text.to_string())),
                Body::Sealed(bytes) => Some(Content::Sealed(bytes.clone())),
                Body::Handshake(bytes) => Some(Content::Handshake(bytes.clone())),
                Body::Erased => None,
            },
        }),
        ClientFrame::History { id, before, limit } => Frame::History(pb::HistoryRequest {
            id: id.to_string(),
            before: before.map(|seq| seq.0),
            limit: Some(u32::from(*limit)),
        }),
        ClientFrame::Members { id, after } => Frame::Members(pb::MembersRequest {
            id: id.to_string(),
            after: after.as_ref().map(ToString::to_string),
        }),
        ClientFrame::Ping { id } => Frame::Ping(pb::Ping { id: id.to_string() }),
        ClientFrame::Token { id, token } => Frame::Token(pb::NewToken {
            id: id.to_string(),
            token: token.as_str().into(),
        }),
    };
    pb::ClientFrame { frame: Some(frame) }.encode_to_vec()
}
