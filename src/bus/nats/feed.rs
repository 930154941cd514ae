//! The feed on NATS: `<P>_EVT`, one message per commit, its place and epoch in headers. What nobody
//! of this service has stored there counts as not there ([`super::foreign`]).

use super::{
    Nats,
    definition::keeps_everything,
    foreign::{CLAIM, EPOCH, Place, SEQ, TYPE, Written},
    skipped::Unfit,
    traced,
};
use crate::{
    bus::{
        Commit, Error, Feed, Head, Live, Position, Published, Removal, Stored,
        codec::{decode_heads, encode_heads},
    },
    journal::codec::encode_commit,
    room::{Epoch, RoomId, Seq, ShardId},
    telemetry::trace::hop,
};
use async_nats::{HeaderMap, jetstream::message::StreamMessage};
use async_trait::async_trait;
use bytes::Bytes;
use futures::{
    StreamExt,
    stream::{self, BoxStream},
};
use std::collections::BTreeMap;
use tracing::Instrument;

/// How many events are in a message.
const EVENTS: &str = "Chat-Events";
const COMMIT: &str = "commit";

/// Messages that are read at once while foreign ones are skipped.
const SKIPPED: usize = 256;

/// Messages among which rooms are looked for that were used lately.
const NEWEST: u64 = 64;

/// Bytes in one answer of [`Feed::stored`].
const PAGE_BYTES: usize = 1024 * 1024;

#[async_trait]
impl Feed for Nats {
    async fn publish(
        &self,
        room: &RoomId,
        commit: &Commit,
        after: Position,
    ) -> Result<Position, Error> {
        self.put(room, COMMIT, commit, commit.last(), after).await
    }

    async fn publish_claim(
        &self,
        room: &RoomId,
        epoch: Epoch,
        head: Seq,
        after: Position,
    ) -> Result<Position, Error> {
        self.put(
            room,
            CLAIM,
            &Commit {
                epoch,
                events: Vec::new(),
            },
            head,
            after,
        )
        .await
    }

    /// A replica that lags behind ends too early; so an end is only believed when the leader knows
    /// of nothing after it.
    async fn stored(
        &self,
        room: &RoomId,
        from: Position,
        limit: usize,
    ) -> Result<Vec<Stored>, Error> {
        let (stream, subject) = (self.subjects.stream("EVT"), self.subjects.event(room));
        let mut from = from.0;
        loop {
            let (mut messages, ended) = self
                .commands
                .batch(&stream, &subject, from, limit, PAGE_BYTES)
                .await?;
            if ended && messages.len() < limit {
                let after = messages.last().map_or(from, |last| last.sequence + 1);
                messages.extend(self.commands.next(&stream, &subject, after).await?);
            }
            let Some(last) = messages.last() else {
                return Ok(Vec::new());
            };
            from = last.sequence + 1;
            let own = messages
                .iter()
                .filter_map(|message| self.own(message).transpose())
                .collect::<Result<Vec<_>, _>>()?;
            if !own.is_empty() {
                return Ok(own);
            }
        }
    }

