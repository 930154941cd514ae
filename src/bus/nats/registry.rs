//! The cluster's records on NATS: key-value buckets, compare-and-set by revision (the position of a
//! key's last message).

use super::{
    Nats,
    commands::millis,
    expiring,
    poll::Poll,
    reader::{Entry, Purpose, Reader, Start, Step},
    settings,
    skipped::{Skipped, Unfit},
    subjects::{Subjects, last_token},
};
use crate::{
    bus::{
        Error, Held, NodeRecord, NodeSeen, Plan, Registry, Role, Settings, ShardRecord, ShardSeen,
        codec::{
            Bad, decode_node, decode_plan, decode_shard, encode_node, encode_plan, encode_shard,
        },
    },
    room::{Incarnation, Millis, RoomId, ShardId},
};
use async_nats::HeaderMap;
use async_trait::async_trait;
use bytes::Bytes;
use futures::{
    StreamExt,
    stream::{BoxStream, unfold},
};
use std::{
    collections::HashMap,
    sync::{Arc, PoisonError},
};

/// The header by which a bucket says that a key was deleted.
const OPERATION: &str = "KV-Operation";
/// What a note that a node was declared down holds: its key says all.
const DOWN: &[u8] = br#"{"down":true}"#;
/// What a server writes beside a stored message that it was asked for.
const ANSWERED_FROM: &str = "Nats-Stream";
/// The key of the plan, beside those of the shards.
const PLAN: &str = "plan";

#[async_trait]
impl Registry for Nats {
    async fn settings(&self, wanted: &Settings) -> Result<Settings, Error> {
        let stored = settings::agree(&self.registry, &self.subjects, wanted, self.writes).await?;
        if stored.contradiction(wanted).is_none() {
            *self.agreed.lock().unwrap_or_else(PoisonError::into_inner) = Some(stored);
        }
        Ok(stored)
    }

    async fn stores_newer_forms(&self) -> Result<bool, Error> {
        settings::are_newer(&self.registry, &self.subjects).await
    }

    async fn held(&self) -> Result<Option<Held>, Error> {
        match settings::stored(&self.registry, &self.subjects).await? {
            Some(stored) if stored.held_until > Millis(0) => {
                Ok(stored.held_at(self.server_time().await?))
            }
            _ => Ok(None),
        }
    }

    async fn beat(&self, node: &NodeRecord) -> Result<(), Error> {
        let subject = self.key_of(node);
        self.registry
            .store(subject, HeaderMap::new(), encode_node(node), None)
            .await
            .map(drop)
    }

    /// Under whatever key its record has.
    async fn forget(&self, node: Incarnation) -> Result<(), Error> {
        let (bucket, key) = (self.subjects.bucket("NODES"), node.to_string());
        let mut keys = Vec::new();
        if node.says_its_node() {
            let pattern = self.subjects.key("NODES", &format!("*.*.{node}"));
            keys = self.registry.subjects(&bucket, &pattern).await?;
        }
        if keys.is_empty() {
            keys.push(self.subjects.key("NODES", &key));
        }
        for key in keys {
            self.delete(key).await?;
        }
        Ok(())
    }

    async fn down(&self, node: Incarnation) -> Result<(), Error> {
        self.registry
            .store(
                self.subjects.down(node),
                HeaderMap::new(),
                Bytes::from_static(DOWN),
                None,
            )
            .await?;
        self.forget(node).await
    }

    async fn clear_down(&self, node: Incarnation) -> Result<(), Error> {
        self.delete(self.subjects.down(node)).await
    }

