//! One connection to the servers: requests that end with an answer or a reason, and news of losses.
//!
//! Nothing is sent while the connection is lost: the client library would keep it and deliver it
//! late. What was sent just before a loss can still arrive late, after the reconnect; that is why
//! an unanswered request has an unknown outcome, never a failed one.

use super::{
    Config,
    login::Access,
    reach::REMEDY,
    refusal,
    subjects::{Subjects, token},
    told::Refusals,
};
use crate::{
    bus::{Error, Position},
    metric,
};
use async_nats::{
    Client, Event, HeaderMap, Message, RequestErrorKind, ServerInfo, Subscriber, connection::State,
};
use bytes::Bytes;
use futures::StreamExt;
use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{Semaphore, broadcast::error::RecvError, watch},
    time::{Instant, sleep, timeout},
};
use uuid::Uuid;

/// How often the library asks whether the server is there. Two unanswered ones and the connection
/// counts as lost.
const PING_EVERY: Duration = Duration::from_millis(1500);

/// Requests to JetStream that a connection has under way at a time; more wait here, in their order.
/// A server queues 10,000 of all nodes, and then drops them all unanswered: whoever asks again would
/// keep it there.
const MOST_UNDER_WAY: usize = 256;

/// How long a server may take to let a connection in.
const CONNECT: Duration = Duration::from_secs(5);

/// The longest pause between two attempts to reconnect.
const RECONNECT_PAUSE: Duration = Duration::from_secs(1);

/// What begins the subjects where answers are waited for; the node's name follows, so that a
/// permission can keep others from reading them.
pub(super) const INBOX: &str = "_INBOX.";

/// Follows the name in the inbox of a node that owns shards: answers to it come from other accounts
/// too, which import subjects that look so and no others.
pub(super) const OWNERS: &str = "writer";

/// What begins the subjects that a server makes for an answer to another account. No client can
/// name one of them as where it waits.
pub(super) const RELAYED: &str = "_R_.";

/// A connection. Clones are the same one.
#[derive(Clone)]
pub(super) struct Link {
    pub(super) client: Client,
    pub(super) deadline: Duration,
    /// What it is for: `commands`, `registry`, `live`.
    name: &'static str,
    /// Of this node, for people.
    pub(super) node: Arc<str>,
    servers: Arc<str>,
    losses: watch::Receiver<u64>,
    gaps: watch::Receiver<u64>,
    full: Arc<Mutex<Option<Arc<str>>>>,
    /// Streams of which nothing can be removed, since the login may not.
    unpurged: Arc<Mutex<BTreeSet<String>>>,
    refusals: Refusals,
    under_way: Arc<Semaphore>,
    /// A subject of this connection alone.
    echo: Arc<str>,
}

/// Why a request has no answer.
#[derive(Debug)]
pub(super) enum Failure {
    /// It was not sent.
    NotSent(String),
    /// The login may not send it there.
    Refused(String),
    /// It was not sent, because the server takes no message of this size.
    TooLarge(String),
    /// Nobody is there to answer it.
    NoResponders,
    /// It may have arrived.
    Unanswered(String),
}

impl Failure {
    /// As the error of a call that changes nothing.
    pub(super) fn of_read(self, what: &str) -> Error {
        match self {
            Self::NotSent(why) | Self::Unanswered(why) => {
                Error::Unavailable(format!("{what}: {why}"))
            }
            Self::Refused(subject) => Error::Unavailable(format!(
                "{what}: NATS does not let this login publish to {subject}"
            )),
            Self::TooLarge(why) => Error::TooLarge(format!("{what}: {why}")),
            Self::NoResponders => Error::Unavailable(format!("{what}: nobody answers; {REMEDY}")),
        }
    }

    /// As the error of a call that changes something.
    pub(super) fn of_write(self, what: &str) -> Error {
        match self {
            Self::Unanswered(why) => Error::Unknown(format!("{what}: {why}")),
            other => other.of_read(what),
        }
    }
}

