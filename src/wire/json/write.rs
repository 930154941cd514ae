//! Writes what the server says. The order of the members is that of docs/protocol.md; what is
//! absent is left out.

use crate::{
    room::{Body, Event, Policy, RoomId, UserId},
    wire::{ServerFrame, Utf8, view::View},
};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use serde::Serialize;

/// The object of a frame.
pub(in crate::wire) fn encode(room: &RoomId, frame: &ServerFrame) -> Utf8 {
    write(&Frame::of(room, frame))
}

/// The object of an event.
pub(in crate::wire) fn event(event: &Event) -> Utf8 {
    write(&Frame::event(event))
}

fn write(frame: &Frame<'_>) -> Utf8 {
    serde_json::to_string(frame)
        .expect("names, numbers and strings can be written")
        .into()
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Frame<'a> {
    Challenge {
        nonce: String,
        within_ms: u64,
    },
    Welcome {
        room: &'a str,
        user: &'a str,
        session: String,
        seq: u64,
        recovered: bool,
        members: Vec<&'a str>,
        epoch: u64,
        node: &'a str,
        #[serde(skip_serializing_if = "is_false")]
        proven: bool,
        #[serde(skip_serializing_if = "is_false")]
        more_members: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        member_count: Option<usize>,
        #[serde(skip_serializing_if = "Option::is_none")]
        policy: Option<&'a str>,
    },
    Event {
        seq: u64,
        at: u64,
        kind: &'a str,
        from: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        to: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        text: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        sealed: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        handshake: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a str>,
        #[serde(skip_serializing_if = "is_false")]
        erased: bool,
        #[serde(skip_serializing_if = "is_false")]
        changed: bool,
    },
    Accepted {
        id: &'a str,
    },
    Journaled {
        id: &'a str,
        seq: u64,
        epoch: u64,
        duplicate: bool,
    },
    Rejected {
        id: Option<&'a str>, // null, not left out: the contract says so
        reason: &'a str,
        message: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        retry_after_ms: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        seq: Option<u64>,
    },
    History {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a str>,
        events: Vec<Frame<'a>>,
        more: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        missing: Option<[u64; 2]>,
    },
    Members {
        id: &'a str,
        members: Vec<&'a str>,
        #[serde(skip_serializing_if = "is_false")]
        more: bool,
    },
    Pong {
        id: &'a str,
    },
    Reset {
        seq: u64,
        reason: &'a str,
    },
    Bye {
        reason: &'a str,
        reconnect_after_ms: u64,
    },
    Expiring {
        expires_in_ms: u64,
    },
    Refreshed {
        id: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        expires_in_ms: Option<u64>,
    },
}

impl<'a> Frame<'a> {
    fn of(room: &'a RoomId, frame: &'a ServerFrame) -> Self {
        match frame {
            ServerFrame::Challenge { nonce, within_ms } => Self::Challenge {
                nonce: nonce.to_string(),
                within_ms: *within_ms,
            },
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
            } => Self::Welcome {
                room: room.as_str(),
                user: user.as_str(),
                session: session.to_string(),
                seq: seq.0,
                recovered: *recovered,
                members: names(members),
                epoch: epoch.0,
                node,
                proven: identity.is_proven(),
                more_members: *left_out > 0,
                member_count: (*left_out > 0).then_some(members.len() + left_out),
                policy: (*policy != Policy::Open).then(|| policy.as_str()),
            },
            ServerFrame::Event(shared) => Self::event(shared.event()),
            ServerFrame::Accepted { id } => Self::Accepted { id },
            ServerFrame::Journaled {
                id,
                seq,
                epoch,
                duplicate,
            } => Self::Journaled {
                id,
                seq: seq.0,
                epoch: epoch.0,
                duplicate: *duplicate,
            },
            ServerFrame::Rejected { id, rejection } => Self::Rejected {
                id: id.as_deref(),
                reason: rejection.reason.as_str(),
                message: &rejection.message,
                retry_after_ms: rejection.retry_after_ms,
                seq: rejection.seq.map(|seq| seq.0),
            },
            ServerFrame::History {
                id,
                events,
                more,
                missing,
            } => Self::History {
                id: id.as_deref(),
                events: events.iter().map(Self::event).collect(),
                more: *more,
                missing: missing.map(|(first, last)| [first.0, last.0]),
            },
            ServerFrame::Members { id, members, more } => Self::Members {
                id,
                members: names(members),
                more: *more,
            },
            ServerFrame::Pong { id } => Self::Pong { id },
            ServerFrame::Reset { seq, reason } => Self::Reset { seq: seq.0, reason },
            ServerFrame::Bye {
                reason,
                reconnect_after_ms,
            } => Self::Bye {
                reason,
                reconnect_after_ms: *reconnect_after_ms,
            },
            ServerFrame::Expiring { expires_in_ms } => Self::Expiring {
                expires_in_ms: *expires_in_ms,
            },
            ServerFrame::Refreshed { id, expires_in_ms } => Self::Refreshed {
                id,
                expires_in_ms: *expires_in_ms,
            },
        }
    }

    fn event(event: &'a Event) -> Self {
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
        let base64url = |bytes| Some(BASE64_URL_SAFE_NO_PAD.encode(bytes));
        let (text, sealed, handshake) = match body {
            Some(Body::Text(text)) => (Some(&**text), None, None),
            Some(Body::Sealed(bytes)) => (None, base64url(bytes), None),
            Some(Body::Handshake(bytes)) => (None, None, base64url(bytes)),
            Some(Body::Erased) => (Some(""), None, None),
            None => (None, None, None),
        };
        Self::Event {
            seq,
            at,
            kind,
            from,
            to: to.map(UserId::as_str),
            text,
            sealed,
            handshake,
            id,
            erased: body == Some(&Body::Erased),
            changed,
        }
    }
}

fn is_false(is: &bool) -> bool {
    !is
}

fn names(users: &[UserId]) -> Vec<&str> {
    users.iter().map(UserId::as_str).collect()
}