    /// Bisects by position: the places in the headers never fall.
    async fn find(&self, room: &RoomId, seq: Seq) -> Result<Option<Position>, Error> {
        let (stream, subject) = (self.subjects.stream("EVT"), self.subjects.event(room));
        let Some((_, Some(last))) = self.ends(&stream, &subject).await? else {
            return Ok(None);
        };
        if last.seq < seq {
            return Ok(None);
        }
        // The message that is looked for is the first one at or after some position in
        // `low..=high`.
        let (mut low, mut high) = (1, last.position.0);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.next_own(&stream, &subject, middle).await? {
                Some(message) if message.seq < seq => low = message.position.0 + 1,
                // All between `middle` and that message is of other rooms.
                Some(_) => high = middle,
                None => {
                    return Err(Error::Unavailable(format!(
                        "stream {stream} changed while it was searched: try again"
                    )));
                }
            }
        }
        self.first_commit(&stream, &subject, low).await
    }

    async fn before(&self, room: &RoomId, position: Position) -> Result<Option<Stored>, Error> {
        let (stream, subject) = (self.subjects.stream("EVT"), self.subjects.event(room));
        let mut below = position.0;
        while below > 1 {
            let found = self
                .commands
                .last_up_to(&stream, &subject, below - 1)
                .await?;
            let Some(message) = found else {
                return Ok(None);
            };
            let own = self.own(&message)?;
            if let Some(commit) = own.filter(|own| !own.events.is_empty()) {
                return Ok(Some(commit));
            }
            below = message.sequence;
        }
        Ok(None)
    }

    async fn gone_after(&self, position: Position) -> Result<u64, Error> {
        let stream = self.subjects.stream("EVT");
        self.commands.gone_after(&stream, position.0).await
    }

    async fn removal(&self) -> Result<Removal, Error> {
        let info = self.commands.info(&self.subjects.stream("EVT")).await?;
        Ok(Removal {
            singly: info.config["deny_delete"].as_bool() != Some(true),
            refused: keeps_everything(&self.subjects.stream("EVT"), &info.config),
        })
    }

    async fn purge(&self, room: &RoomId, below: Position) -> Result<(), Error> {
        let (stream, subject) = (self.subjects.stream("EVT"), self.subjects.event(room));
        self.commands.purge(&stream, &subject, Some(below.0)).await
    }

    /// A foreign message is passed by what comes next, so its position counts; what it says does
    /// not.
    async fn last(&self, room: &RoomId) -> Result<Option<Published>, Error> {
        let (stream, subject) = (self.subjects.stream("EVT"), self.subjects.event(room));
        let Some((position, own)) = self.ends(&stream, &subject).await? else {
            return Ok(None);
        };
        let (epoch, seq) = own.map_or_else(Default::default, |own| (own.epoch, own.seq));
        Ok(Some(Published {
            position,
            epoch,
            seq,
        }))
    }

    /// Lists all of the shard each time, since the server does not order them: meant for tools.
    async fn rooms_of(
        &self,
        shard: ShardId,
        after: Option<&RoomId>,
        limit: usize,
    ) -> Result<Vec<RoomId>, Error> {
        let (stream, filter) = (self.subjects.stream("EVT"), self.subjects.events_of(shard));
        let subjects = self.commands.subjects(&stream, &filter).await?;
        let rooms = subjects.iter().filter_map(|subject| {
            self.skipped
                .fits("event", subject, self.subjects.published(subject))
        });
        let mut rooms: Vec<_> = rooms
            .filter(|room| after.is_none_or(|after| room > after))
            .collect();
        rooms.sort();
        rooms.truncate(limit);
        Ok(rooms)
    }

    async fn count_rooms(&self) -> Result<u64, Error> {
        let info = self.commands.info(&self.subjects.stream("EVT")).await?;
        Ok(info.state.num_subjects)
    }

    async fn live(&self, room: &RoomId) -> Result<BoxStream<'static, Live>, Error> {
        self.tail(room).await
    }

    async fn tell_heads(&self, shard: ShardId, heads: &[Head]) -> Result<(), Error> {
        self.commands
            .send(self.subjects.heads(shard), encode_heads(heads))
            .await
    }

    async fn heads(&self) -> Result<BoxStream<'static, Head>, Error> {
        let messages = self.live.subscribe(self.subjects.all_heads()).await?;
        let nats = self.clone();
        Ok(messages
            .flat_map(move |message| {
                stream::iter(nats.read_heads(&message.subject, message.payload))
            })
            .boxed())
    }
}

impl Nats {
    /// Rooms of which something was published lately, among the newest messages, each with how far
    /// it is published.
    pub async fn newest(&self) -> Result<Vec<(RoomId, Seq)>, Error> {
        let stream = self.subjects.stream("EVT");
        let last = self.commands.info(&stream).await?.state.last_seq;
        let from = last.saturating_sub(NEWEST - 1);
        let all = self
            .commands
            .batch(&stream, ">", from, NEWEST as usize, PAGE_BYTES);
        let mut newest = BTreeMap::new();
        for message in all.await?.0 {
            if let (Ok(room), Some(own)) = (
                self.subjects.published(&message.subject),
                self.foreign.place(&message),
            ) {
                newest.insert(room, own.seq);
            }
        }
        Ok(newest.into_iter().collect())
    }

