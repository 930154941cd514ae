//! The text protocol: one line per frame, made for people. No content can look like a line of its
//! own.

use super::{ClientFrame, Message, Refused, ServerFrame, Utf8, check, view::View};
use crate::room::{Body, Event, RoomId, UserId};
use std::fmt::Write as _;

/// Reads `sender:recipient:content`.
pub(super) fn decode(line: &str, user: &UserId) -> Result<ClientFrame, Refused> {
    let mut parts = line.splitn(3, ':');
    let (Some(sender), Some(recipient), Some(content)) = (parts.next(), parts.next(), parts.next())
    else {
        return Err(Refused::bad_frame(
            "a line is sender:recipient:content, with * as recipient for the whole room",
        ));
    };
    if sender != user.as_str() {
        return Err(Refused::bad_field(
            None,
            "the sender must be the user of this connection",
        ));
    }
    let to = check::to(None, recipient)?;
    let body = check::text(None, content)?;
    Ok(ClientFrame::Send(Message { id: None, to, body }))
}

/// The line of a frame, if it has one.
pub(super) fn encode(room: &RoomId, frame: &ServerFrame) -> Option<Utf8> {
    let line = match frame {
        ServerFrame::Challenge { nonce, .. } => format!("!challenge {nonce}"),
        ServerFrame::Welcome { user, .. } => format!("{user}:{room}:connected"),
        ServerFrame::Event(shared) => return Some(event(room, shared.event())),
        ServerFrame::Rejected { rejection, .. } => format!(
            "!rejected {} {}",
            rejection.reason,
            Escaped(&rejection.message)
        ),
        ServerFrame::Reset { seq, reason } => format!("!reset {seq} {}", Escaped(reason)),
        ServerFrame::Bye {
            reason,
            reconnect_after_ms,
        } => format!("!bye {reconnect_after_ms} {}", Escaped(reason)),
        ServerFrame::Expiring { expires_in_ms } => {
            format!("!expiring {expires_in_ms} the token expires: come back with a new one")
        }
        ServerFrame::Accepted { .. }
        | ServerFrame::Journaled { .. }
        | ServerFrame::History { .. }
        | ServerFrame::Members { .. }
        | ServerFrame::Pong { .. }
        | ServerFrame::Refreshed { .. } => return None,
    };
    Some(line.into())
}

/// The line of an event.
pub(super) fn event(room: &RoomId, event: &Event) -> Utf8 {
    let View {
        seq,
        kind,
        from,
        to,
        body,
        changed,
        ..
    } = View::of(event);
    let to = to.map_or("*", UserId::as_str);
    let line = match body {
        None if changed => format!("[{room}:{seq} - {from} {kind}] (changed)"),
        None | Some(Body::Handshake(_)) => format!("[{room}:{seq} - {from} {kind}]"),
        Some(Body::Text(text)) => format!("[{room}:{seq} - {from} -> {to}] {}", Escaped(text)),
        Some(Body::Sealed(bytes)) => format!(
            "[{room}:{seq} - {from} -> {to}] (sealed, {} bytes)",
            bytes.len()
        ),
        Some(Body::Erased) => format!("[{room}:{seq} - {from} -> {to}] (erased)"),
    };
    line.into()
}

/// Text with its control characters and line separators shown as escapes. Backslashes stay as they
/// are.
struct Escaped<'a>(&'a str);

impl std::fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for c in self.0.chars() {
            match c {
                '\n' => f.write_str("\\n")?,
                '\u{2028}' | '\u{2029}' => write!(f, "{}", c.escape_unicode())?,
                c if c.is_control() => write!(f, "{}", c.escape_unicode())?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}