    async fn nodes(&self) -> Result<BoxStream<'static, NodeSeen>, Error> {
        let names = self.names.clone();
        let seen = self.watch("NODES", read_node, NodeSeen::Current).await?;
        Ok(seen.inspect(move |seen| names.note(seen)).boxed())
    }

    async fn shard(&self, shard: ShardId) -> Result<Option<(ShardRecord, u64)>, Error> {
        Ok(self.find_shard(shard).await?.ok())
    }

    /// Where nothing is expected, a record that was removed or cannot be read is replaced.
    async fn set_shard(
        &self,
        shard: ShardId,
        record: &ShardRecord,
        expected: u64,
    ) -> Result<u64, Error> {
        let subject = self.subjects.key("SHARDS", &shard.to_string());
        let store = async |expected| {
            let (subject, value) = (subject.clone(), encode_shard(record));
            let stored = self
                .registry
                .store(subject, HeaderMap::new(), value, Some(expected));
            stored.await.map(|position| position.0)
        };
        match store(expected).await {
            Err(Error::Conflict(why)) if expected == 0 => match self.find_shard(shard).await? {
                Err(vacant) if vacant > 0 => store(vacant).await,
                _ => Err(Error::Conflict(why)),
            },
            stored => stored,
        }
    }

    async fn plan(&self) -> Result<Option<(Plan, u64)>, Error> {
        let subject = self.subjects.key("SHARDS", PLAN);
        let bucket = self.subjects.bucket("SHARDS");
        let Some(stored) = self.registry.last(&bucket, &subject).await? else {
            return Ok(None);
        };
        if is_deletion(Some(&stored.headers)) {
            return Ok(Some((Plan::default(), stored.sequence)));
        }
        let plan = decode_plan(&stored.payload).map_err(|bad| {
            Error::Unusable(format!(
                "{subject} cannot be read ({bad}): remove it (nats kv del {bucket} {PLAN}), and \
                 rebalance again"
            ))
        })?;
        Ok(Some((plan, stored.sequence)))
    }

    async fn set_plan(&self, plan: &Plan, expected: u64) -> Result<u64, Error> {
        let subject = self.subjects.key("SHARDS", PLAN);
        let stored = self
            .registry
            .store(subject, HeaderMap::new(), encode_plan(plan), Some(expected))
            .await?;
        Ok(stored.0)
    }

    async fn shards(&self) -> Result<BoxStream<'static, ShardSeen>, Error> {
        self.watch("SHARDS", read_shard, ShardSeen::Current).await
    }

    async fn mark(&self, node: Incarnation, room: &RoomId) -> Result<(), Error> {
        let name = self.own_name(node);
        let name = name.filter(|_| self.names.all_read_names());
        self.registry
            .store(
                self.subjects.mark(name, node, room),
                HeaderMap::new(),
                Bytes::new(),
                None,
            )
            .await
            .map(drop)
    }

    /// Removes the note without leaving a marker of its deletion, of which there would be ever
    /// more. Only the note that is there now: should this arrive late, it does not take back a
    /// later one.
    async fn unmark(&self, node: Incarnation, room: &RoomId) -> Result<(), Error> {
        let stream = self.subjects.bucket("SESSIONS");
        for pattern in self.subjects.marks_like(node, room) {
            if let Some(note) = self.registry.last(&stream, &pattern).await? {
                let (key, at) = (note.subject.to_string(), note.sequence);
                // Who may write only this note may not purge.
                let expires = self.own_name(node).is_some()
                    && expiring::expire(&self.registry, &key, at).await?;
                if !expires {
                    self.registry.purge(&stream, &key, Some(at + 1)).await?;
                }
            }
        }
        Ok(())
    }

    async fn marks(&self, shard: ShardId) -> Result<Vec<(Incarnation, RoomId)>, Error> {
        self.marked(&self.subjects.marks_of(shard)).await
    }

    async fn marked_by(&self, node: Incarnation) -> Result<Vec<RoomId>, Error> {
        let marks = self.marked(&self.subjects.marks_by(node)).await?;
        Ok(marks.into_iter().map(|(_, room)| room).collect())
    }
}

/// What a record means.
type Read<T> = fn(&Subjects, Entry) -> Result<Option<T>, Unfit>;

/// Where a watcher's records come from.
enum Source {
    Consumer(Box<Reader>),
    Poll(Box<Poll>),
}