impl Link {
    pub(super) async fn open(
        config: &Config,
        access: &Access,
        name: &'static str,
        deadline: Duration,
        subjects: &Subjects,
    ) -> Result<Self, Error> {
        let servers: Arc<str> = shown(&config.servers).into();
        let (lost, losses) = watch::channel(0);
        let (connected, reconnects) = watch::channel(0);
        let (gap, gaps) = watch::channel(0);
        let gap = Arc::new(gap);
        let slow = gap.clone();
        let refusals = Refusals::new(name);
        let refused = refusals.clone();
        let options = access
            .options()
            .name(format!("safe-chat {name} of {}", config.node))
            .custom_inbox_prefix(inbox(config))
            .connection_timeout(CONNECT)
            .ping_interval(PING_EVERY)
            .reconnect_delay_callback(pause_before)
            .event_callback(move |event| {
                note_state(name, &event, *connected.borrow() > 0);
                refused.note(&event);
                match event {
                    Event::Disconnected | Event::Closed => lost.send_modify(|count| *count += 1),
                    Event::Connected => connected.send_modify(|count| *count += 1),
                    Event::SlowConsumer(_) => slow.send_modify(|count| *count += 1),
                    _ => {}
                }
                std::future::ready(())
            });
        let connecting = options.connect(access.addresses.as_slice());
        let client = match timeout(CONNECT, connecting).await {
            Ok(Ok(client)) => client,
            Ok(Err(error)) => return Err(refusal::of_connecting(&error, access, &servers)),
            Err(_) => {
                return Err(Error::Unavailable(format!(
                    "no connection to NATS at {servers} within {CONNECT:?}"
                )));
            }
        };
        let link = Self {
            client,
            deadline,
            name,
            node: config.node.as_str().into(),
            servers,
            losses,
            gaps,
            full: Arc::default(),
            unpurged: Arc::default(),
            refusals,
            under_way: Arc::new(Semaphore::new(MOST_UNDER_WAY)),
            echo: subjects.echo(&config.node, Uuid::now_v7()).into(),
        };
        tokio::spawn(tell_gaps(link.clone(), reconnects, gap));
        Ok(link)
    }

    pub(super) fn ready(&self) -> Result<(), String> {
        match self.client.connection_state() {
            State::Connected => Ok(()),
            State::Pending | State::Disconnected => Err(format!(
                "the connection for {} to NATS at {} is lost",
                self.name, self.servers
            )),
        }
    }

    /// Notes that the servers have begun to refuse what is stored through this connection for want
    /// of space, or take it again.
    pub(super) fn note_fullness(&self, stored: &Result<Position, Error>) {
        match stored {
            Err(Error::Full(why)) => {
                metric::BUS_FULL.increment(1);
                self.full().get_or_insert_with(|| {
                    format!("NATS is full ({why}): clients are told `busy` until decided commands are forgotten; if it stays so, give the stream, the account or the disk more space").into()
                });
            }
            Ok(_) => drop(self.full().take()),
            Err(_) => {}
        }
    }

    /// Why what is stored through this connection is refused for want of space, if it is.
    pub(super) fn fullness(&self) -> Option<Arc<str>> {
        self.full().clone()
    }

    /// Notes whether the login may remove what is in a stream.
    pub(super) fn note_purge(&self, stream: &str, failed: Option<&Failure>) {
        let mut unpurged = self.unpurged.lock().unwrap_or_else(PoisonError::into_inner);
        match failed {
            None => drop(unpurged.remove(stream)),
            Some(Failure::Refused(_)) => drop(unpurged.insert(stream.into())),
            Some(_) => {}
        }
    }

    /// Of which streams nothing can be removed, as it turned out, and what to do.
    pub(super) fn unpurged(&self) -> Vec<Arc<str>> {
        let unpurged = self.unpurged.lock().unwrap_or_else(PoisonError::into_inner);
        let told = unpurged.iter().map(|stream| {
            format!(
                "NATS does not let this login purge {stream}: what is to be removed there \
                 (docs/operations.md, Purging a room) stays until it may. Give the login of nodes \
                 that write $JS.API.STREAM.PURGE.{stream} (safe-chat permissions)"
            )
        });
        told.map(Arc::from).collect()
    }

    fn full(&self) -> MutexGuard<'_, Option<Arc<str>>> {
        self.full.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An error of a start, by its cause when that is the login's rights.
    pub(super) fn explained(&self, error: Error) -> Error {
        match (error, self.refusals.last_right(Duration::MAX)) {
            (Error::Unavailable(why) | Error::Unknown(why), Some(said)) => {
                Error::Denied(format!("{why}: {}", refusal::of_rights(&said)))
            }
            (error, _) => error,
        }
    }

    /// Sees a change whenever something may have been missed: after a reconnect (subscriptions are
    /// on the server again then), or when a subscriber was too slow.
    pub(super) fn gaps(&self) -> watch::Receiver<u64> {
        let mut gaps = self.gaps.clone();
        gaps.mark_unchanged();
        gaps
    }

