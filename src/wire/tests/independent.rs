//! The protocols once more, written against docs/protocol.md and not against the code: what a
//! client that knows only that would read and write.

use super::*;
use crate::proto::client::v1 as pb;
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use bytes::Bytes;
use prost::Message as _;
use serde_json::{Map, Value, json};

/// An object without its null members.
fn object(value: Value) -> Value {
    let Value::Object(members) = value else {
        panic!("not an object")
    };
    members
        .into_iter()
        .filter(|(_, value)| !value.is_null())
        .collect::<Map<_, _>>()
        .into()
}

fn event_value(event: &Event) -> Value {
    let (seq, at) = (event.seq.0, event.at.0);
    object(match &event.kind {
        Kind::Joined { user } => {
            json!({"seq": seq, "at": at, "kind": "joined", "from": user.as_str()})
        }
        Kind::Left { user } => json!({"seq": seq, "at": at, "kind": "left", "from": user.as_str()}),
        Kind::Unpinned { user, changed } => {
            let changed = changed.then_some(true);
            json!({"seq": seq, "at": at, "kind": "unpinned", "from": user.as_str(), "changed": changed})
        }
        Kind::Purged => json!({"seq": seq, "at": at, "kind": "purged", "from": "*"}),
        Kind::Erased { user, .. } => {
            json!({"seq": seq, "at": at, "kind": "erased", "from": user.as_str()})
        }
        Kind::Message {
            from, to, body, id, ..
        } => {
            let id = id.as_ref().and_then(|id| id.shown());
            let (kind, content) = match body {
                Body::Text(text) => ("text", text.to_string()),
                Body::Sealed(bytes) => ("sealed", BASE64_URL_SAFE_NO_PAD.encode(bytes)),
                Body::Handshake(bytes) => ("handshake", BASE64_URL_SAFE_NO_PAD.encode(bytes)),
                Body::Erased => ("text", String::new()),
            };
            let erased = (*body == Body::Erased).then_some(true);
            let to = to.as_ref().map(UserId::as_str);
            json!({"seq": seq, "at": at, "kind": kind, "from": from.as_str(), "to": to, (kind): content, "id": id, "erased": erased})
        }
    })
}

/// A frame's members, without the type.
pub(super) fn frame_value(frame: &ServerFrame) -> (&'static str, Value) {
    let names = |users: &[UserId]| users.iter().map(ToString::to_string).collect::<Vec<_>>();
    let (kind, value) = match frame {
        ServerFrame::Challenge { nonce, within_ms } => (
            "challenge",
            json!({"nonce": BASE64_URL_SAFE_NO_PAD.encode(nonce.0), "within_ms": within_ms}),
        ),
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
        } => (
            "welcome",
            json!({"room": "aaa", "user": user.as_str(), "session": session.to_string(), "seq": seq.0, "recovered": recovered,
                "members": names(members), "epoch": epoch.0, "node": node,
                "proven": identity.is_proven().then_some(true), "more_members": (*left_out > 0).then_some(true),
                "member_count": (*left_out > 0).then_some(members.len() + left_out),
                "policy": (policy.as_str() != "open").then_some(policy.as_str())}),
        ),
        ServerFrame::Event(shared) => ("event", event_value(shared.event())),
        ServerFrame::Accepted { id } => ("accepted", json!({"id": &**id})),
        ServerFrame::Journaled {
            id,
            seq,
            epoch,
            duplicate,
        } => (
            "journaled",
            json!({"id": &**id, "seq": seq.0, "epoch": epoch.0, "duplicate": duplicate}),
        ),
        ServerFrame::Rejected { id, rejection } => (
            "rejected",
            json!({"id": id.as_deref(), "reason": rejection.reason.as_str(), "message": rejection.message,
                "retry_after_ms": rejection.retry_after_ms, "seq": rejection.seq.map(|seq| seq.0)}),
        ),
        ServerFrame::History {
            id,
            events,
            more,
            missing,
        } => (
            "history",
            json!({"id": id.as_deref(), "events": events.iter().map(event_value).collect::<Vec<_>>(), "more": more,
                "missing": missing.map(|(first, last)| [first.0, last.0])}),
        ),
        ServerFrame::Members { id, members, more } => (
            "members",
            json!({"id": &**id, "members": names(members), "more": more.then_some(true)}),
        ),
        ServerFrame::Pong { id } => ("pong", json!({"id": &**id})),
        ServerFrame::Reset { seq, reason } => ("reset", json!({"seq": seq.0, "reason": reason})),
        ServerFrame::Bye {
            reason,
            reconnect_after_ms,
        } => (
            "bye",
            json!({"reason": reason, "reconnect_after_ms": reconnect_after_ms}),
        ),
        ServerFrame::Expiring { expires_in_ms } => {
            ("expiring", json!({"expires_in_ms": expires_in_ms}))
        }
        ServerFrame::Refreshed { id, expires_in_ms } => (
            "refreshed",
            json!({"id": &**id, "expires_in_ms": expires_in_ms}),
        ),
    };
    (kind, object(value))
}

