//! What the service says of what it read: every protocol tells the same, and no line can hide
//! another one.

use prost::Message as _;
use safe_chat::{
    proto::client::v1::{self as pb, event::Content, server_frame::Frame},
    room::{Body, CommandId, Event, Kind, Millis, Reason, RoomId, Seq, UserId},
    wire::{Encoded, Message, Protocol, Refused, ServerFrame, SharedEvent},
};
use serde_json::{Value, json};

pub(super) fn room() -> RoomId {
    RoomId::parse("aaa").expect("a room")
}

/// The user of the connection.
pub(super) fn harry() -> UserId {
    UserId::parse("harry").expect("a user")
}

/// No character of it moves a cursor, ends a line or starts a sequence of a terminal.
pub(super) fn is_one_line(line: &str) {
    assert!(
        !line
            .chars()
            .any(|c| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')),
        "more than a line: {line:?}"
    );
}

pub(super) fn text(frame: Option<Encoded>) -> String {
    match frame {
        Some(Encoded::Text(text)) => text.as_str().to_owned(),
        other => panic!("no text: {other:?}"),
    }
}

fn binary(frame: Option<Encoded>) -> Frame {
    let Some(Encoded::Binary(bytes)) = frame else {
        panic!("not binary: {frame:?}")
    };
    pb::ServerFrame::decode(bytes)
        .expect("a frame")
        .frame
        .expect("a known frame")
}

/// A refusal has an allowed reason, a valid id or none, and looks in every protocol as the contract
/// says.
pub(super) fn refused(refused: &Refused, allowed: &[Reason]) {
    let (id, rejection) = (refused.id.as_deref(), &refused.rejection);
    let reason = rejection.reason;
    assert!(allowed.contains(&reason), "{reason} is no reason here");
    assert_eq!(
        refused.understood,
        !matches!(reason, Reason::BadFrame | Reason::Unsupported)
    );
    assert!(id.is_none_or(|id| reason != Reason::BadFrame && CommandId::parse(id).is_some()));
    assert!(
        rejection.retry_after_ms.is_none(),
        "the same again is not accepted later"
    );

    let frame = ServerFrame::from(refused.clone());
    let line = text(Protocol::Text.encode(&room(), &frame));
    assert_eq!(line, format!("!rejected {reason} {}", rejection.message));
    is_one_line(&line);
    let read: Value =
        serde_json::from_str(&text(Protocol::Json.encode(&room(), &frame))).expect("JSON");
    assert_eq!(
        read,
        json!({"type": "rejected", "id": id, "reason": reason.as_str(), "message": rejection.message})
    );
    let Frame::Rejected(read) = binary(Protocol::Proto.encode(&room(), &frame)) else {
        panic!("not rejected")
    };
    assert_eq!(
        (read.id.as_deref(), read.reason.as_str()),
        (id, reason.as_str())
    );
}

/// An accepted message, in its place in the room: the same for all, whatever they speak.
pub(super) fn accepted(message: &Message) {
    let Message { id, to, body } = message.clone();
    let kind = Kind::Message {
        from: harry(),
        to,
        body,
        id,
        device: None,
        turn: None,
        request: None,
    };
    event(&Event {
        seq: Seq(7),
        at: Millis(1_795_465_200_123),
        kind,
        changes: Vec::new(),
    });
}

/// An event reads the same in all protocols.
pub(super) fn event(event: &Event) {
    let shared = SharedEvent::new(room(), event.clone());
    let line = text(Some(shared.encoded(Protocol::Text)));
    is_one_line(&line);
    let value: Value = serde_json::from_str(shared.json().as_str()).expect("JSON");
    let Frame::Event(proto) = binary(Some(shared.encoded(Protocol::Proto))) else {
        panic!("not an event")
    };
    assert_eq!(
        (value["seq"].as_u64(), value["at"].as_u64()),
        (Some(event.seq.0), Some(event.at.0))
    );
    assert_eq!((proto.seq, proto.at), (event.seq.0, event.at.0));

    let word = |name: &str| {
        value
            .get(name)
            .map(|value| value.as_str().expect("a string").to_owned())
    };
    assert_eq!((word("kind"), word("from"), word("to"), word("id")), {
        let proto = proto.clone();
        (Some(proto.kind), Some(proto.from), proto.to, proto.id)
    });
    let seq = event.seq;
    match &event.kind {
        Kind::Joined { user } => assert_eq!(
            (line, word("from").as_deref()),
            (format!("[aaa:{seq} - {user} joined]"), Some(user.as_str()))
        ),
        Kind::Left { user } => assert_eq!(
            (line, word("from").as_deref()),
            (format!("[aaa:{seq} - {user} left]"), Some(user.as_str()))
        ),
        Kind::Unpinned { user, changed } => assert_eq!(
            (line, word("from").as_deref()),
            (
                match changed {
                    true => format!("[aaa:{seq} - {user} unpinned] (changed)"),
                    false => format!("[aaa:{seq} - {user} unpinned]"),
                },
                Some(user.as_str())
            )
        ),
        Kind::Erased { user, .. } => assert_eq!(
            (line, word("from").as_deref()),
            (format!("[aaa:{seq} - {user} erased]"), Some(user.as_str()))
        ),
        Kind::Purged => assert_eq!(
            (line, word("from").as_deref()),
            (format!("[aaa:{seq} - * purged]"), Some("*"))
        ),
        Kind::Message { from, to, body, .. } => {
            if let Body::Handshake(bytes) = body {
                assert_eq!(line, format!("[aaa:{seq} - {from} handshake]"));
                assert!(word("handshake").is_some() && word("text").is_none());
                return assert_eq!(proto.content, Some(Content::Handshake(bytes.clone())));
            }
            let to = to.as_ref().map_or("*", |to| to.as_str());
            let rest = line
                .strip_prefix(&format!("[aaa:{seq} - {from} -> {to}] "))
                .expect("the head of a line");
            match body {
                Body::Text(said) => {
                    assert!(rest.chars().count() >= said.chars().count());
                    assert_eq!(word("text").as_deref(), Some(&**said));
                    assert_eq!(proto.content, Some(Content::Text(said.to_string())));
                }
                Body::Sealed(bytes) => {
                    assert_eq!(rest, format!("(sealed, {} bytes)", bytes.len()));
                    assert!(word("sealed").is_some() && word("text").is_none());
                    assert_eq!(proto.content, Some(Content::Sealed(bytes.clone())));
                }
                Body::Erased => {
                    assert_eq!(rest, "(erased)");
                    assert_eq!(word("text").as_deref(), Some(""));
                    assert_eq!(proto.content, Some(Content::Text(String::new())));
                }
                Body::Handshake(_) => unreachable!("looked at above"),
            }
        }
    }
}
