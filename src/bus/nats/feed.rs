//! The feed on NATS: `<P>_EVT`, one message per commit, its place and epoch in headers.

use super::{Nats, skipped::Unfit};
use crate::{
    bus::{
        Commit, Error, Feed, Head, Live, Position, Published, Stored,
        codec::{decode_heads, encode_heads},
    },
    journal::{
        Error as JournalError,
        codec::{decode_commit, encode_commit},
    },
    room::{Epoch, Limits, RoomId, Seq, ShardId},
};
use async_nats::{HeaderMap, jetstream::message::StreamMessage};
use async_trait::async_trait;
use bytes::Bytes;
use futures::{
    StreamExt,
    stream::{self, BoxStream},
};

/// The last place that is published with or before a message.
const SEQ: &str = "Chat-Seq";
const EPOCH: &str = "Chat-Epoch";
const TYPE: &str = "Chat-Type";
/// How many events are in a message.
const EVENTS: &str = "Chat-Events";
const COMMIT: &str = "commit";
const CLAIM: &str = "claim";

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

    /// A replica that lags behind ends too early; so an end is only believed when the leader knows of nothing after it.
    async fn stored(
        &self,
        room: &RoomId,
        from: Position,
        limit: usize,
    ) -> Result<Vec<Stored>, Error> {
        let (stream, subject) = (self.subjects.stream("EVT"), self.subjects.event(room));
        let (mut messages, ended) = self
            .commands
            .batch(&stream, &subject, from.0, limit, PAGE_BYTES)
            .await?;
        if ended && messages.len() < limit {
            let after = messages.last().map_or(from.0, |last| last.sequence + 1);
            messages.extend(self.commands.next(&stream, &subject, after).await?);
        }
        messages.iter().map(read).collect()
    }

    /// Bisects by position: the places in the headers never fall.
    async fn find(&self, room: &RoomId, seq: Seq) -> Result<Option<Position>, Error> {
        let (stream, subject) = (self.subjects.stream("EVT"), self.subjects.event(room));
        let Some(last) = self.commands.last(&stream, &subject).await? else {
            return Ok(None);
        };
        if seq_of(&last)? < seq {
            return Ok(None);
        }
        // The message that is looked for is the first one at or after some position in `low..=high`.
        let (mut low, mut high) = (1, last.sequence);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.commands.next_direct(&stream, &subject, middle).await? {
                Some(message) if seq_of(&message)? < seq => low = message.sequence + 1,
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
            match found {
                None => return Ok(None),
                Some(claim) if is_claim(Some(&claim.headers)) => below = claim.sequence,
                Some(message) => return read(&message).map(Some),
            }
        }
        Ok(None)
    }

    async fn gone_after(&self, position: Position) -> Result<u64, Error> {
        let stream = self.subjects.stream("EVT");
        self.commands.gone_after(&stream, position.0).await
    }

    async fn last(&self, room: &RoomId) -> Result<Option<Published>, Error> {
        let last = self
            .commands
            .last(&self.subjects.stream("EVT"), &self.subjects.event(room))
            .await?;
        last.as_ref().map(published).transpose()
    }

    /// Lists all of them each time, since the server orders them by shard: meant for tools.
    async fn rooms(&self, after: Option<&RoomId>, limit: usize) -> Result<Vec<RoomId>, Error> {
        let subjects = self
            .commands
            .subjects(&self.subjects.stream("EVT"), &self.subjects.all_events())
            .await?;
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
        let stored = self
            .commands
            .store(
                subject.clone(),
                headers.clone(),
                payload.clone(),
                Some(after.0),
            )
            .await;
        match stored {
            // Where events are only a buffer, the room's messages may all have been dropped: then nobody was faster.
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

    async fn first_commit(
        &self,
        stream: &str,
        subject: &str,
        mut from: u64,
    ) -> Result<Option<Position>, Error> {
        while let Some(message) = self.commands.next_direct(stream, subject, from).await? {
            if !is_claim(Some(&message.headers)) {
                return Ok(Some(Position(message.sequence)));
            }
            from = message.sequence + 1;
        }
        Ok(None)
    }
}

/// Whether a message is an owner's claim.
pub(super) fn is_claim(headers: Option<&HeaderMap>) -> bool {
    headers
        .and_then(|headers| headers.get(TYPE))
        .is_some_and(|kind| kind.as_str() == CLAIM)
}

/// What the headers say.
pub(super) fn published(message: &StreamMessage) -> Result<Published, Error> {
    Ok(Published {
        position: Position(message.sequence),
        epoch: Epoch(number(message, EPOCH)?),
        seq: seq_of(message)?,
    })
}

fn seq_of(message: &StreamMessage) -> Result<Seq, Error> {
    number(message, SEQ).map(Seq)
}

fn number(message: &StreamMessage, header: &str) -> Result<u64, Error> {
    let number = message
        .headers
        .get(header)
        .and_then(|value| value.as_str().parse().ok())
        .filter(|number| *number <= Limits::NUMBER);
    number.ok_or_else(|| unusable(message, &format!("it has no header {header} with a number")))
}

pub(super) fn read(message: &StreamMessage) -> Result<Stored, Error> {
    let commit = decode_commit(&message.payload).map_err(|error| match error {
        JournalError::Unsupported { seq, name, version } => {
            Error::Unsupported { seq, name, version }
        }
        error => unusable(message, &error.to_string()),
    })?;
    Ok(Stored {
        position: Position(message.sequence),
        epoch: commit.epoch,
        seq: seq_of(message)?,
        events: commit.events,
    })
}

fn unusable(message: &StreamMessage, why: &str) -> Error {
    Error::Unusable(format!(
        "message {} of {} cannot be read: {why}",
        message.sequence,
        message.subject.escape_debug()
    ))
}
