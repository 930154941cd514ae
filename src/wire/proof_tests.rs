//! What is signed, to the byte: the examples of docs/protocol.md, and what does not fit.

use super::*;
use ed25519_dalek::{Signer, SigningKey};
use proptest::prelude::*;

const DOCUMENT: &str = include_str!("../../docs/protocol.md");

fn pair() -> SigningKey {
    SigningKey::from_bytes(&std::array::from_fn(|n| n as u8))
}

fn key_of(pair: &SigningKey) -> Key {
    Key::parse(&BASE64_URL_SAFE_NO_PAD.encode(pair.verifying_key().as_bytes())).unwrap()
}

fn session(pair: &SigningKey) -> SessionContext {
    SessionContext {
        room: RoomId::parse("aaa").unwrap(),
        user: UserId::parse("harry").unwrap(),
        device: DeviceId::parse("phone").ok(),
        key: PublicKey::parse(&key_of(pair)).unwrap(),
        nonce: Nonce(std::array::from_fn(|n| 0x40 + n as u8)),
    }
}

fn signed(pair: &SigningKey, bytes: &[u8]) -> Proof {
    Proof {
        host: "chat.example".into(),
        signature: pair.sign(bytes).to_bytes(),
        former: None,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What the document says without its line breaks and indentation.
fn documented() -> String {
    DOCUMENT.split_whitespace().collect()
}

#[test]
fn the_examples_of_the_document_fit() {
    let (pair, document) = (pair(), documented());
    let context = session(&pair);
    let of_session = context.bytes("chat.example");
    let (room, user) = (&context.room, &context.user);
    let request = RequestContext {
        method: "POST",
        room,
        user,
        key: context.key,
        at: 1_795_465_200_123,
        body: br#"{"id":"m1","text":"Hello"}"#,
    };
    let of_request = request.bytes("chat.example");
    for bytes in [of_session, of_request] {
        let signature = BASE64_URL_SAFE_NO_PAD.encode(signed(&pair, &bytes).signature);
        for shown in [hex(&bytes), signature.clone()] {
            assert!(document.contains(&shown), "{shown}");
        }
        let proof = proof("chat.example", &signature).unwrap();
        assert!(context.key.has_signed(&bytes, &proof.signature));
    }
    let former = SigningKey::from_bytes(&std::array::from_fn(|n| 0x20 + n as u8));
    let public = PublicKey::parse(&key_of(&former)).unwrap();
    let of_change = context.change("chat.example", &public);
    let signature = former.sign(&of_change).to_bytes();
    assert!(public.has_signed(&of_change, &signature));
    for shown in [hex(&of_change), BASE64_URL_SAFE_NO_PAD.encode(signature)] {
        assert!(document.contains(&shown), "{shown}");
    }
    for shown in [key_of(&pair).as_str(), &context.nonce.to_string()] {
        assert!(document.contains(shown), "{shown}");
    }
}

#[test]
fn a_key_that_everybody_can_sign_for_is_none() {
    let zeros = [0; 32];
    let identity: [u8; 32] = std::array::from_fn(|n| u8::from(n == 0));
    for weak in [zeros, identity] {
        let key = Key::parse(&BASE64_URL_SAFE_NO_PAD.encode(weak)).unwrap();
        assert_eq!(PublicKey::parse(&key), None);
    }
    let good = key_of(&pair());
    for bad in ["key", &good.as_str()[1..], &format!("{}A", good.as_str())] {
        assert_eq!(PublicKey::parse(&Key::parse(bad).unwrap()), None, "{bad}");
    }
}

#[test]
fn every_protocol_reads_a_proof_and_nothing_else_for_one() {
    use crate::proto::client::v1::{self as pb, client_frame::Frame};
    use prost::Message as _;
    let signature = [7; 64];
    let text = BASE64_URL_SAFE_NO_PAD.encode(signature);
    let json = format!(r#"{{"type":"proof","new":[1],"host":"h","signature":"{text}"}}"#);
    let line = format!("!proof h {text}");
    let frame = |frame| pb::ClientFrame { frame: Some(frame) }.encode_to_vec();
    let proto = frame(Frame::Proof(pb::Proof {
        host: "h".into(),
        signature: signature.to_vec().into(),
        former: None,
    }));
    let expected = Some(Proof {
        host: "h".into(),
        signature,
        former: None,
    });
    let read = |protocol: Protocol, message| protocol.decode_proof(message);
    assert_eq!(read(Protocol::Json, Incoming::Text(&json)), expected);
    assert_eq!(read(Protocol::Text, Incoming::Text(&line)), expected);
    assert_eq!(read(Protocol::Proto, Incoming::Binary(&proto)), expected);

    // With the signature of a former key, which is whole or makes it none.
    let with = |former: &[u8]| {
        let text = BASE64_URL_SAFE_NO_PAD.encode(former);
        let json = json.replace("}", &format!(r#","former":"{text}"}}"#));
        let line = format!("{line} {text}");
        let proto = frame(Frame::Proof(pb::Proof {
            host: "h".into(),
            signature: signature.to_vec().into(),
            former: Some(former.to_vec().into()),
        }));
        [
            Protocol::Json.decode_proof(Incoming::Text(&json)),
            Protocol::Text.decode_proof(Incoming::Text(&line)),
            Protocol::Proto.decode_proof(Incoming::Binary(&proto)),
        ]
    };
    for proof in with(&[9; 64]) {
        assert_eq!(proof.unwrap().former, Some([9; 64]));
    }
    assert_eq!(with(&[9; 63]), [None, None, None]);
    let null = json.replace("}", r#","former":null}"#);
    assert_eq!(read(Protocol::Json, Incoming::Text(&null)), expected);

    let other = frame(Frame::Ping(pb::Ping { id: "p".into() }));
    let short = frame(Frame::Proof(pb::Proof {
        host: "h".into(),
        signature: vec![7; 63].into(),
        former: None,
    }));
    for bytes in [&other[..], &short, b"", b"\xff"] {
        assert_eq!(read(Protocol::Proto, Incoming::Binary(bytes)), None);
    }
    for bad in [
        r#"{"type":"ping","id":"p"}"#,
        r#"{"type":"proof","host":"h"}"#,
        r#"{"type":"proof","host":"h","signature":"AA"}"#,
        &json.replace("proof", "send"),
        "[]",
        "harry:*:hello",
        "!proof h",
        "",
    ] {
        assert_eq!(read(Protocol::Json, Incoming::Text(bad)), None, "{bad}");
        assert_eq!(read(Protocol::Text, Incoming::Text(bad)), None, "{bad}");
    }
}

#[test]
fn a_host_has_one_spelling() {
    for (text, expected) in [
        ("Chat.Example", Some("chat.example")),
        ("chat.example:443", Some("chat.example")),
        ("chat.example:80", Some("chat.example")),
        ("chat.example:8080", Some("chat.example:8080")),
        ("[::1]:80", Some("[::1]")),
        ("::1:80", Some("::1:80")),
        ("", None),
        ("a b", None),
        ("https://chat.example", None),
    ] {
        assert_eq!(host(text).as_deref(), expected, "{text}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    /// One other byte anywhere in what was signed, in the signature, or another key: it fits no
    /// more.
    #[test]
    fn a_proof_fits_nothing_else(at in any::<prop::sample::Index>(), bit in 0..8u32) {
        let pair = pair();
        let context = session(&pair);
        let bytes = context.bytes("chat.example");
        let proof = signed(&pair, &bytes);
        let mut others = bytes.clone();
        others[at.index(bytes.len())] ^= 1 << bit;
        prop_assert!(!context.key.has_signed(&others, &proof.signature));
        let mut damaged = proof.clone();
        damaged.signature[at.index(64)] ^= 1 << bit;
        prop_assert!(!context.key.has_signed(&bytes, &damaged.signature));
    }

    /// No two lists of names give the same bytes.
    #[test]
    fn names_cannot_be_moved_between_fields(a in "[a-z]{1,8}", b in "[a-z]{1,8}") {
        let pair = pair();
        let of = |room: &str, user: &str| {
            let (room, user) = (RoomId::parse(room).unwrap(), UserId::parse(user).unwrap());
            SessionContext { room, user, ..session(&pair) }.bytes("h")
        };
        let moved = format!("{a}{b}");
        prop_assert_ne!(of(&a, &moved), of(&moved, &a));
        let without = SessionContext { device: None, ..session(&pair) };
        prop_assert_ne!(without.bytes("h"), session(&pair).bytes("h"));
    }
}
