//! Centrifugo's JSON protocol: commands, replies with their ids, and pushes; several of them in a
//! frame, one a line. A room is a channel, with a history (`kept:ROOM`) or without
//! (`live:ROOM`), as `peers/centrifugo.json` has them.

use super::{Incoming, Seat};
use crate::engine::message;
use memchr::{memchr, memmem};
use safe_chat_client::{Body, Event};
use serde_json::{Value, json};

/// Ids of commands: to connect, to subscribe, and from here on those of messages.
const CONNECT: u64 = 1;
const SUBSCRIBE: u64 = 2;
const SEND: u64 = 16;

const PUSH: &[u8] = br#"{"push":{"channel":""#;
const PUBLICATION: &[u8] = br#"","pub":"#;
const MISSED: &[u8] = br#""publications":["#;
/// Where [`MISSED`] begins at the latest.
const MISSED_WITHIN: usize = 256;

pub(super) fn opening(seat: &Seat<'_>, keeps: bool) -> String {
    let mut subscribe = json!({ "channel": channel(seat.room, keeps) });
    if let Some(since) = seat.since {
        subscribe["recover"] = true.into();
        subscribe["offset"] = since.into();
    }
    let connect = json!({ "id": CONNECT, "connect": { "name": seat.user } });
    let subscribe = json!({ "id": SUBSCRIBE, "subscribe": subscribe });
    format!("{connect}\n{subscribe}")
}

pub(super) fn send(room: &str, keeps: bool, id: &str, text: &str) -> String {
    let number = message::number(id).map_or(0, |number| number as u64);
    json!({
        "id": SEND + number,
        "publish": { "channel": channel(room, keeps), "data": { "id": id, "text": text } },
    })
    .to_string()
}

fn channel(room: &str, keeps: bool) -> String {
    format!("{}:{room}", if keeps { "kept" } else { "live" })
}

/// A publication comes as a push, or, if it was missed, within the reply to who subscribes. Its
/// message is the same then: from `{"data":` to its end.
pub(super) fn messages(payload: &[u8], each: &mut dyn FnMut(&[u8])) {
    let mut rest = payload;
    while !rest.is_empty() {
        let end = memchr(b'\n', rest).unwrap_or(rest.len());
        let line = &rest[..end];
        if let Some(publication) = pushed(line) {
            each(publication);
        } else if !missed(line, each) {
            each(line);
        }
        rest = rest.get(end + 1..).unwrap_or_default();
    }
}

fn pushed(line: &[u8]) -> Option<&[u8]> {
    let rest = line.strip_prefix(PUSH)?;
    let (_, rest) = rest.split_at(memchr(b'"', rest)?);
    rest.strip_prefix(PUBLICATION)?.strip_suffix(b"}}")
}

/// The reply with only the last of what was missed, whose place is the head of the room; then each
/// of them. `false`: nothing was missed.
fn missed(line: &[u8], each: &mut dyn FnMut(&[u8])) -> bool {
    let head = &line[..line.len().min(MISSED_WITHIN)];
    let Some(at) = memmem::find(head, MISSED) else {
        return false;
    };
    let at = at + MISSED.len();
    let mut end = at;
    let mut publications = Vec::new();
    while let Some(length) = object(&line[end..]) {
        publications.push(&line[end..end + length]);
        end += length;
        if line.get(end) == Some(&b',') {
            end += 1;
        }
    }
    let last = publications.last().copied().unwrap_or_default();
    each(&[&line[..at], last, &line[end..]].concat());
    publications.into_iter().for_each(each);
    true
}

/// How long the JSON object at the beginning is.
fn object(bytes: &[u8]) -> Option<usize> {
    if bytes.first() != Some(&b'{') {
        return None;
    }
    let (mut depth, mut at) = (0, 0);
    loop {
        match bytes.get(at)? {
            b'{' => depth += 1,
            b'}' if depth == 1 => return Some(at + 1),
            b'}' => depth -= 1,
            b'"' => {
                at += 1;
                while *bytes.get(at)? != b'"' {
                    // What is escaped is skipped with its backslash.
                    at += if bytes[at] == b'\\' { 2 } else { 1 };
                }
            }
            _ => {}
        }
        at += 1;
    }
}

