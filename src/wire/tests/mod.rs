//! What the client protocols promise, as claims.

mod contract;
mod http;
mod independent;
mod property;
mod refusals;
mod shared;
mod strategy;

use super::*;
use crate::room::{Body, CommandId, Event, Kind, Millis, Seq};

fn room() -> RoomId {
    RoomId::parse("aaa").unwrap()
}

fn user(name: &str) -> UserId {
    UserId::parse(name).unwrap()
}

fn event(seq: u64, kind: Kind) -> Event {
    Event {
        seq: Seq(seq),
        at: Millis(1_795_465_200_123),
        kind,
        changes: Vec::new(),
    }
}

fn message(to: Option<&str>, body: Body, id: Option<CommandId>) -> Kind {
    Kind::Message {
        from: user("harry"),
        to: to.map(user),
        body,
        id,
        device: None,
        turn: None,
        request: None,
    }
}

fn said(frame: Option<Encoded>) -> String {
    match frame {
        Some(Encoded::Text(text)) => text.as_str().to_owned(),
        other => panic!("not a text message: {other:?}"),
    }
}

#[test]
fn without_a_subprotocol_a_client_gets_text() {
    assert_eq!(Protocol::negotiate([]), Ok((Protocol::Text, None)));
    assert_eq!(Protocol::negotiate([" ", ","]), Ok((Protocol::Text, None)));
}

#[test]
fn the_first_known_subprotocol_wins_and_is_echoed() {
    let json = (Protocol::Json, Some("safechat.v1+json"));
    assert_eq!(Protocol::negotiate(["safechat.v1+json"]), Ok(json));
    assert_eq!(
        Protocol::negotiate(["mqtt", "safechat.v1+json, safechat.v1+proto"]),
        Ok(json)
    );
    assert_eq!(
        Protocol::negotiate(["safechat.v1+proto,safechat.v1+json"]),
        Ok((Protocol::Proto, Some("safechat.v1+proto")))
    );
}

#[test]
fn only_unknown_subprotocols_are_a_bad_query() {
    assert_eq!(
        Protocol::negotiate(["mqtt", "safechat.v2+json"])
            .unwrap_err()
            .reason,
        Reason::BadQuery
    );
    assert_eq!(
        Protocol::negotiate(["SAFECHAT.V1+JSON"])
            .unwrap_err()
            .reason,
        Reason::BadQuery
    );
}
