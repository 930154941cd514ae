//! What the adapter asks of JetStream, by the requests of its API: publishing with expectations,
//! reads through the stream's leader, direct reads.

use super::foreign::as_stored;
use super::link::{Failure, Link};
use crate::bus::{Error, Position};
use async_nats::{
    HeaderMap, Message, StatusCode,
    header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE,
    jetstream::{message::StreamMessage, stream::RawMessage},
};
use bytes::Bytes;
use futures::StreamExt;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};
use std::{collections::HashMap, time::Duration};
use tokio::time::{Instant, timeout, timeout_at};

/// How long may be taken by what makes the server go through a whole stream.
const SEARCH: Duration = Duration::from_secs(5);
/// The most deleted messages that are asked for one by one: the answer is one message.
const DETAILS: u64 = 50_000;
/// How long a batch of messages may take.
const BATCH: Duration = Duration::from_secs(10);

/// Messages that are read one by one in place of a batch, so that it ends within its time.
const ONE_BY_ONE: usize = 128;

/// Errors of the JetStream API that are told apart, by their number.
mod code {
    pub(super) const NO_MESSAGE: u64 = 10037;
    pub(super) const STREAM_NOT_FOUND: u64 = 10059;
    pub(super) const WRONG_LAST: [u64; 2] = [10071, 10164];
    pub(super) const STORE_FAILED: u64 = 10077;
    /// Account, server and storage limits.
    pub(super) const EXHAUSTED: [u64; 3] = [10002, 10023, 10047];
    pub(super) const MESSAGE_TOO_LARGE: u64 = 10054;
    pub(super) const SEALED: u64 = 10109;
    pub(super) const NO_TTL: u64 = 10166;
    /// The account has none.
    pub(super) const NO_JETSTREAM: u64 = 10039;
    pub(super) const NO_REPLICAS: u64 = 10074;
}

/// An error answer of the JetStream API.
#[derive(Debug, Deserialize)]
pub(super) struct Refusal {
    #[serde(default)]
    pub(super) err_code: u64,
    #[serde(default)]
    description: String,
}

impl Refusal {
    pub(super) fn is_not_found(&self) -> bool {
        self.err_code == code::STREAM_NOT_FOUND
    }

    /// As the error of a look at a stream: whatever the server says for certain keeps the stream
    /// from being used.
    pub(super) fn of_look(self, what: &str) -> Error {
        match self.err_code {
            code::NO_JETSTREAM => Error::Unusable(format!(
                "{what}: {} ({}): give the account JetStream, or its imports (nats/cluster.conf)",
                self.description.escape_debug(),
                self.err_code
            )),
            _ => self.of_read(what),
        }
    }

    /// As the error of a publish. What is not known for sure to have stored nothing is unknown.
    pub(super) fn of_publish(self, what: &str) -> Error {
        let Self {
            err_code,
            description,
        } = self;
        let text = format!("{what}: {} ({err_code})", description.escape_debug());
        match err_code {
            code if code::WRONG_LAST.contains(&code) => Error::Conflict(text),
            code::STORE_FAILED if description.contains("maximum") => Error::Full(text),
            code if code::EXHAUSTED.contains(&code) => Error::Full(text),
            code::MESSAGE_TOO_LARGE => Error::TooLarge(text),
            code::SEALED => Error::Unavailable(text),
            code::NO_TTL => Error::Unusable(text),
            _ => Error::Unknown(text),
        }
    }

    pub(super) fn of_read(self, what: &str) -> Error {
        let text = format!(
            "{what}: {} ({})",
            self.description.escape_debug(),
            self.err_code
        );
        match self.err_code {
            code::NO_REPLICAS => Error::Unusable(format!(
                "{text}: set bus.replicas to 1, or use a cluster of nats-servers"
            )),
            _ => Error::Unavailable(text),
        }
    }
}

/// What the API answers.
#[derive(Deserialize)]
#[serde(untagged)]
enum Response<T> {
    Refused { error: Refusal },
    Done(T),
}

#[derive(Deserialize)]
struct Acknowledged {
    seq: u64,
}

