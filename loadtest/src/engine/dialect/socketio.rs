//! socket.io 4 over a plain WebSocket (Engine.IO 4): `42["e",FRAME]` is an event `e` of the server
//! with a frame of safe-chat, `42["c",FRAME]` one of the client. The server is `peers/socketio.js`.

use super::{Incoming, Seat, safechat};
use serde_json::json;

const EVENT: &[u8] = br#"42["e","#;

/// Connects to the usual namespace; who joins what is its `auth`.
pub(super) fn opening(seat: &Seat<'_>) -> String {
    let auth = json!({ "room": seat.room, "user": seat.user, "since": seat.since });
    format!("40{auth}")
}

pub(super) fn send(id: String, text: String) -> String {
    format!(r#"42["c",{}]"#, safechat::send(id, text))
}

/// The frame that an event carries, or else the packet.
pub(super) fn message(payload: &[u8]) -> &[u8] {
    let frame = payload.strip_prefix(EVENT);
    let frame = frame.and_then(|rest| rest.strip_suffix(b"]"));
    frame.unwrap_or(payload)
}

pub(super) fn read(text: &str) -> Option<Incoming> {
    match text.as_bytes() {
        [b'{', ..] => safechat::read(text),
        [b'0', b'{', ..] | [b'4', b'0', ..] => Some(Incoming::Greeting),
        [b'2'] => Some(Incoming::Ping("3")),
        [b'4', b'1', ..] => Some(Incoming::Bye {
            reason: "disconnected".into(),
        }),
        [b'4', b'4', ..] => Some(Incoming::Refused(text.to_owned())),
        [b'4', b'2', ..] => Some(Incoming::Other),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_carries_a_frame_and_packets_are_told_apart() {
        let packet = br#"42["e",{"type":"pong","id":"p"}]"#;
        assert_eq!(message(packet), br#"{"type":"pong","id":"p"}"#);
        assert_eq!(message(b"2"), b"2");
        let read = |packet: &str| {
            let message = message(packet.as_bytes());
            super::read(std::str::from_utf8(message).unwrap())
        };
        assert_eq!(
            read(r#"42["e",{"type":"pong","id":"p"}]"#),
            Some(Incoming::Pong)
        );
        assert_eq!(
            read(r#"0{"sid":"x","pingInterval":25000}"#),
            Some(Incoming::Greeting)
        );
        assert_eq!(read(r#"40{"sid":"y"}"#), Some(Incoming::Greeting));
        assert_eq!(read("2"), Some(Incoming::Ping("3")));
        assert_eq!(
            read(r#"44{"message":"no"}"#),
            Some(Incoming::Refused(r#"44{"message":"no"}"#.into()))
        );
        assert_eq!(read("?"), None);
    }

    #[test]
    fn who_joins_what_is_said_when_connecting() {
        let seat = Seat {
            room: "aaa",
            user: "harry",
            since: Some(7),
            is_proven: false,
        };
        assert_eq!(
            opening(&seat),
            r#"40{"room":"aaa","since":7,"user":"harry"}"#
        );
        assert_eq!(
            send("s-1".into(), "Hello".into()),
            r#"42["c",{"type":"send","id":"s-1","text":"Hello"}]"#
        );
    }
}
