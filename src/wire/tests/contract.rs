//! The examples of docs/protocol.md, to the letter: each is looked up there first, so that the
//! document and the code cannot part.

use super::*;
use crate::room::{CommandId, Epoch, Identity, Policy, SessionId};
use bytes::Bytes;
use uuid::Uuid;

const DOCUMENT: &str = include_str!("../../../docs/protocol.md");

fn documented(example: &str) -> &str {
    assert!(
        DOCUMENT.contains(example),
        "docs/protocol.md does not show {example}"
    );
    example
}

fn json(frame: ServerFrame) -> String {
    said(Protocol::Json.encode(&room(), &frame))
}

fn text(frame: ServerFrame) -> String {
    said(Protocol::Text.encode(&room(), &frame))
}

fn line(seq: u64, kind: Kind) -> String {
    text(ServerFrame::Event(SharedEvent::new(
        room(),
        event(seq, kind),
    )))
}

fn hello() -> Kind {
    message(
        Some("charly"),
        Body::Text("Hello".into()),
        CommandId::parse("m1"),
    )
}

fn welcome() -> ServerFrame {
    ServerFrame::Welcome {
        user: user("harry"),
        session: SessionId::new(Uuid::from_u128(0xabc)),
        seq: Seq(42),
        recovered: true,
        members: vec![user("charly"), user("harry")],
        left_out: 0,
        epoch: Epoch(7),
        node: "node-1".into(),
        identity: Identity::Claimed,
        policy: Policy::Open,
    }
}

fn decode(protocol: Protocol, example: &str) -> ClientFrame {
    protocol
        .decode(Incoming::Text(documented(example)), &user("harry"))
        .unwrap()
}

#[test]
fn the_lines_of_the_text_protocol_are_as_documented() {
    assert_eq!(text(welcome()), documented("harry:aaa:connected"));
    assert_eq!(
        line(7, hello()),
        documented("[aaa:7 - harry -> charly] Hello")
    );
    assert_eq!(
        line(
            8,
            Kind::Joined {
                user: user("charly")
            }
        ),
        documented("[aaa:8 - charly joined]")
    );
    assert_eq!(
        line(
            9,
            Kind::Left {
                user: user("charly")
            }
        ),
        documented("[aaa:9 - charly left]")
    );
    let sealed = message(None, Body::Sealed(Bytes::from(vec![7; 344])), None);
    assert_eq!(
        line(10, sealed),
        documented("[aaa:10 - harry -> *] (sealed, 344 bytes)")
    );
    let rejection = Rejection::new(Reason::Busy, "try again");
    documented("!rejected REASON message");
    assert_eq!(
        text(ServerFrame::Rejected {
            id: None,
            rejection
        }),
        "!rejected busy try again"
    );
    documented("!reset SEQ REASON");
    assert_eq!(
        text(ServerFrame::Reset {
            seq: Seq(42),
            reason: "history was cut".into()
        }),
        "!reset 42 history was cut"
    );
    documented("!bye MS REASON");
    assert_eq!(
        text(ServerFrame::Bye {
            reason: "draining".into(),
            reconnect_after_ms: 1300
        }),
        "!bye 1300 draining"
    );
}

#[test]
fn the_text_protocol_does_not_answer_what_succeeds() {
    let id = || "m1".into();
    for frame in [
        ServerFrame::Accepted { id: id() },
        ServerFrame::Journaled {
            id: id(),
            seq: Seq(1),
            epoch: Epoch(1),
            duplicate: false,
        },
        ServerFrame::History {
            id: None,
            events: Vec::new(),
            more: false,
            missing: None,
        },
        ServerFrame::Members {
            id: id(),
            members: Vec::new(),
            more: false,
        },
        ServerFrame::Pong { id: id() },
    ] {
        assert_eq!(Protocol::Text.encode(&room(), &frame), None);
    }
}