    async fn put(
        &self,
        room: &RoomId,
        kind: &str,
        commit: &Commit,
        seq: Seq,
        after: Position,
    ) -> Result<Position, Error> {
        let subject = self.subjects.event(room);
        let mut headers = HeaderMap::new();
        headers.insert(SEQ, seq.to_string().as_str());
        headers.insert(EPOCH, commit.epoch.to_string().as_str());
        headers.insert(TYPE, kind);
        headers.insert(EVENTS, commit.events.len().to_string().as_str());
        let payload = encode_commit(commit);
        let span = hop::publish(|| (self.subjects.shard(room).0, commit.range(payload.len())));
        traced::write(&mut headers, &span);
        let stored = self
            .commands
            .store(
                subject.clone(),
                headers.clone(),
                payload.clone(),
                Some(after.0),
            )
            .instrument(span)
            .await;
        match stored {
            // Where events are only a buffer, the room's messages may all have been dropped: then
            // nobody was faster.
            Err(Error::Conflict(_))
                if self.is_buffer
                    && after != Position::ZERO
                    && self.last(room).await?.is_none() =>
            {
                self.commands
                    .store(subject, headers, payload, Some(0))
                    .await
            }
            stored => stored,
        }
        .inspect(|position| self.reached.note(position.0))
    }

    /// The heads of rooms of the shard that tells them.
    fn read_heads(&self, subject: &str, payload: Bytes) -> Vec<Head> {
        let read = decode_heads(payload).map_err(Unfit::from);
        let heads = self.skipped.fits("heads", subject, read).into_iter();
        let told = |head: Head| {
            let read = self.subjects.told(subject, &head.room).map(|()| head);
            self.skipped.fits("head", subject, read)
        };
        heads.flatten().filter_map(told).collect()
    }

    /// Where the last message of a room is, and the last one that an owner has written: all from
    /// the leader, because an owner goes on behind it.
    async fn ends(
        &self,
        stream: &str,
        subject: &str,
    ) -> Result<Option<(Position, Option<Place>)>, Error> {
        let mut message = self.commands.last(stream, subject).await?;
        let Some(end) = message.as_ref().map(|last| Position(last.sequence)) else {
            return Ok(None);
        };
        while let Some(candidate) = message {
            if let Some(own) = self.foreign.place(&candidate) {
                return Ok(Some((end, Some(own))));
            }
            message = self
                .commands
                .last_below(stream, subject, candidate.sequence)
                .await?;
        }
        Ok(Some((end, None)))
    }

    /// The first message at or after a position that an owner has written.
    async fn next_own(
        &self,
        stream: &str,
        subject: &str,
        from: u64,
    ) -> Result<Option<Place>, Error> {
        let mut found = self.commands.next_direct(stream, subject, from).await?;
        let mut ahead = Vec::new().into_iter();
        while let Some(message) = found {
            if let Some(own) = self.foreign.place(&message) {
                return Ok(Some(own));
            }
            let after = message.sequence + 1;
            if ahead.len() == 0 {
                let (messages, _) = self
                    .commands
                    .batch(stream, subject, after, SKIPPED, PAGE_BYTES)
                    .await?;
                ahead = messages.into_iter();
            }
            found = match ahead.next() {
                Some(message) => Some(message),
                None => self.commands.next(stream, subject, after).await?,
            };
        }
        Ok(None)
    }

    /// A message as an owner has written it; `None`: it is foreign.
    fn own(&self, message: &StreamMessage) -> Result<Option<Stored>, Error> {
        let own = self.foreign.skip(message)?;
        Ok(own.map(|Written { seq, commit }| Stored {
            position: Position(message.sequence),
            epoch: commit.epoch,
            seq,
            events: commit.events,
        }))
    }

    async fn first_commit(
        &self,
        stream: &str,
        subject: &str,
        mut from: u64,
    ) -> Result<Option<Position>, Error> {
        while let Some(message) = self.next_own(stream, subject, from).await? {
            if !message.is_claim {
                return Ok(Some(message.position));
            }
            from = message.position.0 + 1;
        }
        Ok(None)
    }
}
