//! What the hub keeps, and the rules by which it changes. No waiting here: every function is one
//! atomic step.

use super::{ConnectionId, buckets::Stored as Buckets, line::Line};
use crate::{
    bus::{
        Commit, Consultation, Error, Head, Health, Held, Inbound, Live, NodeRecord, Plan, Position,
        Published, Question, Settings, ShardRecord, Stored, Submission,
    },
    room::{Epoch, Incarnation, Millis, RoomId, Seq, ShardId},
    telemetry::trace::Context,
};
use bytes::Bytes;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use tokio::sync::watch;

/// Ordered maps throughout, so that a simulation repeats exactly.
#[derive(Default)]
pub(super) struct State {
    pub(super) commands: Log<Command>,
    pub(super) events: Log<Message>,
    pub(super) last_of: BTreeMap<RoomId, u64>,
    pub(super) settings: Option<Settings>,
    pub(super) held: Option<Held>,
    pub(super) nodes: Records<(Incarnation, OfNode), Option<NodeRecord>>,
    pub(super) shards: Records<ShardId, ShardRecord>,
    pub(super) plan: Records<(), Plan>,
    pub(super) marks: BTreeSet<(ShardId, Incarnation, RoomId)>,
    pub(super) blobs: Records<String, Bytes>,
    pub(super) buckets: Buckets,
    pub(super) connections: Vec<Connection>,
    /// What a new connection is told.
    pub(super) health: Health,
    pub(super) live: BTreeMap<RoomId, Vec<Line<Live>>>,
    pub(super) heads: Vec<Line<Head>>,
    pub(super) inboxes: BTreeMap<Incarnation, Vec<Line<Inbound>>>,
    pub(super) questions: BTreeMap<ShardId, Vec<Line<Question>>>,
    pub(super) consultations: BTreeMap<Incarnation, Vec<Line<Consultation>>>,
    /// Who answers probes: a guard's number, and its connection.
    pub(super) probes: BTreeMap<(Incarnation, u64), ConnectionId>,
    pub(super) guards: u64,
    /// The most bytes of a commit or a blob; `None`: any.
    pub(super) largest: Option<usize>,
}

/// A connection to the hub.
pub(super) struct Connection {
    pub(super) up: watch::Sender<bool>,
    pub(super) health: watch::Sender<Health>,
}

/// What is kept of a node, each under a key of its own.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum OfNode {
    /// Its heartbeat, a record.
    Beat,
    /// That it was declared down; without a record.
    Down,
}

/// A stored command.
pub(super) struct Command {
    pub(super) shard: ShardId,
    pub(super) at: Millis,
    pub(super) submission: Submission,
    pub(super) trace: Context,
}

/// A stored message of a room.
pub(super) struct Message {
    pub(super) room: RoomId,
    /// Its last place; of a claim the head.
    pub(super) seq: Seq,
    pub(super) content: Content,
}

pub(super) enum Content {
    Commit(Arc<Commit>),
    Claim(Epoch),
}

impl Message {
    pub(super) fn epoch(&self) -> Epoch {
        match &self.content {
            Content::Commit(commit) => commit.epoch,
            Content::Claim(epoch) => *epoch,
        }
    }

    pub(super) fn is_claim(&self) -> bool {
        matches!(self.content, Content::Claim(_))
    }

    pub(super) fn stored(&self, position: u64) -> Stored {
        let events = match &self.content {
            Content::Commit(commit) => commit.events.clone(),
            Content::Claim(_) => Vec::new(),
        };
        Stored {
            position: Position(position),
            epoch: self.epoch(),
            seq: self.seq,
            events,
        }
    }
}

/// Messages by position, dense except for what was forgotten.
pub(super) struct Log<T> {
    pub(super) messages: BTreeMap<u64, T>,
    pub(super) last: u64,
    /// Where the tail was cut off, each time; a reader beyond such a place has read what is no
    /// more.
    pub(super) cuts: Vec<u64>,
    pub(super) grown: watch::Sender<()>,
}

impl<T> Default for Log<T> {
    fn default() -> Self {
        Self {
            messages: BTreeMap::new(),
            last: 0,
            cuts: Vec::new(),
            grown: watch::channel(()).0,
        }
    }
}