#[derive(Deserialize)]
struct Gotten {
    message: RawMessage,
}

/// What `STREAM.INFO` says.
#[derive(Deserialize)]
pub(super) struct StreamInfo {
    pub(super) config: Value,
    /// When the stream was made.
    #[serde(default)]
    pub(super) created: String,
    /// What time it is at the server that answers.
    pub(super) ts: String,
    pub(super) state: StreamState,
    /// Where its copies are, in a cluster of servers.
    pub(super) cluster: Option<Copies>,
}

/// The copies of a stream.
#[derive(Default, Deserialize)]
pub(super) struct Copies {
    #[serde(default)]
    pub(super) leader: String,
    /// Those beside the leader's.
    #[serde(default)]
    pub(super) replicas: Vec<Copy>,
}

/// A copy beside the leader's.
#[derive(Deserialize)]
pub(super) struct Copy {
    /// The server.
    pub(super) name: String,
    #[serde(default)]
    offline: bool,
    /// Whether it has all that the leader has.
    #[serde(default)]
    current: bool,
    /// When the leader heard of it last, in nanoseconds ago.
    #[serde(default)]
    active: u64,
}

/// A copy that was not heard of for so long is away. A server that is killed or frozen is called
/// offline after minutes only.
const SILENT: Duration = Duration::from_secs(10);

impl Copy {
    pub(super) fn is_away(&self) -> bool {
        self.offline || (!self.current && Duration::from_nanos(self.active) > SILENT)
    }
}

/// The part of a stream's state that is used.
#[derive(Deserialize)]
pub(super) struct StreamState {
    #[serde(default)]
    pub(super) first_seq: u64,
    pub(super) last_seq: u64,
    /// How many messages there are.
    #[serde(default)]
    pub(super) messages: u64,
    #[serde(default)]
    pub(super) bytes: u64,
    /// How many messages between the first and the last one are gone.
    #[serde(default)]
    pub(super) num_deleted: u64,
    /// How many subjects they have.
    #[serde(default)]
    pub(super) num_subjects: u64,
    /// Only when they were asked for: which these are.
    #[serde(default)]
    pub(super) deleted: Vec<u64>,
    /// Only when they were asked for: how many messages each subject has, at most a page of them.
    #[serde(default)]
    pub(super) subjects: HashMap<String, u64>,
}

impl Link {
    /// Stores a message. With `after`: only if the subject's last message is there (0: if it has
    /// none).
    pub(super) async fn store(
        &self,
        subject: String,
        mut headers: HeaderMap,
        payload: Bytes,
        after: Option<u64>,
    ) -> Result<Position, Error> {
        if let Some(after) = after {
            headers.insert(
                NATS_EXPECTED_LAST_SUBJECT_SEQUENCE,
                after.to_string().as_str(),
            );
        }
        let what = format!("storing to {subject}");
        let answer = self
            .request_of_jetstream(self.deadline, subject, headers, payload)
            .await
            .map_err(|failure| failure.of_write(&what))?;
        let stored = read_acknowledged(&what, &answer.payload);
        self.note_fullness(&stored);
        stored
    }

    /// A request to the JetStream API.
    pub(super) async fn api<T: DeserializeOwned>(
        &self,
        call: &str,
        body: &Value,
    ) -> Result<Result<T, Refusal>, Failure> {
        self.api_within(self.deadline, call, body).await
    }

    pub(super) async fn api_within<T: DeserializeOwned>(
        &self,
        time: Duration,
        call: &str,
        body: &Value,
    ) -> Result<Result<T, Refusal>, Failure> {
        let answer = self
            .request_of_jetstream(
                time,
                format!("$JS.API.{call}"),
                HeaderMap::new(),
                body.to_string().into(),
            )
            .await?;
        read(&answer.payload).map_err(Failure::Unanswered)
    }

    /// What a stream's leader knows of it.
    pub(super) async fn info(&self, stream: &str) -> Result<StreamInfo, Error> {
        self.info_with(self.deadline, stream, &json!({})).await
    }

