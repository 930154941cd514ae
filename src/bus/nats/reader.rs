//! Reads a stream in order and without end: an ephemeral push consumer that is made anew whenever
//! something is missing or the connection was lost, from the place after the last message read.
//!
//! A server that dies before it synced may lose the newest messages it had acknowledged, and give
//! their positions to others later. So each time the consumer is made, and from time to time, the
//! reader looks whether the last message that it read is still the same one; if it is not, it
//! starts again from the first message stored.
//!
//! Operators can pause and change consumers, and a consumer may be stuck; the heartbeats of such a
//! one go on. So a quiet reader asks what its consumer is like, and makes it anew if it is not as
//! it was made, or delivers nothing although the stream has more.

use super::{link::Link, skipped::Skipped};
use crate::{bus::Error, metric, room::Limits};
use async_nats::{HeaderMap, Message, StatusCode, Subject, Subscriber};
use bytes::Bytes;
use futures::StreamExt;
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};
use tracing::{debug, warn};

/// A quiet consumer says this often that it is there.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// Silence after which it counts as gone: three heartbeats.
const SILENCE: Duration = Duration::from_secs(3);
/// How often the reader looks whether the stream lost its tail without the connection having been
/// lost: rare, and found by readers of other nodes too.
const LOOK_EVERY: Duration = Duration::from_secs(15);
/// How often a quiet reader looks at its consumer.
const CHECK_EVERY: Duration = Duration::from_secs(2);
/// Pause between two attempts to make the consumer.
const RETRY: Duration = Duration::from_millis(200);
/// The server removes the consumer of a reader that is gone after this.
const ABANDONED: Duration = Duration::from_secs(10);

/// Where reading starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    /// At a position.
    At(u64),
    /// With the last message of each subject; then again so after a loss of the connection.
    LastPerSubject,
}

/// What a reader reads for, as people see it on the servers.
#[derive(Debug, Clone)]
pub(super) struct Purpose {
    /// Begins the names of its consumers: letters, digits, `-` and `_`.
    pub(super) name: String,
    pub(super) description: String,
}

/// A message of the stream.
pub(super) struct Entry {
    pub(super) position: u64,
    /// When it was stored: nanoseconds since 1970 UTC.
    pub(super) at: i128,
    pub(super) subject: Subject,
    pub(super) headers: Option<HeaderMap>,
    pub(super) payload: Bytes,
}

/// What a reader sees.
pub(super) enum Step {
    Entry(Entry),
    /// All that was stored when the consumer was made has been seen.
    Current,
}

/// The reader.
pub(super) struct Reader {
    link: Link,
    skipped: Skipped,
    stream: String,
    filter: String,
    purpose: Purpose,
    start: Start,
    /// The last message read: where and when it was stored.
    last: Option<(u64, i128)>,
    session: Option<Session>,
}

/// The life of one consumer.
struct Session {
    messages: Subscriber,
    losses: watch::Receiver<u64>,
    /// How many messages it has delivered.
    delivered: u64,
    /// How many were stored when it was made and are still to come; `None`: told already.
    waiting: Option<u64>,
    /// When it was last looked whether the stream is intact, and at the consumer.
    looked: Instant,
    checked: Instant,
    name: String,
    /// As the server made it.
    config: Value,
    /// The last look found messages that it should deliver, and none has come since.
    behind: bool,
}

/// What a consumer's life brings next.
enum Turn {
    Step(Step),
    /// It is time to look whether the stream is intact, and what the consumer is like.
    Look,
    /// Something is missing, or it is gone.
    Broken,
}

/// What the server says of a consumer.
#[derive(Deserialize)]
struct Consumer {
    config: Value,
    num_pending: u64,
}

impl Consumer {
    /// How it is set up, but for what the server adds of itself.
    fn set_up(mut self) -> Value {
        if let Some(config) = self.config.as_object_mut() {
            config.remove("metadata");
        }
        self.config
    }
}

impl Reader {
    pub(super) async fn open(
        link: &Link,
        skipped: &Skipped,
        stream: String,
        filter: String,
        purpose: Purpose,
        start: Start,
    ) -> Result<Self, Error> {
        let mut reader = Self {
            link: link.clone(),
            skipped: skipped.clone(),
            stream,
            filter,
            purpose,
            start,
            last: None,
            session: None,
        };
        reader.session = Some(reader.make().await?);
        Ok(reader)
    }

    /// The next message.
    pub(super) async fn next(&mut self) -> Step {
        loop {
            match &mut self.session {
                Some(session) => match session.next(&self.link, &self.filter).await {
                    Turn::Step(step) => return self.note(step),
                    Turn::Look if self.is_intact().await && self.delivers().await => {}
                    Turn::Look | Turn::Broken => self.session = None,
                },
                None => match self.make().await {
                    Ok(session) => self.session = Some(session),
                    Err(error) => {
                        debug!(stream = %self.stream, filter = %self.filter, %error, "reading waits");
                        sleep(RETRY).await;
                    }
                },
            }
        }
    }

