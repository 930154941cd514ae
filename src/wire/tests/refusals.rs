//! What is refused, with which reason and id.

use super::*;
use crate::{proto::client::v1 as pb, room::Limits};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use prost::Message as _;

fn refused(protocol: Protocol, message: Incoming<'_>) -> (Reason, Option<String>) {
    let refused = protocol.decode(message, &user("harry")).unwrap_err();
    let reason = refused.rejection.reason;
    assert_eq!(
        refused.understood,
        !matches!(reason, Reason::BadFrame | Reason::Unsupported)
    );
    (reason, refused.id.map(|id| id.to_string()))
}

fn json(frame: &str) -> (Reason, Option<String>) {
    refused(Protocol::Json, Incoming::Text(frame))
}

fn text(line: &str) -> Reason {
    refused(Protocol::Text, Incoming::Text(line)).0
}

fn send(content: pb::send::Content) -> pb::Send {
    pb::Send {
        id: "m1".into(),
        to: None,
        content: Some(content),
    }
}

fn proto(frame: impl Into<Option<pb::client_frame::Frame>>) -> (Reason, Option<String>) {
    let bytes = pb::ClientFrame {
        frame: frame.into(),
    }
    .encode_to_vec();
    refused(Protocol::Proto, Incoming::Binary(&bytes))
}

#[test]
fn a_message_of_the_wrong_sort_is_a_bad_frame_in_every_protocol() {
    for protocol in [Protocol::Text, Protocol::Json] {
        assert_eq!(
            refused(protocol, Incoming::Binary(b"harry:*:x")),
            (Reason::BadFrame, None)
        );
    }
    assert_eq!(
        refused(Protocol::Proto, Incoming::Text("")),
        (Reason::BadFrame, None)
    );
}

#[test]
fn what_is_not_a_json_object_with_a_type_is_a_bad_frame() {
    for frame in [
        "",
        "{",
        "null",
        "17",
        r#""send""#,
        "[]",
        r#"["send","m1",null,"x"]"#,
        r#"{"type":"ping","id":"p1"} {}"#,
        r#"{"type":"ping","id":"p1",}"#,
        r#"{'type':'ping'}"#,
        "{}",
        r#"{"id":"m1","text":"x"}"#,
        r#"{"type":null,"id":"m1"}"#,
        r#"{"type":7,"id":"m1"}"#,
        "\u{feff}{\"type\":\"ping\",\"id\":\"p1\"}",
    ] {
        assert_eq!(json(frame), (Reason::BadFrame, None), "{frame}");
    }
}