    /// The subjects of a stream that a filter names, from its leader.
    pub(super) async fn subjects(&self, stream: &str, filter: &str) -> Result<Vec<String>, Error> {
        let mut subjects = Vec::new();
        loop {
            let asked = json!({ "subjects_filter": filter, "offset": subjects.len() });
            let time = self.deadline.max(SEARCH);
            let page = self.info_with(time, stream, &asked).await?.state.subjects;
            if page.is_empty() {
                return Ok(subjects);
            }
            subjects.extend(page.into_keys());
        }
    }

    async fn info_with(
        &self,
        time: Duration,
        stream: &str,
        request: &Value,
    ) -> Result<StreamInfo, Error> {
        let what = format!("looking at stream {stream}");
        let answer = self
            .api_within(time, &format!("STREAM.INFO.{stream}"), request)
            .await
            .map_err(|failure| failure.of_read(&what))?;
        answer.map_err(|refusal| refusal.of_read(&what))
    }

    /// How many messages after a position are gone, except for those that a limit of messages per
    /// subject drops: it always leaves the newest ones.
    pub(super) async fn gone_after(&self, stream: &str, position: u64) -> Result<u64, Error> {
        let info = self.info(stream).await?;
        let purged = info
            .state
            .first_seq
            .saturating_sub(position.saturating_add(1));
        let per_subject = info
            .config
            .get("max_msgs_per_subject")
            .and_then(Value::as_i64);
        let most = info.state.last_seq.saturating_sub(position + purged);
        if info.state.num_deleted == 0 || most == 0 || per_subject.is_some_and(|most| most > 0) {
            return Ok(purged);
        }
        if info.state.num_deleted > DETAILS {
            return Ok(purged + most.min(info.state.num_deleted));
        }
        let request = json!({ "deleted_details": true });
        let time = self.deadline.max(SEARCH);
        let state = self.info_with(time, stream, &request).await?.state;
        let deleted = state.deleted.iter().filter(|gone| **gone > position);
        Ok(purged + deleted.count() as u64)
    }

    /// The last message of a subject at or before a position, from whichever replica is near.
    pub(super) async fn last_up_to(
        &self,
        stream: &str,
        subject: &str,
        position: u64,
    ) -> Result<Option<StreamMessage>, Error> {
        let request = json!({ "multi_last": [subject], "up_to_seq": position });
        if let Some((messages, _)) = self.many(stream, request).await? {
            return Ok(messages.into_iter().next());
        }
        self.last_below(stream, subject, position.saturating_add(1))
            .await
    }

    /// The last message of a subject before a position, from the leader. Messages of a subject are
    /// often near each other, so it looks near the position first, then twice as far.
    pub(super) async fn last_below(
        &self,
        stream: &str,
        subject: &str,
        position: u64,
    ) -> Result<Option<StreamMessage>, Error> {
        let (mut high, mut found) = (position.saturating_sub(1), None);
        let mut far = 1;
        while found.is_none() && high > 0 {
            let from = high.saturating_sub(far - 1).max(1);
            let next = self.next(stream, subject, from).await?;
            match next.filter(|message| message.sequence < position) {
                None => (high, far) = (from - 1, far * 2),
                next => found = next,
            }
        }
        // There is one at `found`, none behind `high`: by bisection.
        while let Some(low) = found
            .as_ref()
            .map(|message| message.sequence)
            .filter(|low| *low < high)
        {
            let middle = low + (high - low).div_ceil(2);
            let next = self.next(stream, subject, middle).await?;
            match next.filter(|message| message.sequence < position) {
                None => high = middle - 1,
                next => found = next,
            }
        }
        Ok(found)
    }

    /// The last message of a subject, from the leader.
    pub(super) async fn last(
        &self,
        stream: &str,
        subject: &str,
    ) -> Result<Option<StreamMessage>, Error> {
        self.get(stream, &json!({ "last_by_subj": subject })).await
    }

    /// The message at a position, from the leader.
    pub(super) async fn at(
        &self,
        stream: &str,
        position: u64,
    ) -> Result<Option<StreamMessage>, Error> {
        self.get(stream, &json!({ "seq": position })).await
    }

