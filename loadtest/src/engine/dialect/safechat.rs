//! The protocol of safe-chat, as JSON: what the nodes and the bare server speak.

use super::{Incoming, Seat};
use crate::engine::sealing::key_pair;
use bytes::Bytes;
use safe_chat_client::{
    codec::json,
    frame::{ClientFrame, Content, ServerFrame},
};

pub(super) fn target(seat: &Seat<'_>) -> (String, Option<&'static str>) {
    let (room, user) = (seat.room, seat.user);
    let since = seat
        .since
        .map_or_else(|| "history=0".to_owned(), |since| format!("since={since}"));
    let key = match seat.is_proven {
        true => format!("{}&auth=1", key_pair(user).public()),
        false => format!("key-{user}"),
    };
    (
        format!("/chat/{room}/user/{user}?pub={key}&{since}"),
        Some("safechat.v1+json"),
    )
}

/// The answer to a challenge of a server that is called so.
pub(crate) fn proof((host, room, user): (&str, &str, &str), nonce: &[u8]) -> String {
    json::encode(&ClientFrame::Proof {
        host: host.to_owned(),
        signature: key_pair(user).answer((host, room, user), nonce),
        former: None,
    })
}

/// A sealed message.
pub(crate) fn send_sealed(id: String, content: Bytes) -> String {
    json::encode(&ClientFrame::Send {
        id,
        to: None,
        content: Content::Sealed(content),
    })
}

pub(super) fn send(id: String, text: String) -> String {
    json::encode(&ClientFrame::Send {
        id,
        to: None,
        content: Content::Text(text),
    })
}

pub(super) fn read(text: &str) -> Option<Incoming> {
    Some(match json::decode(text).ok()? {
        ServerFrame::Challenge { nonce } => Incoming::Challenge(nonce),
        ServerFrame::Welcome(welcome) => Incoming::Welcome {
            head: welcome.seq.unwrap_or_default(),
            recovered: welcome.recovered,
        },
        ServerFrame::Event(event) => Incoming::Event(event),
        ServerFrame::Journaled { id, seq, .. } => Incoming::Answered { id, seq: Some(seq) },
        ServerFrame::Rejected { id, reason, .. } => Incoming::Rejected { id, reason },
        ServerFrame::Pong { .. } => Incoming::Pong,
        ServerFrame::Reset { seq, reason } => Incoming::Reset { seq, reason },
        ServerFrame::Bye { reason, .. } => Incoming::Bye { reason },
        _ => Incoming::Other,
    })
}
