//! What nodes say to each other and what the cluster keeps on the bus: read, written and read again
//! it is the same; described it is one line without a secret.

use super::shown::is_one_line;
use bytes::Bytes;
use safe_chat::{
    bus::{
        Answered, Commit, Inbound, Submission,
        codec::{self, Bad},
        describe,
    },
    journal::codec::{decode_commit, encode_commit},
    room::{Action, Body, Change, Key, Kind, Limits, RoomId},
};
use std::fmt::Debug;

/// One of each kind, none for what is told by its shape.
const SUBJECTS: [Option<&str>; 7] = [
    None,
    Some("chat.cmd.3.aaa"),
    Some("chat.live.3.aaa"),
    Some("chat.node.0.in"),
    Some("chat.head.3"),
    Some("chat.ask.3"),
    Some("$KV.CHAT_SHARDS.3"),
];

pub fn check(bytes: &[u8]) {
    let room = RoomId::parse("aaa").expect("a room");
    let command = same(
        bytes,
        |bytes| codec::decode_command(&room, bytes),
        codec::encode_command,
    );
    let inbound = same(bytes, codec::decode_inbound, codec::encode_inbound);
    same(bytes, codec::decode_ask, codec::encode_ask);
    let view = same(bytes, codec::decode_view, codec::encode_view);
    let heads = same(bytes, codec::decode_heads, |heads: &Vec<_>| {
        codec::encode_heads(heads)
    });
    same(
        bytes,
        |bytes| codec::decode_node(&bytes),
        codec::encode_node,
    );
    let shard = same(
        bytes,
        |bytes| codec::decode_shard(&bytes),
        codec::encode_shard,
    );
    same(
        bytes,
        |bytes| codec::decode_settings(&bytes),
        |settings| codec::encode_settings(settings, b""),
    );

    let mut numbers = Vec::new();
    numbers.extend(shard.map(|shard| [shard.epoch.0, shard.floor.0]));
    numbers.extend(view.map(|view| [view.epoch.0, view.head.0]));
    numbers.extend(
        heads
            .into_iter()
            .flatten()
            .map(|head| [head.epoch.0, head.seq.0]),
    );
    if let Some(Inbound::Answer(answer)) = inbound
        && let Answered::Journaled { seq, epoch, .. } = answer.answered
    {
        numbers.push([epoch.0, seq.0]);
    }
    assert!(
        numbers
            .into_iter()
            .flatten()
            .all(|number| number <= Limits::NUMBER),
        "what is counted on can overflow"
    );

    for subject in SUBJECTS {
        for bodies in [false, true] {
            is_one_line(&describe(bytes, subject, bodies));
        }
    }
    if let Some(command) = command {
        command_keeps_secrets(&command);
    }
    if let Ok(commit) = decode_commit(bytes) {
        commit_keeps_secrets(commit);
    }
}

/// What was read, if it could be; it is the same after it was written.
fn same<T: PartialEq + Debug>(
    bytes: &[u8],
    read: impl Fn(Bytes) -> Result<T, Bad>,
    write: impl Fn(&T) -> Bytes,
) -> Option<T> {
    match read(Bytes::copy_from_slice(bytes)) {
        Ok(it) => {
            let written = write(&it);
            assert_eq!(read(written.clone()).as_ref(), Ok(&it));
            assert_eq!(write(&it), written);
            Some(it)
        }
        Err(bad) => {
            is_one_line(&bad.to_string());
            None
        }
    }
}

/// The line of a command is the same with another key, and, unless contents are asked for, with
/// another content of the same size.
fn command_keeps_secrets(command: &Submission) {
    let line = |command: &Submission, bodies| {
        describe(
            &codec::encode_command(command),
            Some("chat.cmd.3.aaa"),
            bodies,
        )
    };
    let mut other = command.clone();
    if let Action::Open { key, .. } | Action::Send { key, .. } = &mut other.action {
        *key = Key::parse("another-key").expect("a key");
    }
    assert_eq!(line(&other, true), line(command, true));
    if let Action::Send { body, .. } = &mut other.action {
        *body = same_size(body);
    }
    assert_eq!(line(&other, false), line(command, false));
}

fn commit_keeps_secrets(commit: Commit) {
    let line =
        |commit: &Commit, bodies| describe(&encode_commit(commit), Some("chat.live.3.aaa"), bodies);
    let mut other = commit.clone();
    for change in other.events.iter_mut().flat_map(|event| &mut event.changes) {
        if let Change::Pinned { key, .. } = change {
            *key = Key::parse("another-key").expect("a key");
        }
    }
    assert_eq!(line(&other, true), line(&commit, true));
    for event in &mut other.events {
        if let Kind::Message { body, .. } = &mut event.kind {
            *body = same_size(body);
        }
    }
    assert_eq!(line(&other, false), line(&commit, false));
}

fn same_size(body: &Body) -> Body {
    match body {
        Body::Text(text) => Body::Text("x".repeat(text.len()).into()),
        Body::Sealed(bytes) => Body::Sealed(vec![0; bytes.len()].into()),
        Body::Handshake(bytes) => Body::Handshake(vec![0; bytes.len()].into()),
        Body::Erased => Body::Erased,
    }
}