impl<T> Log<T> {
    pub(super) fn push(&mut self, message: T) -> Position {
        self.last += 1;
        self.messages.insert(self.last, message);
        self.grown.send_replace(());
        Position(self.last)
    }

    /// Loses the newest `count` positions, as a server does that died before it synced them.
    pub(super) fn lose_tail(&mut self, count: u64) {
        self.last = self.last.saturating_sub(count);
        self.messages.split_off(&(self.last + 1));
        self.cuts.push(self.last);
        self.grown.send_replace(());
    }
}

/// Records by key with a revision each; a record that was forgotten leaves `None`, so that watchers
/// see it go.
pub(super) struct Records<K, V> {
    pub(super) entries: BTreeMap<K, (u64, Option<V>)>,
    pub(super) revision: u64,
    pub(super) changed: watch::Sender<()>,
}

impl<K, V> Default for Records<K, V> {
    fn default() -> Self {
        Self {
            entries: BTreeMap::new(),
            revision: 0,
            changed: watch::channel(()).0,
        }
    }
}

impl<K: Ord, V: Clone> Records<K, V> {
    pub(super) fn put(&mut self, key: K, value: Option<V>) -> u64 {
        self.revision += 1;
        self.entries.insert(key, (self.revision, value));
        self.changed.send_replace(());
        self.revision
    }

    pub(super) fn get(&self, key: &K) -> Option<(V, u64)> {
        let (revision, value) = self.entries.get(key)?;
        Some((value.clone()?, *revision))
    }
}

impl State {
    /// Whether a connection is there.
    pub(super) fn is_up(&self, connection: ConnectionId) -> bool {
        *self.connections[connection.0].up.borrow()
    }

    /// Refuses what the hub does not carry as it is set up now.
    pub(super) fn check_size(&self, bytes: impl FnOnce() -> usize) -> Result<(), Error> {
        let Some(most) = self.largest else {
            return Ok(());
        };
        match bytes() {
            bytes if bytes > most => Err(Error::TooLarge(format!(
                "it has {bytes} bytes, more than {most}"
            ))),
            _ => Ok(()),
        }
    }

    /// Stores a message of a room if `after` is still its last one.
    pub(super) fn publish(
        &mut self,
        message: Message,
        after: Position,
        capacity: Option<usize>,
    ) -> Result<Position, Error> {
        match self.last_of.get(&message.room) {
            Some(last) if *last != after.0 => {
                return Err(Error::Conflict(format!(
                    "the last message of room {} is at {last}, not at {}",
                    message.room, after.0
                )));
            }
            // Nothing stored although something was: where events are only a buffer, it was
            // dropped, which is no conflict; else it was lost.
            None if after != Position::ZERO && capacity.is_none() => {
                return Err(Error::Conflict(format!(
                    "room {} has no message any more, though {} was its last one",
                    message.room, after.0
                )));
            }
            _ => {}
        }
        let room = message.room.clone();
        let position = self.events.push(message);
        self.last_of.insert(room, position.0);
        while capacity.is_some_and(|most| self.events.messages.len() > most) {
            self.drop_oldest_event();
        }
        Ok(position)
    }

    fn drop_oldest_event(&mut self) {
        let Some((position, message)) = self.events.messages.pop_first() else {
            return;
        };
        if self.last_of.get(&message.room) == Some(&position) {
            self.last_of.remove(&message.room);
        }
    }

    /// Loses the newest `count` events.
    pub(super) fn lose_events(&mut self, count: u64) {
        self.events.lose_tail(count);
        self.find_last_of();
    }

    /// Loses the messages that `which` names by room, position and place.
    pub(super) fn delete_events(&mut self, which: impl Fn(&RoomId, Position, Seq) -> bool) {
        self.events
            .messages
            .retain(|position, message| !which(&message.room, Position(*position), message.seq));
        self.find_last_of();
    }

    fn find_last_of(&mut self) {
        self.last_of = self
            .events
            .messages
            .iter()
            .map(|(position, message)| (message.room.clone(), *position))
            .collect();
    }

    pub(super) fn last_published(&self, room: &RoomId) -> Option<Published> {
        let position = *self.last_of.get(room)?;
        let message = &self.events.messages[&position];
        Some(Published {
            position: Position(position),
            epoch: message.epoch(),
            seq: message.seq,
        })
    }
}
