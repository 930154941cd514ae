//! The rules of a client frame's fields, the same in every protocol.

use super::{Message, Refused};
use crate::room::{Body, CommandId, Limits, Seq, Token, UserId};
use bytes::Bytes;
use std::sync::Arc;

/// Events of a history answer when the client names no number.
pub(super) const DEFAULT_LIMIT: u64 = 50;
/// The most events of a history answer (contract with clients).
pub(super) const MAX_LIMIT: u64 = 500;

/// What is said of another limit.
pub(super) const WRONG_LIMIT: &str = "limit must be a whole number from 1 to 500";

/// A frame's id, which it must have.
pub(super) fn id(text: &str) -> Result<Arc<str>, Refused> {
    match CommandId::parse(text) {
        Some(CommandId::Client(id)) => Ok(id),
        _ => Err(Refused::bad_field(
            None,
            "id must be 1 to 64 visible ASCII characters",
        )),
    }
}

/// A label: a user, or `*` for the whole room.
pub(super) fn to(id: Option<&Arc<str>>, text: &str) -> Result<Option<UserId>, Refused> {
    if text == "*" {
        return Ok(None);
    }
    let user = UserId::parse(text);
    user.map(Some).map_err(|_| {
        Refused::bad_field(
            id.cloned(),
            "to must be a user name (1 to 64 of A-Z a-z 0-9 _ -) or *",
        )
    })
}

/// A question for the members behind a name, which need not be one of them.
pub(super) fn members(id: Arc<str>, after: Option<&str>) -> Result<super::ClientFrame, Refused> {
    let after = after.map(UserId::parse).transpose().map_err(|_| {
        Refused::bad_field(
            Some(id.clone()),
            "after must be a user name (1 to 64 of A-Z a-z 0-9 _ -)",
        )
    })?;
    Ok(super::ClientFrame::Members { id, after })
}

/// Text content.
pub(super) fn text(id: Option<&Arc<str>>, text: &str) -> Result<Body, Refused> {
    match text.len() {
        0 => Err(Refused::bad_field(id.cloned(), "the text is empty")),
        1..=Limits::TEXT => Ok(Body::Text(text.into())),
        n => Err(Refused::too_large(
            id.cloned(),
            format!(
                "the text has {n} bytes; at most {} are allowed",
                Limits::TEXT
            ),
        )),
    }
}

/// Sealed content, decoded.
pub(super) fn sealed(id: Option<&Arc<str>>, bytes: Bytes) -> Result<Body, Refused> {
    match bytes.len() {
        0 => Err(Refused::bad_field(
            id.cloned(),
            "the sealed content is empty",
        )),
        1..=Limits::SEALED => Ok(Body::Sealed(bytes)),
        n => Err(Refused::too_large(
            id.cloned(),
            format!(
                "the sealed content has {n} bytes; at most {} are allowed",
                Limits::SEALED
            ),
        )),
    }
}

/// What changes the group of a sealed room, decoded.
pub(super) fn handshake(id: Option<&Arc<str>>, bytes: Bytes) -> Result<Body, Refused> {
    match bytes.len() {
        0 => Err(Refused::bad_field(id.cloned(), "the handshake is empty")),
        1..=Limits::HANDSHAKE => Ok(Body::Handshake(bytes)),
        n => Err(Refused::too_large(
            id.cloned(),
            format!(
                "the handshake has {n} bytes; at most {} are allowed",
                Limits::HANDSHAKE
            ),
        )),
    }
}

/// A message of a client that gives ids.
pub(super) fn message(id: Arc<str>, to: Option<UserId>, body: Body) -> Message {
    Message {
        id: Some(CommandId::Client(id)),
        to,
        body,
    }
}

/// A new token. Whether it is good is not decided here.
pub(super) fn token(id: Arc<str>, text: &str) -> Result<super::ClientFrame, Refused> {
    match text.len() {
        1..=Token::MAX => Ok(super::ClientFrame::Token {
            id,
            token: Token::new(text),
        }),
        _ => Err(Refused::bad_field(
            Some(id),
            "token must be a token, of 8192 bytes at most",
        )),
    }
}

/// A question for earlier events.
pub(super) fn history(
    id: Arc<str>,
    before: Option<u64>,
    limit: Option<u64>,
) -> Result<super::ClientFrame, Refused> {
    match limit.unwrap_or(DEFAULT_LIMIT) {
        limit @ 1..=MAX_LIMIT => Ok(super::ClientFrame::History {
            id,
            before: before.map(Seq),
            limit: limit as u16,
        }),
        _ => Err(Refused::bad_field(Some(id), WRONG_LIMIT)),
    }
}