impl Source {
    async fn next(&mut self) -> Step {
        match self {
            Self::Consumer(reader) => reader.next().await,
            Self::Poll(poll) => poll.next().await,
        }
    }
}

/// Watches a bucket: what its records mean, and which revision of each key was told already.
struct Watcher<T> {
    reader: Source,
    read: Read<T>,
    subjects: Arc<Subjects>,
    skipped: Skipped,
    /// Told once, when everything that was stored at the beginning has been; `None` after that.
    current: Option<T>,
    /// By position and time: a bucket that was made anew counts from one again.
    told: HashMap<String, (u64, i128)>,
}

impl Nats {
    async fn delete(&self, key: String) -> Result<(), Error> {
        let mut headers = HeaderMap::new();
        headers.insert(OPERATION, "DEL");
        self.registry
            .store(key, headers, Bytes::new(), None)
            .await
            .map(drop)
    }

    /// A shard's record and its revision; else the revision of what is in its place, 0: nothing.
    async fn find_shard(&self, shard: ShardId) -> Result<Result<(ShardRecord, u64), u64>, Error> {
        let subject = self.subjects.key("SHARDS", &shard.to_string());
        let bucket = self.subjects.bucket("SHARDS");
        let Some(stored) = self.registry.last(&bucket, &subject).await? else {
            return Ok(Err(0));
        };
        if is_deletion(Some(&stored.headers)) {
            return Ok(Err(stored.sequence));
        }
        let read = check_no_answer(Some(&stored.headers))
            .and_then(|()| read_record(&stored.payload, stored.time.unix_timestamp_nanos()));
        let record = self.skipped.fits("record", &subject, read);
        Ok(record
            .map(|record| (record, stored.sequence))
            .ok_or(stored.sequence))
    }

    /// The marks whose keys match a pattern, each once.
    async fn marked(&self, patterns: &[String]) -> Result<Vec<(Incarnation, RoomId)>, Error> {
        let bucket = self.subjects.bucket("SESSIONS");
        let mut marks = Vec::new();
        for pattern in patterns {
            for subject in self.registry.subjects(&bucket, pattern).await? {
                let read = self.subjects.marked(&subject);
                let Some((node, name, room)) = self.skipped.fits("mark", &subject, read) else {
                    continue;
                };
                // So that it can be asked whether the node is there.
                name.inspect(|name| self.names.learn(node, name));
                if !marks.contains(&(node, room.clone())) {
                    marks.push((node, room));
                }
            }
        }
        Ok(marks)
    }

    async fn watch<T: Send + 'static>(
        &self,
        bucket: &str,
        read: Read<T>,
        current: T,
    ) -> Result<BoxStream<'static, T>, Error> {
        let (stream, filter) = (self.subjects.bucket(bucket), self.subjects.key(bucket, ">"));
        let reader = match self.writes {
            true => {
                let purpose = Purpose {
                    name: format!("watch-{}", bucket.to_lowercase()),
                    description: format!("follows the bucket of {}", bucket.to_lowercase()),
                };
                let start = Start::LastPerSubject;
                let (link, skipped) = (&self.registry, &self.skipped);
                Source::Consumer(Box::new(
                    Reader::open(link, skipped, stream, filter, purpose, start).await?,
                ))
            }
            false => Source::Poll(Box::new(Poll::new(&self.registry, stream, filter))),
        };
        let watcher = Watcher {
            reader,
            read,
            subjects: self.subjects.clone(),
            skipped: self.skipped.clone(),
            current: Some(current),
            told: HashMap::new(),
        };
        Ok(Box::pin(unfold(watcher, |mut watcher| async move {
            Some((watcher.next().await, watcher))
        })))
    }
}

impl<T> Watcher<T> {
    async fn next(&mut self) -> T {
        loop {
            match self.reader.next().await {
                Step::Current => {
                    if let Some(current) = self.current.take() {
                        return current;
                    }
                }
                Step::Entry(entry) => {
                    if let Some(seen) = self.take(entry) {
                        return seen;
                    }
                }
            }
        }
    }

