//! Names on the servers: what the prefix makes of subjects, streams and buckets, and back.

use super::skipped::Unfit;
use crate::{
    bus::{Error, codec::Bad},
    room::{Incarnation, RoomId, ShardId, Shards},
};
use uuid::Uuid;

/// Names under one prefix. With prefix `chat`: stream `CHAT_CMD`, subject
/// `chat.cmd.<shard>.<room>`.
#[derive(Debug, Clone)]
pub(super) struct Subjects {
    prefix: String,
    upper: String,
    shards: Shards,
}

impl Subjects {
    /// Says what is wrong with a prefix, if something is.
    pub(super) fn check(prefix: &str) -> Result<(), Error> {
        let allowed =
            |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-';
        match (1..=32).contains(&prefix.len()) && prefix.bytes().all(allowed) {
            true => Ok(()),
            false => Err(Error::Unusable(format!(
                "bus.prefix is `{prefix}`; it must be 1 to 32 characters of a-z 0-9 _ -"
            ))),
        }
    }

    /// A prefix is 1 to 32 characters of `a-z 0-9 _ -`, so that a stream's name shows which prefix
    /// made it.
    pub(super) fn new(prefix: &str, shards: Shards) -> Result<Self, Error> {
        Self::check(prefix)?;
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

    /// How many shards rooms are spread over.
    pub(super) fn shards(&self) -> Shards {
        self.shards
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

    pub(super) fn shard(&self, room: &RoomId) -> ShardId {
        self.shards.of(room)
    }

    pub(super) fn ask(&self, shard: ShardId) -> String {
        format!("{}.ask.{shard}", self.prefix)
    }

    pub(super) fn inbox(&self, node: Incarnation) -> String {
        format!("{}.node.{node}.in", self.prefix)
    }

    pub(super) fn consult(&self, node: Incarnation) -> String {
        format!("{}.node.{node}.manage", self.prefix)
    }

    pub(super) fn probe(&self, node: Incarnation) -> String {
        format!("{}.node.{node}.probe", self.prefix)
    }

    /// Where a node answers probes as well: not below the prefix, because people listen to all
    /// that is (`nats sub 'chat.>'`), and the server takes a listener for somebody who may answer.
    pub(super) fn probe_apart(&self, node: Incarnation) -> String {
        format!("{}-probe.{node}", self.prefix)
    }

    /// The subject by which one connection speaks to itself.
    pub(super) fn echo(&self, connection: Uuid) -> String {
        format!("{}.node.{connection}.echo", self.prefix)
    }

    /// Where every node says how it is.
    pub(super) fn health(&self) -> String {
        format!("{}.srv.health", self.prefix)
    }

    /// Where one node says how it is.
    pub(super) fn health_of(&self, node: Incarnation) -> String {
        format!("{}.srv.{node}.health", self.prefix)
    }

    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The key of a note that a node was declared down.
    pub(super) fn down(&self, node: Incarnation) -> String {
        self.key("NODES", &format!("{node}.down"))
    }

    /// The key of a note that a node has sessions in a room.
    pub(super) fn mark(&self, node: Incarnation, room: &RoomId) -> String {
        self.key(
            "SESSIONS",
            &format!("{node}.{}.{room}", self.shards.of(room)),
        )
    }

    /// The filter for the notes about a shard.
    pub(super) fn marks_of(&self, shard: ShardId) -> String {
        self.key("SESSIONS", &format!("*.{shard}.*"))
    }

    /// The filter for the notes of a node.
    pub(super) fn marks_by(&self, node: Incarnation) -> String {
        self.key("SESSIONS", &format!("{node}.*.*"))
    }

    // And back. What others wrote fits if this node would have written it under the same subject:
    // that ties a room to its shard at the edge, and everything behind it may trust that.

    /// The room of a subject that [`Self::command`] made.
    pub(super) fn commanded(&self, subject: &str) -> Result<RoomId, Unfit> {
        let room = room_of(subject)?;
        self.belongs(&room, subject == self.command(&room))?;
        Ok(room)
    }

    /// The room of a subject that [`Self::event`] made.
    pub(super) fn published(&self, subject: &str) -> Result<RoomId, Unfit> {
        let room = room_of(subject)?;
        self.belongs(&room, subject == self.event(&room))?;
        Ok(room)
    }

    /// Whether a question about a room may come under this subject.
    pub(super) fn asked(&self, subject: &str, room: &RoomId) -> Result<(), Unfit> {
        self.belongs(room, subject == self.ask(self.shards.of(room)))
    }

    /// Whether the head of a room may come under this subject.
    pub(super) fn told(&self, subject: &str, room: &RoomId) -> Result<(), Unfit> {
        self.belongs(room, subject == self.heads(self.shards.of(room)))
    }

    /// Node and room of a subject that [`Self::mark`] made.
    pub(super) fn marked(&self, subject: &str) -> Result<(Incarnation, RoomId), Unfit> {
        let room = room_of(subject)?;
        let node = subject.rsplit('.').nth(2).and_then(Incarnation::parse);
        let node = node.ok_or_else(|| Bad("its key names no node".into()))?;
        self.belongs(&room, subject == self.mark(node, &room))?;
        Ok((node, room))
    }

    /// The shard that a record is of; one of this cluster.
    pub(super) fn shard_of(&self, subject: &str) -> Result<ShardId, Unfit> {
        let shard = last_token(subject).parse().ok().map(ShardId);
        let known = shard.filter(|shard| {
            shard.0 < self.shards.count() && subject == self.key("SHARDS", &shard.to_string())
        });
        Ok(known.ok_or_else(|| Bad("its key is not a shard's of this cluster".into()))?)
    }

    /// The node that a record is of.
    pub(super) fn node_of(&self, subject: &str) -> Result<Incarnation, Unfit> {
        let node = Incarnation::parse(last_token(subject));
        Ok(node.ok_or_else(|| Bad("its key is not a node's".into()))?)
    }

    /// The node of a subject that [`Self::down`] made; `None`: it is another one's.
    pub(super) fn downed(&self, subject: &str) -> Option<Incarnation> {
        let node = Incarnation::parse(last_token(subject.strip_suffix(".down")?))?;
        (subject == self.down(node)).then_some(node)
    }

    fn belongs(&self, room: &RoomId, fits: bool) -> Result<(), Unfit> {
        fits.then_some(()).ok_or_else(|| Unfit::Stray {
            room: room.clone(),
            shard: self.shards.of(room),
        })
    }
}

/// The last token of a subject.
pub(super) fn last_token(subject: &str) -> &str {
    subject.rsplit('.').next().unwrap_or(subject)
}

fn room_of(subject: &str) -> Result<RoomId, Bad> {
    Ok(RoomId::parse(last_token(subject))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subjects() -> Subjects {
        Subjects::new("chat", Shards::new(16).unwrap()).unwrap()
    }

    /// `subject` with every other shard, and with other spellings of the right one.
    fn astray(subject: &str, shard: ShardId) -> Vec<String> {
        let others = (0..20).map(|other| other.to_string());
        let spelled = [format!("0{shard}"), format!("+{shard}"), String::new()];
        let wrong = others
            .chain(spelled)
            .filter(|one| *one != shard.to_string());
        wrong
            .map(|other| subject.replacen(&format!(".{shard}."), &format!(".{other}."), 1))
            .collect()
    }

    #[test]
    fn a_room_comes_under_no_other_shard() {
        let (all, room) = (subjects(), RoomId::parse("hroom2").unwrap());
        let (node, shard) = (
            Incarnation::new(uuid::Uuid::from_u128(7)),
            all.shards.of(&room),
        );
        let stray = |read: Result<RoomId, Unfit>| matches!(read, Err(Unfit::Stray { .. }));
        assert_eq!(all.commanded(&all.command(&room)).unwrap(), room);
        assert_eq!(all.published(&all.event(&room)).unwrap(), room);
        assert_eq!(
            all.marked(&all.mark(node, &room)).unwrap(),
            (node, room.clone())
        );
        all.asked(&all.ask(shard), &room).unwrap();
        all.told(&all.heads(shard), &room).unwrap();
        for subject in astray(&all.command(&room), shard) {
            assert!(stray(all.commanded(&subject)), "{subject}");
        }
        for subject in astray(&all.event(&room), shard) {
            assert!(stray(all.published(&subject)), "{subject}");
        }
        for subject in astray(&all.mark(node, &room), shard) {
            assert!(
                stray(all.marked(&subject).map(|(_, room)| room)),
                "{subject}"
            );
        }
        for other in (0..20).map(ShardId).filter(|other| *other != shard) {
            all.asked(&all.ask(other), &room).unwrap_err();
            all.told(&all.heads(other), &room).unwrap_err();
        }
    }

    #[test]
    fn a_record_is_of_a_shard_of_this_cluster() {
        let all = subjects();
        for shard in [0, 15] {
            let key = all.key("SHARDS", &shard.to_string());
            assert_eq!(all.shard_of(&key).unwrap(), ShardId(shard));
        }
        for key in ["16", "65535", "65536", "03", "+3", "", "settings", "x.3"] {
            all.shard_of(&all.key("SHARDS", key)).unwrap_err();
        }
    }
}
