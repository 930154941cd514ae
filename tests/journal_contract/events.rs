//! Events to append.

use safe_chat::{
    bus::Commit,
    journal::Claim,
    room::{Body, CommandId, Event, Kind, Millis, Seq, UserId},
};

/// A message at a place.
pub fn message(seq: u64, text: &str) -> Event {
    event(seq, Body::Text(format!("{text} {seq}").into()))
}

/// A sealed message of a size.
pub fn sized(seq: u64, bytes: usize) -> Event {
    event(seq, Body::Sealed(vec![seq as u8; bytes].into()))
}

/// A commit of `count` messages.
pub fn commit(claim: Claim, first: u64, count: u64, text: &str) -> Commit {
    Commit {
        epoch: claim.epoch(),
        events: (first..first + count)
            .map(|seq| message(seq, text))
            .collect(),
    }
}

fn event(seq: u64, body: Body) -> Event {
    let (from, id) = (
        UserId::parse("harry").unwrap(),
        CommandId::parse(&format!("m{seq}")),
    );
    Event {
        seq: Seq(seq),
        at: Millis(1000 + seq),
        kind: Kind::Message {
            from,
            to: None,
            body,
            id,
            device: None,
            turn: None,
            request: None,
        },
        changes: vec![],
    }
}