#[test]
fn an_unknown_type_is_unsupported_with_its_id_if_that_is_valid() {
    assert_eq!(
        json(r#"{"type":"dance","id":"d1"}"#),
        (Reason::Unsupported, Some("d1".into()))
    );
    assert_eq!(
        json(r#"{"type":"Send","id":"d1"}"#),
        (Reason::Unsupported, Some("d1".into()))
    );
    assert_eq!(
        json(r#"{"type":"dance","id":"d 1"}"#),
        (Reason::Unsupported, None)
    );
    assert_eq!(json(r#"{"type":"dance"}"#), (Reason::Unsupported, None));
    assert_eq!(proto(None), (Reason::Unsupported, None));
}

#[test]
fn a_bad_id_is_a_bad_field_without_id() {
    let long = format!(r#""{}""#, "i".repeat(65));
    for id in [
        "null",
        r#""""#,
        "7",
        "[]",
        r#""with space""#,
        r#""ü""#,
        r#""\u0000""#,
        r#""\ud800""#,
        &long,
    ] {
        for (kind, rest) in [
            ("send", r#","text":"x""#),
            ("history", ""),
            ("members", ""),
            ("ping", ""),
        ] {
            let frame = format!(r#"{{"type":"{kind}","id":{id}{rest}}}"#);
            assert_eq!(json(&frame), (Reason::BadField, None), "{frame}");
        }
    }
    assert_eq!(
        json(r#"{"type":"send","text":"x"}"#),
        (Reason::BadField, None)
    );
    assert_eq!(
        proto(pb::client_frame::Frame::Ping(pb::Ping {
            id: String::new()
        })),
        (Reason::BadField, None)
    );
}

#[test]
fn a_bad_field_of_a_message_is_refused_with_its_id() {
    for rest in [
        "",
        r#","text":null"#,
        r#","text":"""#,
        r#","text":7"#,
        r#","text":{"a":1}"#,
        r#","text":"\ud800""#,
        r#","text":"x","sealed":"eA""#,
        r#","sealed":"""#,
        r#","sealed":"a""#,
        r#","sealed":"+/8""#,
        r#","sealed":"e A""#,
        r#","sealed":["eA"]"#,
        r#","text":"x","to":"""#,
        r#","text":"x","to":"two words""#,
        r#","text":"x","to":["charly"]"#,
        r#","text":"x","to":"**""#,
    ] {
        let frame = format!(r#"{{"type":"send","id":"m1"{rest}}}"#);
        assert_eq!(
            json(&frame),
            (Reason::BadField, Some("m1".into())),
            "{frame}"
        );
    }
}

#[test]
fn a_history_out_of_its_bounds_is_a_bad_field() {
    for rest in [
        r#""limit":0"#,
        r#""limit":501"#,
        r#""limit":-1"#,
        r#""limit":1.5"#,
        r#""limit":"50""#,
        r#""limit":1e999"#,
        r#""limit":18446744073709551616"#,
        r#""before":-1"#,
        r#""before":"7""#,
        r#""before":true"#,
        r#""before":18446744073709551616"#,
    ] {
        let frame = format!(r#"{{"type":"history","id":"h1",{rest}}}"#);
        assert_eq!(
            json(&frame),
            (Reason::BadField, Some("h1".into())),
            "{frame}"
        );
    }
    for limit in [0, 501, u32::MAX] {
        let history = pb::HistoryRequest {
            id: "h1".into(),
            before: None,
            limit: Some(limit),
        };
        assert_eq!(
            proto(pb::client_frame::Frame::History(history)),
            (Reason::BadField, Some("h1".into()))
        );
    }
}

#[test]
fn content_is_limited_at_exactly_the_bytes_of_the_contract() {
    let harry = user("harry");
    let text = |n| format!(r#"{{"type":"send","id":"m1","text":"{}"}}"#, "x".repeat(n));
    let sealed = |n| {
        format!(
            r#"{{"type":"send","id":"m1","sealed":"{}"}}"#,
            BASE64_URL_SAFE_NO_PAD.encode(vec![0; n])
        )
    };
    for frame in [text(16384), sealed(65536)] {
        assert!(
            Protocol::Json
                .decode(Incoming::Text(&frame), &harry)
                .is_ok()
        );
        assert!(decode_send_object(frame.as_bytes()).is_ok());
    }
    for frame in [text(16385), sealed(65537)] {
        assert_eq!(json(&frame), (Reason::TooLarge, Some("m1".into())));
    }
    assert_eq!(
        self::text(&format!("harry:*:{}", "x".repeat(16385))),
        Reason::TooLarge
    );
    assert!(
        Protocol::Text
            .decode(
                Incoming::Text(&format!("harry:*:{}", "x".repeat(16384))),
                &harry
            )
            .is_ok()
    );
    use pb::{client_frame::Frame, send::Content};
    let content = Content::Text("x".repeat(Limits::TEXT + 1));
    assert_eq!(
        proto(Frame::Send(send(content))),
        (Reason::TooLarge, Some("m1".into()))
    );
    let content = Content::Sealed(vec![0; Limits::SEALED + 1].into());
    assert_eq!(
        proto(Frame::Send(send(content))),
        (Reason::TooLarge, Some("m1".into()))
    );
    assert_eq!(
        proto(Frame::Send(send(Content::Text(String::new())))),
        (Reason::BadField, Some("m1".into()))
    );
    assert_eq!(
        proto(Frame::Send(pb::Send {
            content: None,
            ..send(Content::Text("x".into()))
        }))
        .0,
        Reason::BadField
    );
    let to = Some("two words".into());
    assert_eq!(
        proto(Frame::Send(pb::Send {
            to,
            ..send(Content::Text("x".into()))
        }))
        .0,
        Reason::BadField
    );
}

#[test]
fn a_line_of_the_text_protocol_is_refused_for_what_is_wrong_with_it() {
    for line in ["", "hello", "harry:hello"] {
        assert_eq!(text(line), Reason::BadFrame, "{line}");
    }
    for line in [
        "charly:*:x",
        "Harry:*:x",
        ":*:x",
        "harry::x",
        "harry:two words:x",
        "harry:*:",
        " harry:*:x",
    ] {
        assert_eq!(text(line), Reason::BadField, "{line}");
    }
}

#[test]
fn null_is_absent_unknown_members_are_ignored_and_the_last_of_two_counts() {
    let plain = Protocol::Json
        .decode(
            Incoming::Text(r#"{"type":"send","id":"m1","text":"x"}"#),
            &user("harry"),
        )
        .unwrap();
    for frame in [
        r#"{"type":"send","id":"m1","text":"x","to":null,"sealed":null,"before":"?","limit":-1}"#,
        r#"{"type":"send","id":"m1","text":"x","to": null }"#,
        r#"{"id":"m1","text":"x","type":"send","new":{"deep":[1e999,{}]},"":0}"#,
        r#"{"type":"ping","type":"send","id":7,"id":"m1","text":null,"text":"x"}"#,
        "\t{ \"\\u0074ype\" : \"s\\u0065nd\" ,\r\n \"id\":\"m1\", \"text\":\"\\u0078\" }\n",
    ] {
        assert_eq!(
            Protocol::Json
                .decode(Incoming::Text(frame), &user("harry"))
                .as_ref(),
            Ok(&plain),
            "{frame}"
        );
    }
}

#[test]
fn however_deep_a_member_is_it_costs_nothing() {
    let deep = "[".repeat(60_000) + &"]".repeat(60_000);
    let frame = format!(r#"{{"x":{deep},"type":"ping","id":"p1"}}"#);
    assert_eq!(
        Protocol::Json.decode(Incoming::Text(&frame), &user("harry")),
        Ok(ClientFrame::Ping { id: "p1".into() })
    );
    assert_eq!(json(&"[".repeat(131_072)), (Reason::BadFrame, None));
    assert_eq!(
        json(&r#"{"type":"#.repeat(16_000)),
        (Reason::BadFrame, None)
    );
    let frame = format!(r#"{{"type":"send","id":"m1","text":{deep}}}"#);
    assert_eq!(json(&frame), (Reason::BadField, Some("m1".into())));
}

#[test]
fn a_posted_message_may_leave_out_its_type_but_not_its_id() {
    let id = CommandId::parse("m1");
    let expected = Message {
        id,
        to: None,
        body: Body::Text("x".into()),
    };
    assert_eq!(
        decode_send_object(br#"{"id":"m1","text":"x"}"#),
        Ok(expected.clone())
    );
    assert_eq!(
        decode_send_object(br#"{"type":"send","id":"m1","text":"x"}"#),
        Ok(expected)
    );
    let reason = |body: &[u8]| decode_send_object(body).unwrap_err().rejection.reason;
    assert_eq!(reason(br#"{"text":"x"}"#), Reason::BadField);
    assert_eq!(reason(br#"{"type":"ping","id":"m1"}"#), Reason::Unsupported);
    assert_eq!(reason(b"\xff"), Reason::BadFrame);
    assert_eq!(reason(b""), Reason::BadFrame);
}