    /// The first message of a subject at or after a position, from the leader.
    pub(super) async fn next(
        &self,
        stream: &str,
        subject: &str,
        from: u64,
    ) -> Result<Option<StreamMessage>, Error> {
        self.get(
            stream,
            &json!({ "next_by_subj": subject, "seq": from.max(1) }),
        )
        .await
    }

    async fn get(&self, stream: &str, request: &Value) -> Result<Option<StreamMessage>, Error> {
        let what = format!("reading stream {stream}");
        let answer = self
            .api(&format!("STREAM.MSG.GET.{stream}"), request)
            .await
            .map_err(|failure| failure.of_read(&what))?;
        gotten(&what, answer)
    }

    /// As [`Link::next`], from whichever replica is near: what it does not have (yet) the leader
    /// may have.
    pub(super) async fn next_direct(
        &self,
        stream: &str,
        subject: &str,
        from: u64,
    ) -> Result<Option<StreamMessage>, Error> {
        let request = json!({ "next_by_subj": subject, "seq": from.max(1) }).to_string();
        let answer = self
            .request_of_jetstream(
                self.deadline,
                format!("$JS.API.DIRECT.GET.{stream}"),
                HeaderMap::new(),
                request.into(),
            )
            .await;
        let message = match answer {
            Err(Failure::NoResponders) => return self.next(stream, subject, from).await,
            answer => {
                answer.map_err(|failure| failure.of_read(&format!("reading stream {stream}")))?
            }
        };
        match message.status {
            None => stream_message(stream, message).map(Some),
            Some(_) => self.next(stream, subject, from).await,
        }
    }

    /// Up to `limit` messages of a subject from a position on, from whichever replica is near,
    /// which may lack the newest; cut after `bytes`. Second: whether that replica has no more.
    pub(super) async fn batch(
        &self,
        stream: &str,
        subject: &str,
        from: u64,
        limit: usize,
        bytes: usize,
    ) -> Result<(Vec<StreamMessage>, bool), Error> {
        let request = json!({
            "next_by_subj": subject, "seq": from.max(1), "batch": limit, "max_bytes": bytes
        });
        match self.many(stream, request).await? {
            Some(batch) => Ok(batch),
            None => self.one_by_one(stream, subject, from, limit, bytes).await,
        }
    }

    /// The messages that a direct request asks for. Second: whether that replica has no more.
    /// `None`: an operator has made the stream refuse direct reads.
    async fn many(
        &self,
        stream: &str,
        request: Value,
    ) -> Result<Option<(Vec<StreamMessage>, bool)>, Error> {
        let failed = |why: String| Error::Unavailable(format!("reading stream {stream}: {why}"));
        let inbox = self.client.new_inbox();
        let mut answers = self.subscribe_soon(inbox.clone()).await?;
        let mut losses = self.losses();
        let sent = timeout(
            self.deadline,
            self.client.publish_with_reply(
                format!("$JS.API.DIRECT.GET.{stream}"),
                inbox,
                request.to_string().into(),
            ),
        )
        .await;
        sent.map_err(|_| failed("the send queue is full".into()))?
            .map_err(|error| failed(error.to_string()))?;
        let (mut messages, ends) = (Vec::new(), Instant::now() + self.deadline.max(BATCH));
        loop {
            // The first has to be found.
            let time = if messages.is_empty() {
                self.deadline.max(SEARCH)
            } else {
                self.deadline
            };
            let message = tokio::select! {
                biased; // What has arrived counts.
                message = timeout_at(ends.min(Instant::now() + time), answers.next()) => message
                    .map_err(|_| failed(format!("{} messages came in time, then none", messages.len())))?
                    .ok_or_else(|| failed("the connection is closed".into()))?,
                _ = losses.changed() => return Err(failed("the connection was lost".into())),
            };
            match message.status {
                None => messages.push(follow(stream, messages.last(), message)?),
                Some(StatusCode::NOT_FOUND) => return Ok(Some((messages, true))),
                Some(StatusCode::NO_RESPONDERS) if messages.is_empty() => return Ok(None),
                Some(status) if status.as_u16() == 204 => {
                    let pending = message
                        .headers
                        .as_ref()
                        .and_then(|headers| headers.get_last("Nats-Num-Pending"));
                    let is_all = pending.is_none_or(|pending| pending.as_str() == "0");
                    return Ok(Some((messages, is_all)));
                }
                Some(status) => return Err(failed(format!("status {status}"))),
            }
        }
    }

