//! The feed of the memory adapter.

use super::{
    Delivered, Memory, Op,
    line::{Arrival, line},
    state::{Content, Message, State},
    stream,
};
use crate::{
    bus::{Commit, Error, Feed, Head, Live, Position, Published, Removal, Stored},
    journal::codec::encode_commit,
    room::{Epoch, Event, RoomId, Seq, ShardId},
    telemetry::trace::Context,
};
use async_trait::async_trait;
use futures::stream::BoxStream;
use std::{ops::Bound, sync::Arc};

/// Bytes of content in one answer of [`Feed::stored`].
const PAGE_BYTES: usize = 1024 * 1024;

#[async_trait]
impl Feed for Memory {
    async fn publish(
        &self,
        room: &RoomId,
        commit: &Commit,
        after: Position,
    ) -> Result<Position, Error> {
        let commit = Arc::new(commit.clone());
        let message = Message {
            room: room.clone(),
            seq: commit.last(),
            content: Content::Commit(commit.clone()),
        };
        self.call(Op::Publish, |state| {
            state.check_size(|| encode_commit(&commit).len())?;
            let position = state.publish(message, after, self.server.config.events)?;
            self.deliver(state, room, &Live::of(commit, Context::current()));
            Ok(position)
        })
        .await
    }

    async fn publish_claim(
        &self,
        room: &RoomId,
        epoch: Epoch,
        head: Seq,
        after: Position,
    ) -> Result<Position, Error> {
        let message = Message {
            room: room.clone(),
            seq: head,
            content: Content::Claim(epoch),
        };
        self.call(Op::PublishClaim, |state| {
            state.publish(message, after, self.server.config.events)
        })
        .await
    }

    async fn stored(
        &self,
        room: &RoomId,
        from: Position,
        limit: usize,
    ) -> Result<Vec<Stored>, Error> {
        self.call(Op::Stored, |state| {
            let mut bytes = 0;
            let of_room = state
                .events
                .messages
                .range(from.0..)
                .filter(|(_, message)| message.room == *room);
            let page = of_room
                .take(limit)
                .map(|(position, message)| message.stored(*position))
                .take_while(|stored| {
                    let first = bytes == 0;
                    bytes += size(stored);
                    first || bytes <= PAGE_BYTES
                });
            Ok(page.collect())
        })
        .await
    }

    async fn find(&self, room: &RoomId, seq: Seq) -> Result<Option<Position>, Error> {
        self.call(Op::Find, |state| {
            let mut messages = state.events.messages.iter();
            let found = messages.find(|(_, message)| {
                message.room == *room && !message.is_claim() && message.seq >= seq
            });
            Ok(found.map(|(position, _)| Position(*position)))
        })
        .await
    }

    async fn before(&self, room: &RoomId, position: Position) -> Result<Option<Stored>, Error> {
        self.call(Op::Find, |state| {
            let mut before = state.events.messages.range(..position.0).rev();
            let found = before.find(|(_, message)| message.room == *room && !message.is_claim());
            Ok(found.map(|(position, message)| message.stored(*position)))
        })
        .await
    }

    async fn gone_after(&self, position: Position) -> Result<u64, Error> {
        self.call(Op::Find, |state| {
            let there = state.events.messages.range(position.next().0..).count();
            Ok(state.events.last.saturating_sub(position.0) - there as u64)
        })
        .await
    }

    async fn removal(&self) -> Result<Removal, Error> {
        let singly = !self.server.config.deny_delete;
        let why = || "the hub lets single messages be deleted: set deny_delete".into();
        self.call(Op::Find, |_| {
            Ok(Removal {
                singly,
                refused: singly.then(why),
            })
        })
        .await
    }

    async fn purge(&self, room: &RoomId, below: Position) -> Result<(), Error> {
        self.call(Op::Purge, |state| {
            state.delete_events(|of, position, _| of == room && position < below);
            Ok(())
        })
        .await
    }

    async fn last(&self, room: &RoomId) -> Result<Option<Published>, Error> {
        self.call(Op::Last, |state| Ok(state.last_published(room)))
            .await
    }

    async fn count_rooms(&self) -> Result<u64, Error> {
        self.call(Op::Rooms, |state| Ok(state.last_of.len() as u64))
            .await
    }

    async fn rooms_of(
        &self,
        shard: ShardId,
        after: Option<&RoomId>,
        limit: usize,
    ) -> Result<Vec<RoomId>, Error> {
        let from = after.cloned().map_or(Bound::Unbounded, Bound::Excluded);
        let shards = self.server.config.shards;
        self.call(Op::Rooms, |state| {
            let rooms = state.last_of.range((from, Bound::Unbounded));
            let rooms = rooms.map(|(room, _)| room);
            let of_shard = rooms.filter(|room| shards.of(room) == shard);
            Ok(of_shard.take(limit).cloned().collect())
        })
        .await
    }

    async fn live(&self, room: &RoomId) -> Result<BoxStream<'static, Live>, Error> {
        let subscription = self
            .call(Op::Live, |state| {
                let (line, subscription) = line(self.connection);
                state.live.entry(room.clone()).or_default().push(line);
                Ok(subscription)
            })
            .await?;
        Ok(stream(
            (self.clone(), subscription),
            |(hub, mut subscription)| async move {
                let live = match subscription.next().await? {
                    Arrival::Item(live) => live,
                    Arrival::Interrupted => Live::Interrupted,
                };
                Some((live, (hub, subscription)))
            },
        ))
    }

    async fn tell_heads(&self, _shard: ShardId, heads: &[Head]) -> Result<(), Error> {
        self.call(Op::TellHeads, |state| {
            state.heads.retain(|line| line.is_open());
            for line in state
                .heads
                .iter()
                .filter(|line| state.is_up(line.connection))
            {
                let (due, copies) = self.passage(line.connection, Delivered::Head);
                for head in heads.iter().cycle().take(heads.len() * copies) {
                    line.send(due, head.clone());
                }
            }
            Ok(())
        })
        .await
    }

    async fn heads(&self) -> Result<BoxStream<'static, Head>, Error> {
        let subscription = self
            .call(Op::Heads, |state| {
                let (line, subscription) = line(self.connection);
                state.heads.push(line);
                Ok(subscription)
            })
            .await?;
        Ok(self.items(subscription))
    }
}

impl Memory {
    /// Says to the subscribers of a room what was not published, as a stranger on a bus may.
    pub fn say(&self, room: &RoomId, commit: &Commit) {
        let live = Live::Commit(Arc::new(commit.clone()));
        self.deliver(&mut self.server.state(), room, &live);
    }

    /// Hands a live message to the subscribers of a room.
    fn deliver(&self, state: &mut State, room: &RoomId, live: &Live) {
        let Some(lines) = state.live.get_mut(room) else {
            return;
        };
        lines.retain(|line| line.is_open());
        if lines.is_empty() {
            state.live.remove(room);
            return;
        }
        for line in state.live[room]
            .iter()
            .filter(|line| state.is_up(line.connection))
        {
            let (due, copies) = self.passage(line.connection, Delivered::Event);
            (0..copies).for_each(|_| line.send(due, live.clone()));
        }
    }
}

fn size(stored: &Stored) -> usize {
    1 + stored.events.iter().map(Event::size).sum::<usize>()
}