    fn note(&mut self, step: Step) -> Step {
        if let Step::Entry(entry) = &step {
            self.last = Some((entry.position, entry.at));
        }
        step
    }

    /// Whether what was read is still there; if not, reading starts anew. A failed look counts as
    /// intact: the next one is soon.
    async fn is_intact(&mut self) -> bool {
        let is_due = |session: &Session| session.looked.elapsed() >= LOOK_EVERY;
        if !self.session.as_ref().is_some_and(is_due) {
            return true;
        }
        let lost = self.tail_is_lost().await.unwrap_or(false);
        if let Some(session) = &mut self.session {
            session.looked = Instant::now();
        }
        !lost
    }

    /// Whether the consumer delivers what it was made for; else it is told why not. A failed look
    /// counts as well: the next one is soon.
    async fn delivers(&mut self) -> bool {
        let why = self.hindrance().await;
        if let Some(session) = &mut self.session {
            session.checked = Instant::now();
        }
        let Some(why) = why else { return true };
        metric::BUS_STUCK_CONSUMERS.increment(1);
        if self.skipped.begins(&self.stream, why) {
            warn!(
                stream = %self.stream, filter = %self.filter, why,
                "a consumer did not deliver what is stored: it is made anew, and so are others of \
                 its stream"
            );
        }
        false
    }

    async fn hindrance(&mut self) -> Option<&'static str> {
        let session = self.session.as_mut()?;
        let call = format!("CONSUMER.INFO.{}.{}", self.stream, session.name);
        // Of one that is gone the heartbeats end.
        let found = self
            .link
            .api::<Consumer>(&call, &json!({}))
            .await
            .ok()?
            .ok()?;
        let pending = found.num_pending;
        let mut config = found.set_up();
        if config != session.config {
            if let Some(config) = config.as_object_mut() {
                config.remove("pause_until");
            }
            if config == session.config {
                return Some("it was paused");
            }
            // Nobody knows what it has delivered and what not.
            if let Start::At(_) = self.start {
                (self.start, self.last) = (Start::At(1), None);
            }
            return Some("it was changed");
        }
        // What is on its way now has come by the next look.
        if !std::mem::replace(&mut session.behind, pending > 0) || pending == 0 {
            return None;
        }
        let from = match (self.last, self.start) {
            (Some((position, _)), _) => position + 1,
            (None, Start::At(position)) => position,
            (None, Start::LastPerSubject) => 1,
        };
        let next = self.link.next(&self.stream, &self.filter, from).await;
        next.ok()?.map(|_| "it is stuck")
    }

    async fn tail_is_lost(&self) -> Result<bool, Error> {
        let end = self.link.info(&self.stream).await?.state.last_seq;
        match (self.last, self.start) {
            (Some((position, _)), _) if position > end => Ok(true),
            (Some((position, at)), _) => {
                let now_there = self.link.at(&self.stream, position).await?;
                // Where messages are removed, the newest that was decided stays; nothing there
                // means that the place was given to another and that one removed. Of subjects only
                // the last message stays anyway.
                Ok(
                    now_there.map_or(self.start != Start::LastPerSubject, |message| {
                        message.time.unix_timestamp_nanos() != at
                    }),
                )
            }
            (None, Start::At(position)) => Ok(position > end + 1),
            (None, Start::LastPerSubject) => Ok(false),
        }
    }

    async fn make(&mut self) -> Result<Session, Error> {
        if self.start != Start::LastPerSubject && self.tail_is_lost().await? {
            warn!(stream = %self.stream, filter = %self.filter, "the stream has lost its newest messages: reading again from its first one");
            metric::BUS_TAIL_LOSSES.increment(1);
            (self.start, self.last) = (Start::At(1), None);
        }
        let losses = self.link.losses();
        let inbox = self.link.client.new_inbox();
        let messages = self.link.subscribe_soon(inbox.clone()).await?;
        let what = format!("reading {} from stream {}", self.filter, self.stream);
        let name = self.name(&inbox);
        let call = format!("CONSUMER.CREATE.{}.{name}.{}", self.stream, self.filter);
        let request = json!({
            "stream_name": self.stream,
            "config": self.consumer(&name, &inbox),
            "action": "create",
        });
        let created = self
            .link
            .api(&call, &request)
            .await
            .map_err(|failure| failure.of_read(&what))?;
        let consumer: Consumer = created.map_err(|refusal| refusal.of_read(&what))?;
        Ok(Session {
            messages,
            losses,
            delivered: 0,
            waiting: Some(consumer.num_pending),
            looked: Instant::now(),
            checked: Instant::now(),
            name,
            config: consumer.set_up(),
            behind: false,
        })
    }

    /// Says to people what it is for, and is another one for each consumer.
    fn name(&self, inbox: &str) -> String {
        let unique = inbox.rsplit('.').next().unwrap_or_default();
        let node: String = self
            .link
            .node
            .chars()
            .map(|c| match c {
                c if c.is_ascii_alphanumeric() || "-_".contains(c) => c,
                _ => '_',
            })
            .collect();
        format!("{}-{node}-{unique}", self.purpose.name)
    }

    fn consumer(&self, name: &str, inbox: &str) -> Value {
        let mut consumer = json!({
            "name": name,
            "description": format!("{}, at {}", self.purpose.description, self.link.node),
            "deliver_subject": inbox,
            "filter_subject": self.filter,
            "ack_policy": "none",
            "max_deliver": 1,
            "replay_policy": "instant",
            "flow_control": true,
            "idle_heartbeat": HEARTBEAT.as_nanos() as u64,
            "inactive_threshold": ABANDONED.as_nanos() as u64,
            "mem_storage": true,
            "num_replicas": 1,
        });
        match (self.start, self.last) {
            (Start::LastPerSubject, _) => consumer["deliver_policy"] = "last_per_subject".into(),
            (Start::At(first), last) => {
                consumer["deliver_policy"] = "by_start_sequence".into();
                consumer["opt_start_seq"] = last
                    .map_or(first.max(1), |(position, _)| position + 1)
                    .into();
            }
        }
        consumer
    }
}