#[test]
fn control_characters_in_content_are_escaped_as_documented() {
    documented(r"`\n`");
    documented(r"`\u{1b}`");
    let body =
        Body::Text("a\n[aaa:8 - eve joined]\u{1b}[2J\t\r\u{7f}\u{85}\u{2028}\u{2029}\\n ü".into());
    let expected = r"[aaa:7 - harry -> *] a\n[aaa:8 - eve joined]\u{1b}[2J\u{9}\u{d}\u{7f}\u{85}\u{2028}\u{2029}\n ü";
    assert_eq!(line(7, message(None, body, None)), expected);
}

#[test]
fn a_line_of_the_text_protocol_is_read_with_its_colons() {
    documented("sender:recipient:content");
    let frame = Protocol::Text
        .decode(
            Incoming::Text("harry:charly:see http://a:8080/"),
            &user("harry"),
        )
        .unwrap();
    let body = Body::Text("see http://a:8080/".into());
    assert_eq!(
        frame,
        ClientFrame::Send(Message {
            id: None,
            to: Some(user("charly")),
            body
        })
    );
    let frame = Protocol::Text
        .decode(Incoming::Text("harry:*::"), &user("harry"))
        .unwrap();
    assert_eq!(
        frame,
        ClientFrame::Send(Message {
            id: None,
            to: None,
            body: Body::Text(":".into())
        })
    );
}

