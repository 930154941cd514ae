//! An event as clients see it, before it is put into a protocol.

use crate::room::{Body, CommandId, Event, Kind, UserId};

/// Where an event is nobody's: no user has this name.
const NOBODY: &str = "*";

/// What every protocol tells of an event.
pub(super) struct View<'a> {
    pub(super) seq: u64,
    pub(super) at: u64,
    pub(super) kind: &'static str,
    pub(super) from: &'a str,
    pub(super) to: Option<&'a UserId>,
    pub(super) body: Option<&'a Body>,
    pub(super) id: Option<&'a str>,
    /// Of a key that goes: who had it says so.
    pub(super) changed: bool,
}

impl<'a> View<'a> {
    pub(super) fn of(event: &'a Event) -> Self {
        let plain = |kind, from| View {
            seq: event.seq.0,
            at: event.at.0,
            kind,
            from,
            to: None,
            body: None,
            id: None,
            changed: false,
        };
        match &event.kind {
            Kind::Joined { user } => plain("joined", user.as_str()),
            Kind::Left { user } => plain("left", user.as_str()),
            Kind::Unpinned { user, changed } => View {
                changed: *changed,
                ..plain("unpinned", user.as_str())
            },
            Kind::Purged => plain("purged", NOBODY),
            Kind::Erased { user, through: _ } => plain("erased", user.as_str()),
            Kind::Message {
                from,
                to,
                body,
                id,
                device: _,
                turn: _,
                request: _,
            } => {
                let kind = match body {
                    Body::Text(_) | Body::Erased => "text",
                    Body::Sealed(_) => "sealed",
                    Body::Handshake(_) => "handshake",
                };
                View {
                    to: to.as_ref(),
                    body: Some(body),
                    id: id.as_ref().and_then(CommandId::shown),
                    ..plain(kind, from.as_str())
                }
            }
        }
    }
}