pub(super) fn read(text: &str, next: u64) -> Option<Incoming> {
    let value: Value = serde_json::from_str(text).ok()?;
    if let Some(data) = value.get("data") {
        return publication(data, value["offset"].as_u64().unwrap_or(next));
    }
    let error = value.get("error").map(ToString::to_string);
    match (value["id"].as_u64(), error) {
        (Some(id), error) if id >= SEND => {
            let id = message::id((id - SEND) as usize);
            Some(match error {
                None => Incoming::Answered { id, seq: None },
                Some(reason) => Incoming::Rejected {
                    id: Some(id),
                    reason,
                },
            })
        }
        (Some(_), Some(error)) => Some(Incoming::Refused(error)),
        (Some(SUBSCRIBE), None) => {
            let reply = &value["subscribe"];
            let missed = &reply["publications"][0]["offset"];
            Some(Incoming::Welcome {
                // Beside what was missed stands where the session was.
                head: missed
                    .as_u64()
                    .max(reply["offset"].as_u64())
                    .unwrap_or_default(),
                recovered: reply["recovered"].as_bool().unwrap_or_default(),
            })
        }
        (Some(_), None) => Some(Incoming::Greeting),
        (None, _) => match value.get("push") {
            None => Some(Incoming::Ping("{}")),
            Some(push) => push
                .get("disconnect")
                .or_else(|| push.get("unsubscribe"))
                .map_or(Some(Incoming::Other), |why| {
                    Some(Incoming::Bye {
                        reason: why.to_string(),
                    })
                }),
        },
    }
}

fn publication(data: &Value, seq: u64) -> Option<Incoming> {
    Some(Incoming::Event(Event {
        seq,
        at: 0,
        from: String::new(),
        to: None,
        id: Some(data["id"].as_str()?.to_owned()),
        body: Body::Text(data["text"].as_str()?.to_owned()),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(payload: &str) -> Vec<String> {
        let mut all = Vec::new();
        messages(payload.as_bytes(), &mut |message| {
            all.push(String::from_utf8(message.to_vec()).unwrap());
        });
        all
    }

    const ONE: &str = r#"{"data":{"id":"s-4","text":"4 }\" x"},"offset":5}"#;

    #[test]
    fn what_was_missed_is_cut_like_what_was_pushed() {
        let push = format!(r#"{{"push":{{"channel":"kept:aaa","pub":{ONE}}}}}"#);
        assert_eq!(cut(&format!("{push}\n{{}}")), [ONE, "{}"]);
        let head = r#"{"id":2,"subscribe":{"recoverable":true,"epoch":"x","publications":["#;
        let tail = r#"],"recovered":true,"offset":4}}"#;
        let other = ONE.replace("s-4", "s-5").replace(":5}", ":6}");
        let reply = format!("{head}{ONE},{other}{tail}");
        assert_eq!(
            cut(&reply),
            [format!("{head}{other}{tail}"), ONE.into(), other.clone()]
        );
        assert_eq!(
            read(&format!("{head}{other}{tail}"), 0),
            Some(Incoming::Welcome {
                head: 6,
                recovered: true
            })
        );
    }

    #[test]
    fn a_publication_has_its_place_or_the_next_one() {
        let Some(Incoming::Event(event)) = read(ONE, 9) else {
            panic!("no event")
        };
        assert_eq!((event.seq, event.id.as_deref()), (5, Some("s-4")));
        assert_eq!(event.text(), Some("4 }\" x"));
        let Some(Incoming::Event(event)) = read(r#"{"data":{"id":"s-1","text":""}}"#, 9) else {
            panic!("no event")
        };
        assert_eq!(event.seq, 9);
    }

    #[test]
    fn replies_are_told_apart() {
        assert_eq!(
            read(r#"{"id":1,"connect":{}}"#, 0),
            Some(Incoming::Greeting)
        );
        assert_eq!(read("{}", 0), Some(Incoming::Ping("{}")));
        let answered = |id: &str| {
            Some(Incoming::Answered {
                id: id.into(),
                seq: None,
            })
        };
        assert_eq!(read(r#"{"id":20,"publish":{}}"#, 0), answered("s-4"));
        let refused = read(r#"{"id":2,"error":{"code":103,"message":"no"}}"#, 0);
        assert!(matches!(refused, Some(Incoming::Refused(why)) if why.contains("103")));
        let rejected = read(r#"{"id":20,"error":{"code":103}}"#, 0);
        assert!(matches!(rejected, Some(Incoming::Rejected { id: Some(id), .. }) if id == "s-4"));
        let bye = read(
            r#"{"push":{"disconnect":{"code":3008,"reason":"slow"}}}"#,
            0,
        );
        assert!(matches!(bye, Some(Incoming::Bye { reason }) if reason.contains("slow")));
        assert_eq!(read("nonsense", 0), None);
    }

    #[test]
    fn who_resumes_says_from_where() {
        let mut seat = Seat {
            room: "aaa",
            user: "harry",
            since: None,
            is_proven: false,
        };
        assert!(opening(&seat, false).ends_with(r#"{"id":2,"subscribe":{"channel":"live:aaa"}}"#));
        seat.since = Some(7);
        assert!(
            opening(&seat, true).ends_with(r#"{"channel":"kept:aaa","offset":7,"recover":true}}"#)
        );
        let sent = send("aaa", true, "s-4", "x");
        assert!(sent.contains(r#""id":20"#) && sent.contains(r#""channel":"kept:aaa""#));
    }
}