    /// Sees a change whenever the connection is lost.
    pub(super) fn losses(&self) -> watch::Receiver<u64> {
        let mut losses = self.losses.clone();
        losses.mark_unchanged();
        losses
    }

    /// A request that JetStream answers, or a message that it stores: at most [`MOST_UNDER_WAY`] at
    /// a time. `time` is for all of it; half of that may be the wait for its turn, so that what is
    /// sent has time for an answer.
    pub(super) async fn request_of_jetstream(
        &self,
        time: Duration,
        subject: String,
        headers: HeaderMap,
        payload: Bytes,
    ) -> Result<Message, Failure> {
        let began = Instant::now();
        let turn = timeout(time / 2, self.under_way.acquire()).await;
        let Ok(_turn) = turn else {
            return Err(Failure::NotSent(format!(
                "{MOST_UNDER_WAY} requests were under way to NATS for {:?}",
                time / 2
            )));
        };
        let left = time.saturating_sub(began.elapsed()).max(time / 2);
        self.request_within(left, subject, headers, payload).await
    }

    pub(super) async fn request(
        &self,
        subject: String,
        headers: HeaderMap,
        payload: Bytes,
    ) -> Result<Message, Failure> {
        self.request_within(self.deadline, subject, headers, payload)
            .await
    }

    pub(super) async fn request_within(
        &self,
        time: Duration,
        subject: String,
        headers: HeaderMap,
        payload: Bytes,
    ) -> Result<Message, Failure> {
        let mut losses = self.losses();
        let refused = self.refused(&subject);
        self.ready().map_err(Failure::NotSent)?;
        let mut request = async_nats::Request::new()
            .payload(payload)
            .timeout(Some(time));
        if !headers.is_empty() {
            request = request.headers(headers);
        }
        let answer = tokio::select! {
            biased; // An answer counts even if the connection was lost right after it.
            answer = self.client.send_request(subject, request) => answer,
            subject = refused => {
                return Err(Failure::Refused(subject));
            }
            _ = losses.changed() => return Err(Failure::Unanswered(format!("the connection to NATS at {} was lost", self.servers))),
        };
        answer.map_err(|error| match error.kind() {
            RequestErrorKind::NoResponders => Failure::NoResponders,
            RequestErrorKind::InvalidSubject => Failure::NotSent(error.to_string()),
            RequestErrorKind::MaxPayloadExceeded => Failure::TooLarge(error.to_string()),
            RequestErrorKind::TimedOut => {
                Failure::Unanswered(match self.refusals.last_right(time) {
                    None => format!("no answer within {time:?}"),
                    Some(said) => format!("no answer within {time:?} ({said})"),
                })
            }
            RequestErrorKind::Other => Failure::Unanswered(error.to_string()),
        })
    }

    /// Ends when the servers refuse what was published to a subject from now on.
    fn refused(&self, subject: &str) -> impl Future<Output = String> + use<> {
        let (mut refused, subject) = (self.refusals.unpublished(), subject.to_owned());
        async move {
            loop {
                match refused.recv().await {
                    Ok(other) if *other == *subject => return subject,
                    Ok(_) | Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => std::future::pending().await,
                }
            }
        }
    }

    /// Sends without waiting for anything: at most once.
    pub(super) async fn send(&self, subject: String, payload: Bytes) -> Result<(), Error> {
        let failed = |why: String| Error::Unavailable(format!("sending to {subject}: {why}"));
        self.ready().map_err(&failed)?;
        let sent = timeout(self.deadline, self.client.publish(subject.clone(), payload)).await;
        sent.map_err(|_| failed("the send queue is full".into()))?
            .map_err(|error| failed(error.to_string()))
    }

    /// Subscribes; on the server too when this returns.
    pub(super) async fn subscribe(&self, subject: String) -> Result<Subscriber, Error> {
        let subscriber = self.subscribe_soon(subject.clone()).await?;
        self.round_trip().await.map_err(|error| match error {
            Error::Unavailable(why) => {
                Error::Unavailable(format!("subscribing to {subject}: {why}"))
            }
            other => other,
        })?;
        Ok(subscriber)
    }

    /// Subscribes; on the server with the next thing that is sent there.
    pub(super) async fn subscribe_soon(&self, subject: String) -> Result<Subscriber, Error> {
        let failed = |why: String| Error::Unavailable(format!("subscribing to {subject}: {why}"));
        self.ready().map_err(&failed)?;
        let subscribed = timeout(self.deadline, self.client.subscribe(subject.clone())).await;
        subscribed
            .map_err(|_| failed("the send queue is full".into()))?
            .map_err(|error| failed(error.to_string()))
    }

