//! A frame of the JSON protocol: compared with a second reading of it, which is written against
//! docs/protocol.md only.

use super::shown::{self, harry};
use safe_chat::{
    room::{Body, CommandId, Limits, Reason, Seq, Token, UserId},
    wire::{ClientFrame, Incoming, Message, Protocol, Refused, decode_send_object},
};
use serde_json::Value;

/// What the contract says about a frame: the frame, or the reason and the id of its refusal.
type Expected = Result<ClientFrame, (Reason, Option<String>)>;

const ALLOWED: [Reason; 4] = [
    Reason::BadFrame,
    Reason::BadField,
    Reason::Unsupported,
    Reason::TooLarge,
];

pub fn check(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        let refused =
            decode_send_object(bytes).expect_err("bytes that are no text were understood");
        return shown::refused(&refused, &[Reason::BadFrame]);
    };
    let read = Protocol::Json.decode(Incoming::Text(text), &harry());
    let posted = decode_send_object(bytes);
    for refused in [read.as_ref().err(), posted.as_ref().err()]
        .into_iter()
        .flatten()
    {
        shown::refused(refused, &ALLOWED);
    }
    if let Ok(message) = &posted {
        assert!(message.id.is_some());
        shown::accepted(message);
    }
    // The second reading refuses what the first one skips unread: nesting without end, numbers
    // without bound, halves of characters.
    let Ok(value) = serde_json::from_str::<Value>(text) else {
        return;
    };
    // Of a number with a fraction or an exponent it has only the nearest floating point number.
    if ["before", "limit"].iter().any(|name| value[*name].is_f64()) {
        return;
    }
    assert_eq!(told(&read), expected(&value), "{value}");
    let typed = value["type"].is_string();
    match (typed, value["type"].is_null()) {
        (_, absent) if value["type"] == "send" || absent && value.is_object() => assert_eq!(
            told(&posted.map(ClientFrame::Send)),
            message(&value, false).map(ClientFrame::Send)
        ),
        _ => assert!(posted.is_err()),
    }
}

fn told(read: &Result<ClientFrame, Refused>) -> Expected {
    read.clone().map_err(|refused| {
        (
            refused.rejection.reason,
            refused.id.map(|id| id.to_string()),
        )
    })
}

fn expected(frame: &Value) -> Expected {
    let Some(kind) = frame["type"].as_str().filter(|_| frame.is_object()) else {
        return Err((Reason::BadFrame, None));
    };
    match kind {
        "send" => message(frame, true).map(ClientFrame::Send),
        "history" => {
            let id = id(frame)?;
            let bad = || (Reason::BadField, Some(id.clone()));
            let before = number(&frame["before"]).ok_or_else(bad)?.map(Seq);
            let limit = number(&frame["limit"]).ok_or_else(bad)?.unwrap_or(50);
            let limit = u16::try_from(limit)
                .ok()
                .filter(|limit| (1..=500).contains(limit))
                .ok_or_else(bad)?;
            Ok(ClientFrame::History {
                id: id.as_str().into(),
                before,
                limit,
            })
        }
        "members" => {
            let id = id(frame)?;
            let bad = || (Reason::BadField, Some(id.clone()));
            let after = string(&frame["after"]).ok_or_else(bad)?;
            let after = after.map(|name| UserId::parse(&name).map_err(|_| bad()));
            Ok(ClientFrame::Members {
                id: id.as_str().into(),
                after: after.transpose()?,
            })
        }
        "ping" => Ok(ClientFrame::Ping {
            id: id(frame)?.into(),
        }),
        "token" => {
            let id = id(frame)?;
            let bad = || (Reason::BadField, Some(id.clone()));
            let token = string(&frame["token"]).ok_or_else(bad)?.unwrap_or_default();
            match token.len() {
                1..=8192 => Ok(ClientFrame::Token {
                    id: id.as_str().into(),
                    token: Token::new(&token),
                }),
                _ => Err(bad()),
            }
        }
        _ => Err((Reason::Unsupported, id(frame).ok())),
    }
}

fn message(frame: &Value, in_session: bool) -> Result<Message, (Reason, Option<String>)> {
    let id = id(frame)?;
    let refuse = |reason| (reason, Some(id.clone()));
    let bad = || refuse(Reason::BadField);
    let to = match string(&frame["to"]).ok_or_else(bad)?.as_deref() {
        None | Some("*") => None,
        Some(name) => Some(UserId::parse(name).map_err(|_| bad())?),
    };
    let content = |name: &str| string(&frame[name]).ok_or_else(bad);
    let (text, sealed, handshake) = (content("text")?, content("sealed")?, content("handshake")?);
    let bytes = |text: String| base64url(&text).ok_or_else(bad);
    let (body, most) = match (text, sealed, handshake) {
        (Some(text), None, None) => (Body::Text(text.into()), Limits::TEXT),
        (None, Some(sealed), None) => (Body::Sealed(bytes(sealed)?.into()), Limits::SEALED),
        (None, None, Some(_)) if !in_session => return Err(bad()),
        (None, None, Some(handshake)) => {
            (Body::Handshake(bytes(handshake)?.into()), Limits::HANDSHAKE)
        }
        _ => return Err(bad()),
    };
    match body.size() {
        0 => Err(bad()),
        size if size > most => Err(refuse(Reason::TooLarge)),
        _ => Ok(Message {
            id: CommandId::parse(&id),
            to,
            body,
        }),
    }
}

/// 1 to 64 visible ASCII characters.
fn id(frame: &Value) -> Result<String, (Reason, Option<String>)> {
    let valid =
        |id: &&str| (1..=64).contains(&id.len()) && id.bytes().all(|b| (0x21..=0x7e).contains(&b));
    frame["id"]
        .as_str()
        .filter(valid)
        .map(str::to_owned)
        .ok_or((Reason::BadField, None))
}

/// `None`: neither a string nor absent.
fn string(value: &Value) -> Option<Option<String>> {
    if value.is_null() {
        Some(None)
    } else {
        value.as_str().map(|text| Some(text.to_owned()))
    }
}

fn number(value: &Value) -> Option<Option<u64>> {
    if value.is_null() {
        Some(None)
    } else {
        value.as_u64().map(Some)
    }
}

/// Bit by bit: RFC 4648, section 5. Padding may be there, in part too.
fn base64url(text: &str) -> Option<Vec<u8>> {
    let (digits, padding) = text.find('=').map_or((text, ""), |at| text.split_at(at));
    let missing = (4 - digits.len() % 4) % 4;
    if padding.len() > missing || padding.bytes().any(|b| b != b'=') || missing == 3 {
        return None;
    }
    let (mut bytes, mut held, mut bits) = (Vec::new(), 0_u32, 0);
    for digit in digits.bytes() {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'-' => 62,
            b'_' => 63,
            _ => return None,
        };
        held = held << 6 | u32::from(value);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((held >> bits) as u8);
            held &= (1 << bits) - 1;
        }
    }
    // What is left over must be zero.
    (held == 0).then_some(bytes)
}