    /// A record that was not told yet. After a loss of the connection all of them are read again.
    /// Deletions of before the beginning are no news.
    fn take(&mut self, entry: Entry) -> Option<T> {
        let key = entry.subject.to_string();
        let which = (entry.position, entry.at);
        let is_news = self.told.insert(key.clone(), which) != Some(which);
        if let Err(why) = check_no_answer(entry.headers.as_ref()) {
            return self.skipped.fits("record", &key, Err(why));
        }
        if is_deletion(entry.headers.as_ref()) && self.current.is_some() {
            return None;
        }
        let read = (self.read)(&self.subjects, entry);
        let read = self.skipped.fits("record", &key, read);
        read.flatten().filter(|_| is_news)
    }
}

/// Whether a record is the marker that a key was removed.
pub(super) fn is_deletion(headers: Option<&HeaderMap>) -> bool {
    headers.is_some_and(|headers| headers.get(OPERATION).is_some())
}

/// Whether a stored message is what the server answered somebody, who had the answer sent to where
/// it was stored: that is no word of a node.
pub(super) fn is_answer(headers: Option<&HeaderMap>) -> bool {
    headers.is_some_and(|headers| headers.get(ANSWERED_FROM).is_some())
}

/// The error of a message that is none of a node, but such an answer.
pub(super) fn check_no_answer(headers: Option<&HeaderMap>) -> Result<(), Unfit> {
    match is_answer(headers) {
        false => Ok(()),
        true => Err(Unfit::Forged("it is an answer of the server".into())),
    }
}

/// A node's record says of itself which node it is; it is kept under that name.
pub(super) fn read_node(subjects: &Subjects, entry: Entry) -> Result<Option<NodeSeen>, Unfit> {
    if let Some(node) = subjects.downed(&entry.subject) {
        if is_deletion(entry.headers.as_ref()) {
            return Ok(None);
        }
        // An answer of the server that somebody had sent there is no operator's word.
        if entry.payload != DOWN || is_answer(entry.headers.as_ref()) {
            return Err(Bad("it does not say that the node is down".into()).into());
        }
        return Ok(Some(NodeSeen::Downed(node)));
    }
    let (incarnation, bearer) = subjects.node_of(&entry.subject)?;
    if is_deletion(entry.headers.as_ref()) {
        return Ok(Some(NodeSeen::Forgotten(incarnation)));
    }
    let node = decode_node(&entry.payload)?;
    if node.incarnation != incarnation {
        return Err(Bad("it is another node's than its key says".into()).into());
    }
    let writes = node.roles.contains(&Role::Writer);
    if bearer.is_some_and(|bearer| bearer.name != node.name || bearer.writes != writes) {
        return Err(Unfit::Forged(
            "its name or roles are not those of its key".into(),
        ));
    }
    Ok(Some(NodeSeen::Beat {
        node,
        revision: entry.position,
    }))
}

/// The record of a shard that was stored at a time. One with an epoch that nobody can have had
/// counts as unreadable: its owner, or the next one, writes it again.
fn read_record(payload: &[u8], at: i128) -> Result<ShardRecord, Unfit> {
    let record = decode_shard(payload)?;
    match record.epoch.is_possible(millis(at)) {
        true => Ok(record),
        false => Err(Unfit::Forged(format!(
            "its epoch {} is higher than any owner's can be",
            record.epoch
        ))),
    }
}

pub(super) fn read_shard(subjects: &Subjects, entry: Entry) -> Result<Option<ShardSeen>, Unfit> {
    if last_token(&entry.subject) == settings::SETTINGS || is_deletion(entry.headers.as_ref()) {
        return Ok(None);
    }
    if last_token(&entry.subject) == PLAN {
        return Ok(Some(ShardSeen::Plan(decode_plan(&entry.payload)?)));
    }
    Ok(Some(ShardSeen::Stored {
        shard: subjects.shard_of(&entry.subject)?,
        record: read_record(&entry.payload, entry.at)?,
        revision: entry.position,
    }))
}