    /// Waits until the server has seen everything that was sent to it: it takes what a connection
    /// sends in order, so a message of this connection to itself comes back after all that.
    ///
    /// A request that nobody answers would be quicker, but whoever listens to all subjects counts
    /// as somebody: the server would not say that nobody does.
    async fn round_trip(&self) -> Result<(), Error> {
        let mut losses = self.losses();
        let mut echo = self.subscribe_soon(self.echo.to_string()).await?;
        self.send(self.echo.to_string(), Bytes::new()).await?;
        let came_back = tokio::select! {
            biased; // What came back counts even if the connection was lost right after it.
            came_back = timeout(self.deadline, echo.next()) => came_back,
            _ = losses.changed() => Ok(None),
        };
        match came_back {
            Ok(Some(_)) => Ok(()),
            Ok(None) => Err(Error::Unavailable(format!(
                "the connection to NATS at {} was lost",
                self.servers
            ))),
            Err(_) => Err(Error::Unavailable(format!(
                "what was sent to {} did not come back within {:?}: may this login publish and \
                 subscribe there?",
                self.echo, self.deadline
            ))),
        }
    }
}

/// Shows and tells what becomes of a connection; the log has one line of a notice that comes by all
/// connections to a server.
fn note_state(name: &'static str, event: &Event, was_connected: bool) {
    let flag = |is: bool| f64::from(u8::from(is));
    let state = |connected, lame| {
        metric::BUS_CONNECTED.of(name).set(flag(connected));
        metric::BUS_LAME_DUCK.of(name).set(flag(lame));
    };
    match event {
        Event::Connected => {
            state(true, false);
            if was_connected {
                metric::BUS_RECONNECTS.of(name).increment(1);
            }
        }
        Event::Disconnected | Event::Closed => state(false, false),
        Event::LameDuckMode => {
            state(true, true);
            metric::BUS_LAME_DUCKS.increment(1);
            tracing::info!(
                connection = name,
                "the nats-server stops soon (lame duck): the connection moves to another one"
            );
        }
        _ => {}
    }
}

/// Where a node waits for answers.
fn inbox(config: &Config) -> String {
    let own = format!("{INBOX}{}", token(&config.node));
    match config.writes {
        true => format!("{own}.{OWNERS}"),
        false => own,
    }
}

/// What a server says of itself to a new connection, which is closed again.
pub(super) async fn ask_info(config: &Config) -> Result<ServerInfo, Error> {
    let access = Access::open(config)?;
    let options = access
        .options()
        .custom_inbox_prefix(inbox(config))
        .name(format!("safe-chat watch of {}", config.node));
    let connecting = options.connect(&access.addresses);
    let failed = |why: String| Error::Unavailable(format!("asking NATS for its limits: {why}"));
    let client = timeout(CONNECT, connecting)
        .await
        .map_err(|_| failed("no answer".into()))?
        .map_err(|error| failed(error.to_string()))?;
    Ok(client.server_info())
}

/// After each reconnect, makes sure that the subscriptions are on the server again, then tells of a
/// gap.
async fn tell_gaps(link: Link, mut reconnects: watch::Receiver<u64>, gap: Arc<watch::Sender<u64>>) {
    // The first connect is the one that made the link.
    let _ = reconnects.wait_for(|count| *count > 0).await;
    while reconnects.changed().await.is_ok() {
        // When the connection is lost again, the next reconnect comes.
        while link.ready().is_ok() {
            if link.round_trip().await.is_ok() {
                gap.send_modify(|count| *count += 1);
                break;
            }
            sleep(RECONNECT_PAUSE).await;
        }
    }
}

/// At once, then 50 ms, doubled up to [`RECONNECT_PAUSE`].
fn pause_before(attempt: usize) -> Duration {
    match attempt {
        0 | 1 => Duration::ZERO,
        _ => {
            (Duration::from_millis(25) * 2_u32.pow(attempt.min(8) as u32 - 1)).min(RECONNECT_PAUSE)
        }
    }
}

/// Addresses without the names and passwords that may be in them.
pub(super) fn shown(servers: &[String]) -> String {
    let without_user = |server: &String| {
        server
            .rsplit('@')
            .next()
            .unwrap_or(server)
            .trim_start_matches("nats://")
            .to_owned()
    };
    servers
        .iter()
        .map(without_user)
        .collect::<Vec<_>>()
        .join(", ")
}
