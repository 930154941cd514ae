//! Names on the servers: what the prefix makes of subjects, streams and buckets, and back.

use super::skipped::Unfit;
use crate::{
    bus::{Error, codec::Bad},
    room::{Incarnation, RoomId, ShardId, Shards},
};
use std::fmt::Write;
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

    /// Where a gateway stores its commands: a permission can say whose they are.
    pub(super) fn command_by(&self, room: &RoomId, node: &str) -> String {
        format!("{}.{}", self.command(room), token(node))
    }

    pub(super) fn commands_of(&self, shard: ShardId) -> String {
        format!("{}.cmd.{shard}.>", self.prefix)
    }

    pub(super) fn event(&self, room: &RoomId) -> String {
        format!("{}.evt.{}.{room}", self.prefix, self.shards.of(room))
    }

    pub(super) fn events_of(&self, shard: ShardId) -> String {
        format!("{}.evt.{shard}.*", self.prefix)
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

    // Of a run of a node. `of`: the node's name; none for a run of an older version.

    pub(super) fn inbox(&self, of: Option<&str>, node: Incarnation) -> String {
        self.at(of, node, "in")
    }

    pub(super) fn consult(&self, of: Option<&str>, node: Incarnation) -> String {
        self.at(of, node, "manage")
    }

    pub(super) fn probe(&self, of: Option<&str>, node: Incarnation) -> String {
        self.at(of, node, "probe")
    }

    /// Where a node answers probes as well: not below the prefix, because people listen to all
    /// that is (`nats sub 'chat.>'`), and the server takes a listener for somebody who may answer.
    pub(super) fn probe_apart(&self, of: Option<&str>, node: Incarnation) -> String {
        let prefix = &self.prefix;
        match of {
            Some(name) => format!("{prefix}-probe.{}.{node}", token(name)),
            None => format!("{prefix}-probe.{node}"),
        }
    }

    fn at(&self, of: Option<&str>, node: Incarnation, what: &str) -> String {
        let prefix = &self.prefix;
        match of {
            Some(name) => format!("{prefix}.node.{}.{node}.{what}", token(name)),
            None => format!("{prefix}.node.{node}.{what}"),
        }
    }

    /// The subject by which one connection of a node speaks to itself.
    pub(super) fn echo(&self, node: &str, connection: Uuid) -> String {
        let connection = connection.simple();
        format!("{}.node.{}.{connection}.echo", self.prefix, token(node))
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

    /// The key of a note that a node has sessions in a room, with the node's name, or as older
    /// versions write it.
    pub(super) fn mark(&self, of: Option<&str>, node: Incarnation, room: &RoomId) -> String {
        let note = format!("{node}.{}.{room}", self.shards.of(room));
        let named = of.map(|name| format!("{}.{note}", token(name)));
        self.key("SESSIONS", &named.unwrap_or(note))
    }

    /// The filters for a note of a node, whatever the node's name.
    pub(super) fn marks_like(&self, node: Incarnation, room: &RoomId) -> [String; 2] {
        let note = format!("{node}.{}.{room}", self.shards.of(room));
        self.both(&note)
    }

    /// The filters for the notes about a shard.
    pub(super) fn marks_of(&self, shard: ShardId) -> [String; 2] {
        self.both(&format!("*.{shard}.*"))
    }

    /// The filters for the notes of a node.
    pub(super) fn marks_by(&self, node: Incarnation) -> [String; 2] {
        self.both(&format!("{node}.*.*"))
    }

    /// Notes that carry a name, and those of older versions.
    fn both(&self, notes: &str) -> [String; 2] {
        [
            self.key("SESSIONS", &format!("*.{notes}")),
            self.key("SESSIONS", notes),
        ]
    }

    // And back. What others wrote fits if this node would have written it under the same subject:
    // that ties a room to its shard at the edge, and everything behind it may trust that.

    /// The room of a subject that [`Self::command`] made; the node's name, too, of one that
    /// [`Self::command_by`] made.
    pub(super) fn commanded(&self, subject: &str) -> Result<(RoomId, Option<String>), Unfit> {
        let mut tokens = subject.rsplitn(4, '.');
        let (last, before) = (tokens.next(), tokens.next());
        // <prefix>.cmd.<shard> is what is left of one with a name.
        let is_named = tokens.nth(1).is_some_and(|rest| rest.contains('.'));
        if !is_named {
            let room = room_of(subject)?;
            self.belongs(&room, subject == self.command(&room))?;
            return Ok((room, None));
        }
        let room = RoomId::parse(before.unwrap_or_default()).map_err(Bad::from)?;
        let name = last.and_then(untoken);
        let name = name.ok_or_else(|| Bad("its subject names no node".into()))?;
        self.belongs(&room, subject == self.command_by(&room, &name))?;
        Ok((room, Some(name)))
    }

    /// All commands under the shard of this one, if it is none of this cluster.
    pub(super) fn of_no_shard(&self, subject: &str) -> Option<String> {
        let commands = format!("{}.cmd.", self.prefix);
        let shard = subject.strip_prefix(&commands)?.split('.').next()?;
        let number = shard.parse().ok().map(ShardId);
        let is_here =
            number.is_some_and(|it| it.0 < self.shards.count() && it.to_string() == shard);
        (!is_here).then(|| format!("{commands}{shard}.>"))
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

    /// Node, its name if it has one, and room of a subject that [`Self::mark`] made.
    pub(super) fn marked(
        &self,
        subject: &str,
    ) -> Result<(Incarnation, Option<String>, RoomId), Unfit> {
        let room = room_of(subject)?;
        let node = subject.rsplit('.').nth(2).and_then(Incarnation::parse);
        let node = node.ok_or_else(|| Bad("its key names no node".into()))?;
        let name = subject
            .strip_suffix(&format!(".{node}.{}.{room}", self.shards.of(&room)))
            .and_then(|rest| rest.strip_prefix(&*self.key("SESSIONS", "")))
            .and_then(untoken);
        self.belongs(&room, subject == self.mark(name.as_deref(), node, &room))?;
        if name.as_deref().is_some_and(|name| !node.is_of(name)) {
            return Err(Unfit::Forged("its key names another node".into()));
        }
        Ok((node, name, room))
    }

    /// The shard that a record is of; one of this cluster.
    pub(super) fn shard_of(&self, subject: &str) -> Result<ShardId, Unfit> {
        let shard = last_token(subject).parse().ok().map(ShardId);
        let known = shard.filter(|shard| {
            shard.0 < self.shards.count() && subject == self.key("SHARDS", &shard.to_string())
        });
        Ok(known.ok_or_else(|| Bad("its key is not a shard's of this cluster".into()))?)
    }

    /// The node that a record is of, and what its key says of it; nothing in one of an older
    /// version.
    pub(super) fn node_of(&self, subject: &str) -> Result<(Incarnation, Option<Bearer>), Unfit> {
        let bad = || Bad("its key is not a node's".into());
        let key = subject.strip_prefix(&*self.key("NODES", ""));
        let tokens: Vec<&str> = key.ok_or_else(bad)?.split('.').collect();
        let (node, bearer) = match tokens[..] {
            [node] => (node, None),
            [kind, name, node] => {
                let writes = match kind {
                    "writer" => true,
                    "gateway" => false,
                    _ => return Err(bad().into()),
                };
                let name = untoken(name).ok_or_else(bad)?;
                (node, Some(Bearer { name, writes }))
            }
            _ => return Err(bad().into()),
        };
        let node = Incarnation::parse(node).ok_or_else(bad)?;
        if bearer
            .as_ref()
            .is_some_and(|bearer| !node.is_of(&bearer.name))
        {
            return Err(Unfit::Forged("its key names another node".into()));
        }
        Ok((node, bearer))
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

/// What the key of a node's record says of the node, because a permission must.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Bearer {
    pub(super) name: String,
    /// Whether shards may be given to it.
    pub(super) writes: bool,
}

/// A node's name as one token of a subject or a key: what may not stand there is written as `=` and
/// two hexadecimal digits.
pub(super) fn token(name: &str) -> String {
    name.bytes().fold(String::new(), |mut token, byte| {
        match byte {
            b'-' | b'_' => token.push(byte.into()),
            _ if byte.is_ascii_alphanumeric() => token.push(byte.into()),
            _ => drop(write!(token, "={byte:02X}")),
        }
        token
    })
}

/// The name of a token that [`token`] made, and of no other.
pub(super) fn untoken(text: &str) -> Option<String> {
    let mut parts = text.split('=');
    let mut name = parts.next()?.as_bytes().to_vec();
    for part in parts {
        let (code, rest) = part.split_at_checked(2)?;
        name.push(u8::from_str_radix(code, 16).ok()?);
        name.extend(rest.bytes());
    }
    let name = String::from_utf8(name).ok()?;
    (!name.is_empty() && token(&name) == text).then_some(name)
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
            Incarnation::of_node("node.1", uuid::Uuid::from_u128(7)),
            all.shards.of(&room),
        );
        let stray = |read: Result<RoomId, Unfit>| matches!(read, Err(Unfit::Stray { .. }));
        let commanded = |subject: &str| all.commanded(subject).map(|(room, _)| room);
        let marked = |subject: &str| all.marked(subject).map(|(_, _, room)| room);
        assert_eq!(commanded(&all.command(&room)).unwrap(), room);
        assert_eq!(all.published(&all.event(&room)).unwrap(), room);
        for name in [None, Some("node.1".to_owned())] {
            let mark = all.mark(name.as_deref(), node, &room);
            assert_eq!(all.marked(&mark).unwrap(), (node, name, room.clone()));
            for subject in astray(&mark, shard) {
                assert!(stray(marked(&subject)), "{subject}");
            }
        }
        let of_another = all.mark(Some("node.2"), node, &room);
        assert!(matches!(all.marked(&of_another), Err(Unfit::Forged(_))));
        all.asked(&all.ask(shard), &room).unwrap();
        all.told(&all.heads(shard), &room).unwrap();
        let by = all.command_by(&room, "node.1");
        let read = all.commanded(&by).unwrap();
        assert_eq!(read, (room.clone(), Some("node.1".to_owned())));
        for subject in [all.command(&room), by]
            .iter()
            .flat_map(|it| astray(it, shard))
        {
            assert!(stray(commanded(&subject)), "{subject}");
        }
        let odd = format!("{}.node.1", all.command(&room));
        assert!(all.commanded(&odd).is_err(), "a name is one token");
        for subject in astray(&all.event(&room), shard) {
            assert!(stray(all.published(&subject)), "{subject}");
        }
        for other in (0..20).map(ShardId).filter(|other| *other != shard) {
            all.asked(&all.ask(other), &room).unwrap_err();
            all.told(&all.heads(other), &room).unwrap_err();
        }
    }

    #[test]
    fn a_name_is_one_token_and_comes_back() {
        for name in [
            "node-1", "a.b", "*", ">", "a=b", "a b", "=2E", "N\u{f6}", "$KV",
        ] {
            let token = token(name);
            let fits = |b: u8| b.is_ascii_alphanumeric() || b"-_=".contains(&b);
            assert!(token.bytes().all(fits), "{token}");
            assert_eq!(untoken(&token).as_deref(), Some(name));
        }
        for none in ["", "a.b", "=2e", "=2", "=", "=41", "a*", "=+E"] {
            assert_eq!(untoken(none), None, "{none}");
        }
    }

    #[test]
    fn the_key_of_a_node_says_whose_it_is_and_whether_it_writes() {
        let all = subjects();
        let node = Incarnation::of_node("one", uuid::Uuid::now_v7());
        let read = |key: String| all.node_of(&all.key("NODES", &key));
        let bearer = |writes| {
            let name = "one".to_owned();
            (node, Some(Bearer { name, writes }))
        };
        assert_eq!(read(format!("writer.one.{node}")).unwrap(), bearer(true));
        assert_eq!(read(format!("gateway.one.{node}")).unwrap(), bearer(false));
        assert_eq!(read(node.to_string()).unwrap(), (node, None));
        let forged = read(format!("gateway.two.{node}"));
        assert!(matches!(forged, Err(Unfit::Forged(_))));
        for none in ["both.one", "gateway", "gateway.one.x"] {
            read(format!("{none}.{node}")).unwrap_err();
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