fn pb_event_value(event: pb::Event) -> Value {
    use pb::event::Content;
    let mut value = json!({"seq": event.seq, "at": event.at, "kind": event.kind,
        "from": event.from, "to": event.to, "id": event.id,
        "erased": event.erased, "changed": event.changed});
    let base64url = |bytes| Value::from(BASE64_URL_SAFE_NO_PAD.encode::<Bytes>(bytes));
    match event.content {
        Some(Content::Text(text)) => value["text"] = text.into(),
        Some(Content::Sealed(bytes)) => value["sealed"] = base64url(bytes),
        Some(Content::Handshake(bytes)) => value["handshake"] = base64url(bytes),
        None => {}
    }
    object(value)
}

pub(super) fn pb_value(frame: pb::ServerFrame) -> (&'static str, Value) {
    use pb::server_frame::Frame;
    let (kind, value) = match frame.frame.expect("a frame of a known type") {
        Frame::Challenge(c) => (
            "challenge",
            json!({"nonce": BASE64_URL_SAFE_NO_PAD.encode(&c.nonce), "within_ms": c.within_ms}),
        ),
        Frame::Welcome(w) => (
            "welcome",
            json!({"room": w.room, "user": w.user, "session": w.session, "seq": w.seq, "recovered": w.recovered, "members": w.members,
                "epoch": w.epoch, "node": w.node, "proven": w.proven.then_some(true),
                "more_members": w.more_members.then_some(true),
                "member_count": w.more_members.then_some(w.member_count), "policy": w.policy}),
        ),
        Frame::Event(event) => ("event", pb_event_value(event)),
        Frame::Accepted(a) => ("accepted", json!({"id": a.id})),
        Frame::Journaled(j) => (
            "journaled",
            json!({"id": j.id, "seq": j.seq, "epoch": j.epoch, "duplicate": j.duplicate}),
        ),
        Frame::Rejected(r) => (
            "rejected",
            json!({"id": r.id, "reason": r.reason, "message": r.message, "retry_after_ms": r.retry_after_ms,
                "seq": r.seq}),
        ),
        Frame::History(h) => {
            let events: Vec<_> = h.events.into_iter().map(pb_event_value).collect();
            (
                "history",
                json!({"id": h.id, "events": events, "more": h.more,
                    "missing": h.missing_first.zip(h.missing_last).map(|(first, last)| [first, last])}),
            )
        }
        Frame::Members(m) => (
            "members",
            json!({"id": m.id, "members": m.members, "more": m.more.then_some(true)}),
        ),
        Frame::Pong(p) => ("pong", json!({"id": p.id})),
        Frame::Reset(r) => ("reset", json!({"seq": r.seq, "reason": r.reason})),
        Frame::Bye(b) => (
            "bye",
            json!({"reason": b.reason, "reconnect_after_ms": b.reconnect_after_ms}),
        ),
        Frame::Expiring(it) => ("expiring", json!({"expires_in_ms": it.expires_in_ms})),
        Frame::Refreshed(it) => (
            "refreshed",
            json!({"id": it.id, "expires_in_ms": it.expires_in_ms}),
        ),
    };
    (kind, object(value))
}

/// Reads a JSON frame without the code under test: the type, and the members that are not null.
pub(super) fn json_value(text: &str) -> (String, Value) {
    fn typed(value: Value) -> (String, Value) {
        let Value::Object(mut members) = value else {
            panic!("not an object")
        };
        let Some(Value::String(kind)) = members.remove("type") else {
            panic!("no type")
        };
        if let Some(Value::Array(events)) = members.get_mut("events") {
            for event in events {
                let (kind, value) = typed(event.take());
                assert_eq!(kind, "event");
                *event = value;
            }
        }
        (kind, object(members.into()))
    }
    typed(serde_json::from_str(text).unwrap())
}

