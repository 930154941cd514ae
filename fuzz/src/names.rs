//! Names, keys and ids: what is accepted is what the contract allows, and has one spelling.

use super::shown::is_one_line;
use safe_chat::{
    bus::nats::arriving,
    room::{CommandId, DeviceId, Incarnation, Key, Reason, RoomId, SessionId, Shards, UserId},
    wire::Protocol,
};

pub fn check(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let is_name = |most| {
        (1..=most).contains(&text.len())
            && text
                .chars()
                .all(|c| matches!(c, 'A'..='Z' | 'a'..='z' | '0'..='9' | '_' | '-'))
    };
    let room = RoomId::parse(text);
    assert_eq!(
        room.as_ref().ok().map(RoomId::as_str),
        is_name(64).then_some(text)
    );
    assert_eq!(
        UserId::parse(text).as_ref().ok().map(UserId::as_str),
        is_name(64).then_some(text)
    );
    assert_eq!(
        DeviceId::parse(text).as_ref().ok().map(DeviceId::as_str),
        is_name(32).then_some(text)
    );
    assert_eq!(
        Key::parse(text).as_ref().ok().map(Key::as_str),
        is_name(128).then_some(text)
    );
    match &room {
        Ok(room) => assert!(
            [1, 64, 4096]
                .iter()
                .all(|&count| Shards::new(count).expect("shards").of(room).0 < count)
        ),
        Err(invalid) => is_one_line(&invalid.to_string()),
    }

    let is_id = (1..=64).contains(&text.len()) && text.bytes().all(|b| (0x21..=0x7e).contains(&b));
    assert_eq!(
        CommandId::parse(text).as_ref().and_then(CommandId::shown),
        is_id.then_some(text)
    );
    let is_unique =
        text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    assert_eq!(
        SessionId::parse(text).map(|id| id.to_string()).as_deref(),
        is_unique.then_some(text)
    );
    assert_eq!(
        Incarnation::parse(text).map(|id| id.to_string()).as_deref(),
        is_unique.then_some(text)
    );
    assert!(Reason::parse(text).is_none_or(|reason| reason.as_str() == text));

    if let Some((node, room)) = arriving::mark(text) {
        assert!(text.ends_with(&format!(".{room}")) && text.contains(&node.to_string()));
    }
    // One header in each line.
    match Protocol::negotiate(text.split('\n')) {
        Ok((protocol, echo)) => {
            assert!(echo.is_none_or(|name| text.contains(name)));
            // The text protocol needs no name, and is echoed when it was offered by one.
            assert!(echo == protocol.name() || protocol == Protocol::Text);
        }
        Err(rejection) => {
            assert_eq!(rejection.reason, Reason::BadQuery);
            is_one_line(&rejection.message);
        }
    }
}
