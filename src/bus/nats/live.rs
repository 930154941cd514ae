//! What is published for a room from now on: a core subscription on the subject to which the stream
//! republishes what it stored.

use super::{Nats, foreign::Foreign, traced};
use crate::{
    bus::{Error, Live, Position},
    metric,
    room::RoomId,
};
use async_nats::{Message, Subscriber};
use chrono::{DateTime, Utc};
use futures::{
    StreamExt,
    stream::{BoxStream, unfold},
};
use std::sync::Arc;
use tokio::sync::watch;
use tracing::warn;

/// A subscription and the news that something may be missing from it.
struct Tail {
    messages: Subscriber,
    gaps: watch::Receiver<u64>,
    room: RoomId,
    /// Of the room's events.
    subject: String,
    /// Where the last message was stored.
    last: Position,
    foreign: Foreign,
}

impl Nats {
    /// The stream's leader is asked for something before this returns: a request overtakes no
    /// subscription on its way, and from the leader on what it republishes finds the subscription.
    pub(super) async fn tail(&self, room: &RoomId) -> Result<BoxStream<'static, Live>, Error> {
        let gaps = self.live.gaps();
        let messages = self.live.subscribe_soon(self.subjects.live(room)).await?;
        self.live
            .last(&self.subjects.stream("EVT"), &self.subjects.event(room))
            .await?;
        let tail = Tail {
            messages,
            gaps,
            room: room.clone(),
            subject: self.subjects.event(room),
            last: Position::ZERO,
            foreign: self.foreign.clone(),
        };
        Ok(Box::pin(unfold(tail, |mut tail| async move {
            tail.next().await.map(|live| (live, tail))
        })))
    }
}

/// Measures how long ago the stream stored what it republishes. By two clocks, of the server and of
/// this machine.
fn note_delay(message: &Message) {
    let headers = message.headers.as_ref();
    let stored = headers
        .and_then(|headers| headers.get_last("Nats-Time-Stamp"))
        .and_then(|stored| DateTime::parse_from_rfc3339(stored.as_str()).ok());
    if let Some(stored) = stored {
        let since = Utc::now().signed_duration_since(stored);
        let since = since.to_std().unwrap_or_default();
        metric::JOURNALED_TO_DELIVERED.record(since.as_secs_f64());
    }
}

impl Tail {
    async fn next(&mut self) -> Option<Live> {
        loop {
            tokio::select! {
                biased; // The gap first: it is known before what comes after it.
                _ = self.gaps.changed() => return Some(Live::Interrupted),
                message = self.messages.next() => {
                    let message = message?;
                    if let Some(live) = self.read(&message) {
                        if matches!(live, Live::Commit(_) | Live::Traced(..)) {
                            note_delay(&message);
                        }
                        return Some(live);
                    }
                }
            }
        }
    }

    /// A commit; nothing of a claim, of a foreign message, or of what the stream did not publish.
    /// What is of a newer version, or lies before what came earlier, is as good as missed: whoever
    /// reads it from the journal gets what is true, or the reason.
    fn read(&mut self, message: &Message) -> Option<Live> {
        match self.foreign.skip_live(message, &self.subject) {
            Ok(None) => None,
            Ok(Some((position, commit))) => {
                let goes_back = position <= std::mem::replace(&mut self.last, position);
                if goes_back {
                    return Some(Live::Interrupted);
                }
                if commit.events.is_empty() {
                    return None;
                }
                let trace = traced::read(message.headers.as_ref());
                Some(Live::of(Arc::new(commit), trace))
            }
            Err(error) => {
                warn!(room = %self.room, %error, "a published commit cannot be read");
                metric::BUS_UNDECODABLE.of("commit").increment(1);
                Some(Live::Interrupted)
            }
        }
    }
}