pub(super) fn json_of(frame: &ClientFrame) -> String {
    match frame {
        ClientFrame::Send(Message { id, to, body }) => {
            let id = id.as_ref().and_then(CommandId::shown);
            let to = to.as_ref().map(UserId::as_str);
            match body {
                Body::Text(text) => json!({"type": "send", "id": id, "to": to, "text": &**text}),
                Body::Sealed(bytes) => json!({"type": "send", "id": id, "to": to, "sealed": BASE64_URL_SAFE_NO_PAD.encode(bytes)}),
                Body::Handshake(bytes) => json!({"type": "send", "id": id, "to": to, "handshake": BASE64_URL_SAFE_NO_PAD.encode(bytes)}),
                Body::Erased => unreachable!("nobody sends it"),
            }
        }
        ClientFrame::History { id, before, limit } => {
            json!({"type": "history", "id": &**id, "before": before.map(|seq| seq.0), "limit": limit})
        }
        ClientFrame::Members { id, after } => {
            json!({"type": "members", "id": &**id, "after": after.as_ref().map(UserId::as_str)})
        }
        ClientFrame::Ping { id } => json!({"type": "ping", "id": &**id}),
        ClientFrame::Token { id, token } => {
            json!({"type": "token", "id": &**id, "token": token.as_str()})
        }
    }
    .to_string()
}

pub(super) fn proto_of(frame: &ClientFrame) -> Vec<u8> {
    use pb::client_frame::Frame;
    let frame = match frame {
        ClientFrame::Send(Message { id, to, body }) => Frame::Send(pb::Send {
            id: id.as_ref().and_then(CommandId::shown).unwrap().into(),
            to: to.as_ref().map(ToString::to_string),
            content: Some(match body {
                Body::Text(text) => pb::send::Content::Text(text.to_string()),
                Body::Sealed(bytes) => pb::send::Content::Sealed(bytes.clone()),
                Body::Handshake(bytes) => pb::send::Content::Handshake(bytes.clone()),
                Body::Erased => unreachable!("nobody sends it"),
            }),
        }),
        ClientFrame::History { id, before, limit } => Frame::History(pb::HistoryRequest {
            id: id.to_string(),
            before: before.map(|seq| seq.0),
            limit: Some(u32::from(*limit)),
        }),
        ClientFrame::Members { id, after } => Frame::Members(pb::MembersRequest {
            id: id.to_string(),
            after: after.as_ref().map(UserId::to_string),
        }),
        ClientFrame::Ping { id } => Frame::Ping(pb::Ping { id: id.to_string() }),
        ClientFrame::Token { id, token } => Frame::Token(pb::NewToken {
            id: id.to_string(),
            token: token.as_str().into(),
        }),
    };
    pb::ClientFrame { frame: Some(frame) }.encode_to_vec()
}

/// Reads a line of the text protocol as a person would: what it is, and its parts.
pub(super) fn read_line<'a>(room: &str, line: &'a str) -> (&'a str, Vec<&'a str>) {
    if let Some((kind, rest)) = line.strip_prefix('!').and_then(|line| line.split_once(' ')) {
        return (kind, rest.splitn(2, ' ').collect());
    }
    let Some((place, rest)) = line
        .strip_prefix('[')
        .and_then(|line| line.split_once(" - "))
    else {
        return ("welcome", line.split(':').collect());
    };
    let (line_room, seq) = place.split_once(':').unwrap();
    assert_eq!(line_room, room);
    let (head, content) = rest.split_once(']').unwrap();
    match head.split_once(" -> ") {
        Some((from, to)) => (
            "message",
            vec![seq, from, to, content.strip_prefix(' ').unwrap()],
        ),
        None => ("change", [vec![seq], head.split(' ').collect()].concat()),
    }
}

/// Content as the text protocol should show it, by the ranges of the contract.
pub(super) fn shown(content: &str) -> String {
    content.chars().fold(String::new(), |shown, c| match c {
        '\n' => shown + "\\n",
        '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' => {
            shown + &format!("\\u{{{:x}}}", c as u32)
        }
        _ => shown + c.encode_utf8(&mut [0; 4]),
    })
}
