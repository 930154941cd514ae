//! The text protocol: one line per frame. It has no ids and no answers to what succeeds, and its
//! escapes are for the eye.

use super::DecodeError;
use crate::frame::{Body, ClientFrame, Content, Event, ServerFrame, Welcome};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

/// The line of a frame; `None`: this protocol can only say text.
pub fn encode(user: &str, frame: &ClientFrame) -> Option<String> {
    match frame {
        ClientFrame::Send {
            to,
            content: Content::Text(text),
            ..
        } => Some(format!("{user}:{}:{text}", to.as_deref().unwrap_or("*"))),
        ClientFrame::Proof {
            host,
            signature,
            former,
        } => {
            let signature = URL_SAFE_NO_PAD.encode(signature);
            let former = former.map(|former| URL_SAFE_NO_PAD.encode(former));
            let former = former.map(|former| format!(" {former}"));
            let former = former.unwrap_or_default();
            Some(format!("!proof {host} {signature}{former}"))
        }
        _ => None,
    }
}

/// Reads a line.
///
/// # Errors
/// It is none of this room and user.
pub fn decode(room: &str, user: &str, line: &str) -> Result<ServerFrame, DecodeError> {
    if let Some(rest) = line.strip_prefix('!') {
        return notice(rest);
    }
    if line == format!("{user}:{room}:connected") {
        return Ok(ServerFrame::Welcome(Welcome {
            room: room.into(),
            user: user.into(),
            recovered: true,
            ..Welcome::default()
        }));
    }
    event(room, line)
        .map(ServerFrame::Event)
        .ok_or(DecodeError::new("line of the text protocol"))
}

/// `challenge NONCE`, `rejected REASON message`, `reset SEQ REASON`, `bye MS REASON`.
fn notice(rest: &str) -> Result<ServerFrame, DecodeError> {
    let bad = DecodeError::new("notice of the text protocol");
    let mut words = rest.splitn(3, ' ');
    let (Some(kind), Some(first)) = (words.next(), words.next()) else {
        return Err(bad);
    };
    let last = words.next().unwrap_or_default().to_owned();
    match kind {
        "challenge" => Ok(ServerFrame::Challenge {
            nonce: URL_SAFE_NO_PAD.decode(first).map_err(|_| bad)?.into(),
        }),
        "rejected" => Ok(ServerFrame::Rejected {
            id: None,
            reason: first.into(),
            message: last,
            retry_after_ms: None,
            seq: None,
        }),
        "reset" => Ok(ServerFrame::Reset {
            seq: first.parse().map_err(|_| bad)?,
            reason: last,
        }),
        "bye" => Ok(ServerFrame::Bye {
            reconnect_after_ms: first.parse().map_err(|_| bad)?,
            reason: last,
        }),
        "expiring" => Ok(ServerFrame::Expiring {
            expires_in_ms: first.parse().map_err(|_| bad)?,
        }),
        _ => Ok(ServerFrame::Other),
    }
}

/// `[room:seq - from -> to] content`, `[room:seq - from joined]`.
fn event(room: &str, line: &str) -> Option<Event> {
    let rest = line
        .strip_prefix('[')?
        .strip_prefix(room)?
        .strip_prefix(':')?;
    let (seq, rest) = rest.split_once(" - ")?;
    let (head, content) = rest.split_once(']')?;
    let content = content.strip_prefix(' ').unwrap_or(content);
    let (from, to, body) = if let Some((from, to)) = head.split_once(" -> ") {
        let sealed = content
            .strip_prefix("(sealed, ")
            .and_then(|rest| rest.strip_suffix(" bytes)")?.parse().ok());
        let body = match (sealed, content) {
            (Some(bytes), _) => Body::SealedOf(bytes),
            (None, "(erased)") => Body::ErasedText,
            (None, text) => Body::Text(text.into()),
        };
        (from, Some(to).filter(|to| *to != "*"), body)
    } else {
        let (from, kind) = head.split_once(' ')?;
        let body = match kind {
            "joined" => Body::Joined,
            "left" => Body::Left,
            "unpinned" if content == "(changed)" => Body::KeyChanged,
            "unpinned" => Body::Unpinned,
            "purged" => Body::Purged,
            "erased" => Body::Erased,
            other => Body::Other(other.into()),
        };
        (from, None, body)
    };
    Some(Event {
        seq: seq.parse().ok()?,
        at: 0,
        from: from.into(),
        to: to.map(Into::into),
        id: None,
        body,
    })
}