    /// As [`Link::batch`], from the leader of a stream that an operator has made refuse direct
    /// reads.
    async fn one_by_one(
        &self,
        stream: &str,
        subject: &str,
        mut from: u64,
        limit: usize,
        bytes: usize,
    ) -> Result<(Vec<StreamMessage>, bool), Error> {
        let (mut messages, mut size) = (Vec::new(), 0);
        while messages.len() < limit.min(ONE_BY_ONE) && size < bytes {
            let Some(message) = self.next(stream, subject, from).await? else {
                return Ok((messages, true));
            };
            from = message.sequence + 1;
            size += message.payload.len();
            messages.push(message);
        }
        Ok((messages, false))
    }

    /// Removes the messages that a filter names, below a position if one is given.
    pub(super) async fn purge(
        &self,
        stream: &str,
        filter: &str,
        below: Option<u64>,
    ) -> Result<(), Error> {
        let what = format!("purging {filter}");
        let mut request = json!({ "filter": filter });
        if let Some(below) = below {
            request["seq"] = below.into();
        }
        let call = format!("STREAM.PURGE.{stream}");
        let answer = self.api::<Value>(&call, &request).await;
        self.note_purge(stream, answer.as_ref().err());
        let answer = answer.map_err(|failure| failure.of_write(&what))?;
        answer.map(drop).map_err(|refusal| refusal.of_read(&what))
    }
}

pub(super) fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<Result<T, Refusal>, String> {
    match serde_json::from_slice(bytes) {
        Ok(Response::Done(done)) => Ok(Ok(done)),
        Ok(Response::Refused { error }) => Ok(Err(error)),
        Err(error) => Err(format!("an answer that cannot be read: {error}")),
    }
}

/// The answer to a publish.
pub(super) fn read_acknowledged(what: &str, bytes: &[u8]) -> Result<Position, Error> {
    match read(bytes).map_err(|why| Error::Unknown(format!("{what}: {why}")))? {
        Ok(Acknowledged { seq }) => Ok(Position(seq)),
        Err(refusal) => Err(refusal.of_publish(what)),
    }
}

/// The answer to the question for a message.
pub(super) fn read_message(what: &str, bytes: &[u8]) -> Result<Option<StreamMessage>, Error> {
    gotten(
        what,
        read(bytes).map_err(|why| Error::Unavailable(format!("{what}: {why}")))?,
    )
}

fn gotten(what: &str, answer: Result<Gotten, Refusal>) -> Result<Option<StreamMessage>, Error> {
    match answer {
        Ok(Gotten { message }) => StreamMessage::try_from(message)
            .map(Some)
            .map_err(|error| Error::Unavailable(format!("{what}: {error}"))),
        Err(refusal) if refusal.err_code == code::NO_MESSAGE => Ok(None),
        Err(refusal) => Err(refusal.of_read(what)),
    }
}

/// A message of a batch, which must be the one that follows the one before.
fn follow(
    stream: &str,
    before: Option<&StreamMessage>,
    message: Message,
) -> Result<StreamMessage, Error> {
    let previous = message
        .headers
        .as_ref()
        .and_then(|headers| headers.get_last("Nats-Last-Sequence"))
        .map(|value| value.as_str().to_owned());
    let expected = before.map_or(0, |before| before.sequence).to_string();
    if previous.is_some_and(|previous| previous != expected) {
        return Err(Error::Unavailable(format!(
            "reading stream {stream}: a message of a batch was lost on the way"
        )));
    }
    stream_message(stream, message)
}

/// A message that was read directly, with the headers that it was stored with.
pub(super) fn stream_message(stream: &str, message: Message) -> Result<StreamMessage, Error> {
    let read = StreamMessage::try_from(message).map(as_stored);
    read.map_err(|error| Error::Unavailable(format!("reading stream {stream}: {error}")))
}