impl Session {
    async fn next(&mut self, link: &Link, filter: &str) -> Turn {
        if self.waiting == Some(0) {
            self.waiting = None;
            return Turn::Step(Step::Current);
        }
        loop {
            let message = tokio::select! {
                biased; // What has arrived is in order, whatever happened to the connection since.
                message = timeout(SILENCE, self.messages.next()) => message.ok().flatten(),
                _ = self.losses.changed() => None,
            };
            let Some(message) = message else {
                return Turn::Broken;
            };
            match message.status {
                // Not what it was made for.
                None if !message.subject.starts_with(filter.trim_end_matches('>')) => {
                    return Turn::Look;
                }
                None => {
                    return self
                        .entry(message)
                        .map_or(Turn::Broken, |entry| Turn::Step(Step::Entry(entry)));
                }
                Some(StatusCode::IDLE_HEARTBEAT) if self.is_complete(link, &message).await => {}
                Some(_) => return Turn::Broken,
            }
            if self.checked.elapsed() >= CHECK_EVERY {
                return Turn::Look;
            }
        }
    }

    /// A message, if it is the one that follows.
    fn entry(&mut self, message: Message) -> Option<Entry> {
        let Delivered {
            position,
            number,
            at,
        } = Delivered::parse(message.reply.as_deref()?)?;
        if number != self.delivered + 1 {
            return None;
        }
        self.delivered = number;
        self.behind = false;
        self.waiting = self.waiting.map(|waiting| waiting.saturating_sub(1));
        Some(Entry {
            position,
            at,
            subject: message.subject,
            headers: message.headers,
            payload: message.payload,
        })
    }

    /// Whether nothing is missing at a heartbeat. Answers it when it asks for that, which lets the
    /// server send more (flow control).
    async fn is_complete(&self, link: &Link, heartbeat: &Message) -> bool {
        let header = |name: &str| {
            heartbeat
                .headers
                .as_ref()?
                .get(name)
                .map(|value| value.as_str().to_owned())
        };
        if let Some(reply) = heartbeat
            .reply
            .as_ref()
            .map(|reply| reply.to_string())
            .or_else(|| header("Nats-Consumer-Stalled"))
        {
            return link.send(reply, Bytes::new()).await.is_ok();
        }
        header("Nats-Last-Consumer").is_none_or(|delivered| delivered == self.delivered.to_string())
    }
}

/// What the server says about a message that it delivers, in its reply subject.
pub(super) struct Delivered {
    pub(super) position: u64,
    /// Counts the consumer's deliveries.
    number: u64,
    pub(super) at: i128,
}

impl Delivered {
    /// `$JS.ACK.[<domain>.<account>.]<stream>.<consumer>.<deliveries>.<position>.<number>.<time>.<pending>[.<token>]`
    /// Source: NATS ADR-15, <https://github.com/nats-io/nats-architecture-and-design>.
    pub(super) fn parse(reply: &str) -> Option<Self> {
        let tokens: Vec<&str> = reply.strip_prefix("$JS.ACK.")?.split('.').collect();
        let after_names = if tokens.len() >= 9 { 4 } else { 2 };
        let number = |at: usize| {
            tokens
                .get(after_names + at)?
                .parse()
                .ok()
                .filter(|number| *number <= Limits::NUMBER)
        };
        Some(Self {
            position: number(1)?,
            number: number(2)?,
            at: i128::from(number(3)?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_a_delivery_are_read() {
        for reply in [
            "$JS.ACK.S.c.1.17.4.1700000000000000001.9",
            "$JS.ACK._.hash.S.c.1.17.4.1700000000000000001.9.token",
        ] {
            let Delivered {
                position,
                number,
                at,
            } = Delivered::parse(reply).unwrap();
            assert_eq!(
                (position, number, at),
                (17, 4, 1_700_000_000_000_000_001),
                "{reply}"
            );
        }
        let beyond = format!("$JS.ACK.S.c.1.{}.4.1700000000000000001.9", u64::MAX);
        assert!(Delivered::parse("_INBOX.x").is_none() && Delivered::parse(&beyond).is_none());
    }
}