/// Content as the server shows it in a line: how a client recognises its own message.
pub fn shown(content: &str) -> String {
    let mut out = String::with_capacity(content.len());
    for c in content.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') => {
                out.extend(c.escape_unicode());
            }
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> ServerFrame {
        decode("aaa", "harry", line).unwrap()
    }

    fn read_event(line: &str) -> Event {
        match read(line) {
            ServerFrame::Event(event) => event,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_message_names_its_sender_and_everybody_if_nobody() {
        let send = |to: Option<&str>| ClientFrame::Send {
            id: "m1".into(),
            to: to.map(Into::into),
            content: Content::Text("a:b".into()),
        };
        assert_eq!(
            encode("harry", &send(Some("charly"))).as_deref(),
            Some("harry:charly:a:b")
        );
        assert_eq!(encode("harry", &send(None)).as_deref(), Some("harry:*:a:b"));
        assert_eq!(encode("harry", &ClientFrame::Ping { id: "p".into() }), None);
    }

    #[test]
    fn every_kind_of_line_is_read() {
        assert!(matches!(
            read("harry:aaa:connected"),
            ServerFrame::Welcome(_)
        ));
        let hello = read_event("[aaa:7 - harry -> charly] Hello] [x");
        assert_eq!((hello.seq, hello.to.as_deref()), (7, Some("charly")));
        assert_eq!(hello.body, Body::Text("Hello] [x".into()));
        assert_eq!(read_event("[aaa:8 - charly joined]").body, Body::Joined);
        assert_eq!(read_event("[aaa:9 - charly left]").body, Body::Left);
        let unpinned = |line| read_event(line).body;
        assert_eq!(unpinned("[aaa:9 - kim unpinned]"), Body::Unpinned);
        let changed = "[aaa:9 - kim unpinned] (changed)";
        assert_eq!(unpinned(changed), Body::KeyChanged);
        let sealed = read_event("[aaa:10 - harry -> *] (sealed, 344 bytes)");
        assert_eq!((sealed.to, sealed.body), (None, Body::SealedOf(344)));
        assert_eq!(
            read_event("[aaa:11 - harry pinned]").body,
            Body::Other("pinned".into())
        );
        assert!(matches!(
            read("!rejected too_large at most 16384 bytes"),
            ServerFrame::Rejected { id: None, reason, message, .. }
                if reason == "too_large" && message == "at most 16384 bytes"
        ));
        assert!(matches!(
            read("!reset 42 cut"),
            ServerFrame::Reset { seq: 42, .. }
        ));
        assert!(matches!(
            read("!bye 1300 draining"),
            ServerFrame::Bye {
                reconnect_after_ms: 1300,
                ..
            }
        ));
    }

    #[test]
    fn what_is_no_line_of_the_room_is_an_error() {
        for line in [
            "",
            "[bbb:1 - a joined]",
            "[aaa:x - a joined]",
            "!reset x y",
            "hello",
        ] {
            assert!(decode("aaa", "harry", line).is_err(), "{line:?}");
        }
    }

    #[test]
    fn control_characters_look_as_the_server_shows_them() {
        assert_eq!(
            shown("a\nb\tc\u{1b}\u{2028}\\"),
            "a\\nb\\u{9}c\\u{1b}\\u{2028}\\"
        );
    }
}
