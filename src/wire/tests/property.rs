//! What holds for any frame and any input.

use super::{independent::*, strategy::*, *};
use crate::proto::client::v1 as pb;
use proptest::{collection::vec, prelude::*};
use prost::Message as _;

fn check_any_outcome(outcome: Result<ClientFrame, Refused>) {
    match outcome {
        Ok(ClientFrame::Send(message)) => {
            let limit = if matches!(message.body, Body::Text(_)) {
                16384
            } else {
                65536
            };
            assert!((1..=limit).contains(&message.body.size()));
        }
        Ok(ClientFrame::History { limit, .. }) => assert!((1..=500).contains(&limit)),
        Ok(
            ClientFrame::Members { id, .. }
            | ClientFrame::Ping { id }
            | ClientFrame::Token { id, .. },
        ) => {
            assert!(CommandId::parse(&id).is_some())
        }
        Err(refused) => {
            let reason = refused.rejection.reason;
            assert!(matches!(
                reason,
                Reason::BadFrame | Reason::BadField | Reason::Unsupported | Reason::TooLarge
            ));
            assert_eq!(
                refused.understood,
                matches!(reason, Reason::BadField | Reason::TooLarge)
            );
            assert!(reason != Reason::BadFrame || refused.id.is_none());
            assert!(refused.id.is_none_or(|id| CommandId::parse(&id).is_some()));
        }
    }
}

fn decode_as_everything(bytes: &[u8]) {
    for protocol in Protocol::ALL {
        check_any_outcome(protocol.decode(Incoming::Binary(bytes), &user("harry")));
        if let Ok(text) = std::str::from_utf8(bytes) {
            check_any_outcome(protocol.decode(Incoming::Text(text), &user("harry")));
        }
    }
    check_any_outcome(decode_send_object(bytes).map(ClientFrame::Send));
}

proptest! {
    #[test]
    fn decoding_arbitrary_bytes_never_panics(bytes in vec(any::<u8>(), 0..400)) {
        decode_as_everything(&bytes);
    }

    #[test]
    fn decoding_what_looks_like_json_never_panics(
        text in r#"(\{|\}|\[|\]|,|:|null|1e999|-0|"(type|send|history|id|m1|to|text|sealed|limit|\\ud800|\\u0000)"| ){0,40}"#,
    ) {
        decode_as_everything(text.as_bytes());
    }

    #[test]
    fn decoding_a_damaged_frame_never_panics(frame in any_client_frame(), cut in any::<prop::sample::Index>(), byte in any::<u8>()) {
        for mut bytes in [json_of(&frame).into_bytes(), proto_of(&frame)] {
            let at = cut.index(bytes.len());
            decode_as_everything(&bytes[..at]);
            bytes[at] = byte;
            decode_as_everything(&bytes);
        }
    }

    #[test]
    fn what_a_client_writes_in_json_or_protobuf_is_read_as_it_was_meant(frame in any_client_frame()) {
        let harry = user("harry");
        prop_assert_eq!(Protocol::Json.decode(Incoming::Text(&json_of(&frame)), &harry), Ok(frame.clone()));
        prop_assert_eq!(Protocol::Proto.decode(Incoming::Binary(&proto_of(&frame)), &harry), Ok(frame.clone()));
        if let ClientFrame::Send(message) = frame {
            let object = json_of(&ClientFrame::Send(message.clone()));
            let read = decode_send_object(object.as_bytes());
            match message.body {
                // It needs a session.
                Body::Handshake(_) => prop_assert_eq!(read.unwrap_err().rejection.reason, Reason::BadField),
                _ => prop_assert_eq!(read, Ok(message)),
            }
        }
    }

    #[test]
    fn what_the_server_writes_in_json_says_what_the_frame_says(frame in any_server_frame()) {
        let text = said(Protocol::Json.encode(&room(), &frame));
        let (kind, value) = frame_value(&frame);
        prop_assert_eq!(json_value(&text), (kind.to_owned(), value));
    }

    #[test]
    fn what_the_server_writes_in_protobuf_says_what_the_frame_says(frame in any_server_frame()) {
        let encoded = Protocol::Proto.encode(&room(), &frame).unwrap();
        prop_assert!(matches!(encoded, Encoded::Binary(_)));
        let read = pb::ServerFrame::decode(encoded.bytes().clone()).unwrap();
        prop_assert_eq!(pb_value(read), frame_value(&frame));
    }

    #[test]
    fn a_line_of_the_text_protocol_has_no_control_character(frame in any_server_frame()) {
        if let Some(encoded) = Protocol::Text.encode(&room(), &frame) {
            let line = said(Some(encoded));
            let breaks = |c: char| c.is_control() || c == '\u{2028}' || c == '\u{2029}';
            prop_assert!(!line.contains(breaks), "{:?}", line);
        }
    }

    #[test]
    fn a_line_of_the_text_protocol_cannot_be_mistaken_for_another(room in any_room(), event in any_event()) {
        let line = said(Protocol::Text.encode(&room, &ServerFrame::Event(SharedEvent::new(room.clone(), event.clone()))));
        let seq = event.seq.to_string();
        let (kind, parts) = read_line(room.as_str(), &line);
        match &event.kind {
            Kind::Joined { user } => prop_assert_eq!((kind, parts), ("change", vec![&*seq, user.as_str(), "joined"])),
            Kind::Left { user } => prop_assert_eq!((kind, parts), ("change", vec![&*seq, user.as_str(), "left"])),
            Kind::Unpinned { user, changed } => {
                prop_assert_eq!((kind, parts), ("change", vec![&*seq, user.as_str(), "unpinned"]));
                prop_assert_eq!(line.ends_with("] (changed)"), *changed);
            }
            Kind::Purged => prop_assert_eq!((kind, parts), ("change", vec![&*seq, "*", "purged"])),
            Kind::Erased { user, .. } => prop_assert_eq!((kind, parts), ("change", vec![&*seq, user.as_str(), "erased"])),
            Kind::Message { from, to, body, .. } => {
                let content = match body {
                    Body::Text(text) => shown(text),
                    Body::Sealed(bytes) => format!("(sealed, {} bytes)", bytes.len()),
                    Body::Erased => "(erased)".into(),
                    Body::Handshake(_) => {
                        prop_assert_eq!((kind, parts), ("change", vec![&*seq, from.as_str(), "handshake"]));
                        return Ok(());
                    }
                };
                let to = to.as_ref().map_or("*", UserId::as_str);
                prop_assert_eq!((kind, parts), ("message", vec![&*seq, from.as_str(), to, &*content]));
            }
        }
    }

    #[test]
    fn what_a_person_types_arrives_as_typed(name in any_user(), message in any_message()) {
        let Body::Text(content) = &message.body else { return Ok(()) };
        let line = format!("{name}:{}:{content}", message.to.as_ref().map_or("*", UserId::as_str));
        let expected = ClientFrame::Send(Message { id: None, ..message.clone() });
        prop_assert_eq!(Protocol::Text.decode(Incoming::Text(&line), &name), Ok(expected));
    }
}
