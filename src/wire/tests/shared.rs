//! An event is encoded once, and all who get it share the bytes.

use super::*;

#[test]
fn an_event_is_encoded_once_per_protocol_and_its_bytes_are_shared() {
    let shared = SharedEvent::new(
        room(),
        event(7, message(None, Body::Text("Hello".into()), None)),
    );
    let other = shared.clone();
    for protocol in Protocol::ALL {
        let first = shared.encoded(protocol).bytes().as_ptr();
        assert_eq!(first, other.encoded(protocol).bytes().as_ptr());
        let framed = protocol
            .encode(&room(), &ServerFrame::Event(other.clone()))
            .unwrap();
        assert_eq!(first, framed.bytes().as_ptr());
    }
    assert_eq!(
        shared.json().bytes().as_ptr(),
        other.encoded(Protocol::Json).bytes().as_ptr()
    );
}

#[test]
fn debug_output_shows_no_content() {
    let shared = SharedEvent::new(
        room(),
        event(7, message(None, Body::Text("secret".into()), None)),
    );
    let history = ServerFrame::History {
        id: None,
        events: vec![shared.event().clone()],
        more: false,
        missing: None,
    };
    let frame = ServerFrame::Event(shared.clone());
    let decoded = Protocol::Text.decode(Incoming::Text("harry:*:secret"), &user("harry"));
    let refused = Protocol::Text.decode(Incoming::Text("secret:*:secret"), &user("harry"));
    for shown in [
        format!("{frame:?}"),
        format!("{history:?}"),
        format!("{:?}", shared.encoded(Protocol::Text)),
        format!("{:?}", shared.encoded(Protocol::Json)),
        format!("{decoded:?}"),
        format!("{refused:?}"),
    ] {
        assert!(!shown.contains("secret"), "{shown}");
    }
}
