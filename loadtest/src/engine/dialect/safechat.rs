//! The protocol of safe-chat, as JSON: what the nodes and the bare server speak.

use super::{Incoming, Seat};
use safe_chat_client::{
    codec::json,
    frame::{ClientFrame, Content, ServerFrame},
};

pub(super) fn target(seat: &Seat<'_>) -> (String, Option<&'static str>) {
    let (room, user) = (seat.room, seat.user);
    let since = seat
        .since
        .map_or_else(|| "history=0".to_owned(), |since| format!("since={since}"));
    (
        format!("/chat/{room}/user/{user}?pub=key-{user}&{since}"),
        Some("safechat.v1+json"),
    )
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