#[test]
fn the_frames_of_a_json_client_are_read_as_documented() {
    let sent = |id, to, body| {
        ClientFrame::Send(Message {
            id: CommandId::parse(id),
            to,
            body,
        })
    };
    let hello = r#"{"type":"send","id":"m1","to":"charly","text":"Hello"}"#;
    assert_eq!(
        decode(Protocol::Json, hello),
        sent("m1", Some(user("charly")), Body::Text("Hello".into()))
    );
    documented(r#"{"type":"send","id":"m2","sealed":"BASE64URL"}"#);
    for sealed in ["-_8", "-_8="] {
        let frame = format!(r#"{{"type":"send","id":"m2","to":"*","sealed":"{sealed}"}}"#);
        let frame = Protocol::Json
            .decode(Incoming::Text(&frame), &user("harry"))
            .unwrap();
        assert_eq!(
            frame,
            sent("m2", None, Body::Sealed(Bytes::from_static(&[0xfb, 0xff])))
        );
    }
    let history = r#"{"type":"history","id":"h1","before":120,"limit":50}"#;
    assert_eq!(
        decode(Protocol::Json, history),
        ClientFrame::History {
            id: "h1".into(),
            before: Some(Seq(120)),
            limit: 50
        }
    );
    assert_eq!(
        decode(Protocol::Json, r#"{"type":"members","id":"q1"}"#),
        ClientFrame::Members {
            id: "q1".into(),
            after: None
        }
    );
    assert_eq!(
        decode(Protocol::Json, r#"{"type":"ping","id":"p1"}"#),
        ClientFrame::Ping { id: "p1".into() }
    );
}

#[test]
fn members_of_a_large_room_are_told_in_parts() {
    let mut first = welcome();
    if let ServerFrame::Welcome { left_out, .. } = &mut first {
        *left_out = 5;
    }
    let shown = json(first);
    assert!(
        shown.ends_with(r#""node":"node-1","more_members":true,"member_count":7}"#),
        "{shown}"
    );
    let part = ServerFrame::Members {
        id: "q1".into(),
        members: vec![user("kim")],
        more: true,
    };
    let expected = r#"{"type":"members","id":"q1","members":["kim"],"more":true}"#;
    assert_eq!(json(part), expected);
    let next = ClientFrame::Members {
        id: "q1".into(),
        after: Some(user("kim")),
    };
    let asked = r#"{"type":"members","id":"q1","after":"kim"}"#;
    assert_eq!(decode(Protocol::Json, asked), next);
}

#[test]
fn the_frames_for_a_json_client_are_as_documented() {
    let id = |id: &str| id.into();
    let shown = json(welcome())
        .replace("00000000000000000000000000000abc", "...")
        .replace("node-1", "...");
    let expected = r#"{"type":"welcome","room":"aaa","user":"harry","session":"...","seq":42,"recovered":true,"members":["charly","harry"],"epoch":7,"node":"..."}"#;
    assert_eq!(shown, documented(expected));
    let shown = json(ServerFrame::Event(SharedEvent::new(
        room(),
        event(43, hello()),
    )));
    let expected = r#"{"type":"event","seq":43,"at":1795465200123,"kind":"text","from":"harry","to":"charly","text":"Hello","id":"m1"}"#;
    assert_eq!(shown, documented(expected));
    assert_eq!(
        json(ServerFrame::Accepted { id: id("m1") }),
        documented(r#"{"type":"accepted","id":"m1"}"#)
    );
    let journaled = ServerFrame::Journaled {
        id: id("m1"),
        seq: Seq(43),
        epoch: Epoch(7),
        duplicate: false,
    };
    assert_eq!(
        json(journaled),
        documented(r#"{"type":"journaled","id":"m1","seq":43,"epoch":7,"duplicate":false}"#)
    );
    let rejected = ServerFrame::Rejected {
        id: Some(id("m1")),
        rejection: Rejection::retry(Reason::TooLarge, "...", 500),
    };
    let expected = r#"{"type":"rejected","id":"m1","reason":"too_large","message":"...","retry_after_ms":500}"#;
    assert_eq!(json(rejected), documented(expected));
    let members = ServerFrame::Members {
        id: id("q1"),
        members: vec![user("harry")],
        more: false,
    };
    assert_eq!(
        json(members).replace(r#""harry""#, "..."),
        documented(r#"{"type":"members","id":"q1","members":[...]}"#)
    );
    assert_eq!(
        json(ServerFrame::Pong { id: id("p1") }),
        documented(r#"{"type":"pong","id":"p1"}"#)
    );
    let reset = ServerFrame::Reset {
        seq: Seq(42),
        reason: "...".into(),
    };
    assert_eq!(
        json(reset),
        documented(r#"{"type":"reset","seq":42,"reason":"..."}"#)
    );
    let bye = ServerFrame::Bye {
        reason: "draining".into(),
        reconnect_after_ms: 1300,
    };
    assert_eq!(
        json(bye),
        documented(r#"{"type":"bye","reason":"draining","reconnect_after_ms":1300}"#)
    );
}

#[test]
fn a_history_holds_events_in_their_own_form() {
    let joined = event(
        1,
        Kind::Joined {
            user: user("harry"),
        },
    );
    let alone = SharedEvent::new(room(), joined.clone()).json();
    assert_eq!(
        alone.as_str(),
        r#"{"type":"event","seq":1,"at":1795465200123,"kind":"joined","from":"harry"}"#
    );
    let page = |id| {
        json(ServerFrame::History {
            id,
            events: vec![joined.clone()],
            more: true,
            missing: None,
        })
    };
    let expected = documented(r#"{"type":"history","id":"h1","events":[...],"more":true}"#)
        .replace("...", alone.as_str());
    assert_eq!(page(Some("h1".into())), expected);
    assert_eq!(page(None), expected.replace(r#""id":"h1","#, ""));
}

#[test]
fn a_sealed_event_has_base64url_without_padding_and_an_id_of_a_gateway_is_not_shown() {
    let id = CommandId::Gateway(SessionId::new(Uuid::from_u128(1)), 1);
    let sealed = event(
        3,
        message(
            None,
            Body::Sealed(Bytes::from_static(&[0xfb, 0xff])),
            Some(id),
        ),
    );
    let expected = r#"{"type":"event","seq":3,"at":1795465200123,"kind":"sealed","from":"harry","sealed":"-_8"}"#;
    assert_eq!(SharedEvent::new(room(), sealed).json().as_str(), expected);
}

#[test]
fn a_frame_that_is_not_understood_is_rejected_with_id_null() {
    let refused = Protocol::Json
        .decode(Incoming::Text("hello"), &user("harry"))
        .unwrap_err();
    let shown = json(refused.into());
    assert!(
        shown.starts_with(r#"{"type":"rejected","id":null,"reason":"bad_frame","message":"#),
        "{shown}"
    );
    assert!(!shown.contains("retry_after_ms"), "{shown}");
}
