//! What the claims send, and how long they wait for it.

use futures::{StreamExt, stream::BoxStream};
use safe_chat::{
    bus::{Commit, Error, Position, ShardRecord, Submission},
    room::{
        Action, Body, CommandId, Epoch, Event, Identity, Incarnation, Key, Kind, Millis, RoomId,
        Seq, SessionId, UserId,
    },
};
use std::time::Duration;
use uuid::Uuid;

/// Nothing here takes as long, except when it is broken.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn room(name: &str) -> RoomId {
    RoomId::parse(name).unwrap()
}

pub(crate) fn user(name: &str) -> UserId {
    UserId::parse(name).unwrap()
}

pub(crate) fn key() -> Key {
    Key::parse("abcDEF_-123").unwrap()
}

pub(crate) fn node() -> Incarnation {
    Incarnation::new(Uuid::now_v7())
}

pub(crate) fn session() -> SessionId {
    SessionId::new(Uuid::now_v7())
}

/// A message with a number.
pub(crate) fn send(to: &str, n: u64) -> Submission {
    let id = CommandId::Client(format!("id-{n}").into());
    let body = Body::Text(format!("text {n}").into());
    let action = Action::Send {
        user: user("harry"),
        key: key(),
        identity: Identity::Claimed,
        turn: None,
        request: None,
        after: 0,
        id,
        to: None,
        body,
    };
    Submission {
        room: room(to),
        action,
        reply: None,
    }
}

/// The number of a message.
pub(crate) fn number(submission: &Submission) -> u64 {
    match &submission.action {
        Action::Send {
            id: CommandId::Client(id),
            ..
        } => id.trim_start_matches("id-").parse().unwrap(),
        other => panic!("not a numbered message: {other:?}"),
    }
}

/// A commit of the places `first..=last`.
pub(crate) fn commit(epoch: u64, first: u64, last: u64) -> Commit {
    let event = |seq| Event {
        seq: Seq(seq),
        at: Millis(1_700_000_000_000 + seq),
        kind: Kind::Message {
            from: user("harry"),
            to: None,
            body: Body::Text(format!("text {seq}").into()),
            id: Some(CommandId::Client(format!("id-{seq}").into())),
            device: None,
            turn: None,
            request: None,
        },
        changes: Vec::new(),
    };
    Commit {
        epoch: Epoch(epoch),
        events: (first..=last).map(event).collect(),
    }
}

pub(crate) fn record(owner: Option<Incarnation>, epoch: u64, floor: u64) -> ShardRecord {
    ShardRecord {
        owner,
        epoch: Epoch(epoch),
        floor: Position(floor),
        ..ShardRecord::default()
    }
}

/// What a future gives, which must be soon.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .expect("it takes too long")
}

/// The next item of a stream that never ends.
pub(crate) async fn next<T>(stream: &mut BoxStream<'static, T>) -> T {
    soon(stream.next()).await.expect("the stream does not end")
}

/// What a call gives once it succeeds: the servers are about to come back, or to learn of a
/// subscription.
pub(crate) async fn until_ok<T>(mut call: impl AsyncFnMut() -> Result<T, Error>) -> T {
    soon(async {
        loop {
            match call().await {
                Ok(value) => return value,
                Err(Error::Unavailable(_) | Error::Unknown(_) | Error::NoResponders(_)) => {
                    tokio::time::sleep(Duration::from_millis(5)).await
                }
                Err(error) => panic!("{error}"),
            }
        }
    })
    .await
}
