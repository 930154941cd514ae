//! What arrives from NATS, read by the very functions that the adapter reads it with, but without a
//! connection: fuzzing comes in here.

use super::{
    api, commands, foreign,
    reader::{Delivered, Entry},
    registry,
    subjects::Subjects,
};
use crate::room::{Incarnation, RoomId, Shards};
use async_nats::{HeaderMap, HeaderName, HeaderValue, Message, jetstream::message::StreamMessage};
use bytes::Bytes;
use std::fmt::{Debug, Display};

/// What became of a message: shown when it could be read, else why not.
pub type Reading = Result<String, String>;

/// Node and room of a note's subject.
pub fn mark(subject: &str) -> Option<(Incarnation, RoomId)> {
    let (node, _, room) = subjects().marked(subject).ok()?;
    Some((node, room))
}

/// A message of a consumer: as a command, as a node's record, as a shard's.
pub fn delivered(
    subject: &str,
    reply: &str,
    headers: &[(&str, &str)],
    payload: &Bytes,
) -> Vec<Reading> {
    let Some(Delivered { position, at, .. }) = Delivered::parse(reply) else {
        return Vec::new();
    };
    let entry = || Entry {
        position,
        at,
        subject: subject.into(),
        headers: Some(map(headers)),
        payload: payload.clone(),
    };
    let subjects = subjects();
    vec![
        reading(commands::read(&subjects, entry())),
        reading(registry::read_node(&subjects, entry())),
        reading(registry::read_shard(&subjects, entry())),
    ]
}

/// The names of a cluster with the usual prefix and one shard, so that every room fits.
fn subjects() -> Subjects {
    Subjects::new("chat", Shards::new(1).expect("a count")).expect("a prefix")
}

/// A message of a stream, as the server hands it out when it is read directly: what its headers
/// say, and the events in it.
pub fn stored(headers: &[(&str, &str)], payload: &Bytes) -> Vec<Reading> {
    let headers = Some(map(headers));
    let length = payload.len();
    let message = Message {
        subject: "_INBOX.1".into(),
        reply: None,
        payload: payload.clone(),
        headers,
        status: None,
        description: None,
        length,
    };
    match api::stream_message("STREAM", message) {
        Ok(message) => vec![written(&message)],
        Err(error) => vec![Err(error.to_string())],
    }
}

/// An answer of the JetStream API.
pub fn answered(bytes: &[u8]) -> Vec<Reading> {
    let acknowledged = api::read_acknowledged("storing", bytes);
    match api::read_message("STREAM", bytes) {
        Ok(Some(message)) => vec![reading(acknowledged), written(&message)],
        Ok(None) => vec![reading(acknowledged)],
        Err(error) => vec![reading(acknowledged), Err(error.to_string())],
    }
}

fn written(message: &StreamMessage) -> Reading {
    let at = commands::millis(message.time.unix_timestamp_nanos());
    let written = foreign::written(&message.headers, &message.payload, at);
    reading(written.map(|written| (written.seq, written.commit)))
}

fn reading(read: Result<impl Debug, impl Display>) -> Reading {
    read.map(|read| format!("{read:?}"))
        .map_err(|error| error.to_string())
}

/// Names and values that cannot be in a header are left out.
fn map(headers: &[(&str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), value.parse::<HeaderValue>()) {
            map.append(name, value);
        }
    }
    map
}
