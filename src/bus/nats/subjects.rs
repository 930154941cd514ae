//! Names on the servers: what the prefix makes of subjects, streams and buckets, and back.

use crate::{
    bus::Error,
    room::{Incarnation, RoomId, ShardId, Shards},
};

/// Names under one prefix. With prefix `chat`: stream `CHAT_CMD`, subject `chat.cmd.<shard>.<room>`.
#[derive(Debug, Clone)]
pub(super) struct Subjects {
    prefix: String,
    upper: String,
    shards: Shards,
}

impl Subjects {
    /// A prefix is 1 to 32 characters of `a-z 0-9 _ -`, so that a stream's name shows which prefix made it.
    pub(super) fn new(prefix: &str, shards: Shards) -> Result<Self, Error> {
        let allowed =
            |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-';
        if !(1..=32).contains(&prefix.len()) || !prefix.bytes().all(allowed) {
            return Err(Error::Unusable(format!(
                "bus.prefix is `{prefix}`; it must be 1 to 32 characters of a-z 0-9 _ -"
            )));
        }
        Ok(Self {
            prefix: prefix.into(),
            upper: prefix.to_uppercase(),
            shards,
        })
    }

    /// What is written for prefix `chat` (a definition in nats/), written for this one.
    pub(super) fn rename(&self, text: &str) -> String {
        text.replace("CHAT_", &format!("{}_", self.upper))
            .replace("chat.", &format!("{}.", self.prefix))
    }

    pub(super) fn stream(&self, kind: &str) -> String {
        format!("{}_{kind}", self.upper)
    }

    /// The stream of a bucket.
    pub(super) fn bucket(&self, kind: &str) -> String {
        format!("KV_{}_{kind}", self.upper)
    }

    /// The subject of a key of a bucket.
    pub(super) fn key(&self, kind: &str, key: &str) -> String {
        format!("$KV.{}_{kind}.{key}", self.upper)
    }

    pub(super) fn command(&self, room: &RoomId) -> String {
        format!("{}.cmd.{}.{room}", self.prefix, self.shards.of(room))
    }

    pub(super) fn commands_of(&self, shard: ShardId) -> String {
        format!("{}.cmd.{shard}.>", self.prefix)
    }

    pub(super) fn event(&self, room: &RoomId) -> String {
        format!("{}.evt.{}.{room}", self.prefix, self.shards.of(room))
    }

    pub(super) fn all_events(&self) -> String {
        format!("{}.evt.>", self.prefix)
    }

    pub(super) fn live(&self, room: &RoomId) -> String {
        format!("{}.live.{}.{room}", self.prefix, self.shards.of(room))
    }

    pub(super) fn heads(&self, shard: ShardId) -> String {
        format!("{}.head.{shard}", self.prefix)
    }

    pub(super) fn all_heads(&self) -> String {
        format!("{}.head.*", self.prefix)
    }

    pub(super) fn ask(&self, shard: ShardId) -> String {
        format!("{}.ask.{shard}", self.prefix)
    }

    pub(super) fn inbox(&self, node: Incarnation) -> String {
        format!("{}.node.{node}.in", self.prefix)
    }

    pub(super) fn probe(&self, node: Incarnation) -> String {
        format!("{}.node.{node}.probe", self.prefix)
    }

    /// A subject that nobody subscribes to: the server says so at once, which makes a round trip.
    pub(super) fn nobody(&self) -> String {
        format!("{}.nobody", self.prefix)
    }

    /// The key of a note that a node has sessions in a room.
    pub(super) fn mark(&self, node: Incarnation, shard: ShardId, room: &RoomId) -> String {
        self.key("SESSIONS", &format!("{node}.{shard}.{room}"))
    }

    /// The filter for the notes about a shard.
    pub(super) fn marks_of(&self, shard: ShardId) -> String {
        self.key("SESSIONS", &format!("*.{shard}.*"))
    }
}

/// The last token of a subject.
pub(super) fn last_token(subject: &str) -> &str {
    subject.rsplit('.').next().unwrap_or(subject)
}

/// Node and room of the subject that [`Subjects::mark`] made.
pub(super) fn parse_mark(subject: &str) -> Option<(Incarnation, RoomId)> {
    let mut tokens = subject.rsplit('.');
    let (room, _shard, node) = (tokens.next()?, tokens.next()?, tokens.next()?);
    Some((Incarnation::parse(node)?, RoomId::parse(room).ok()?))
}
