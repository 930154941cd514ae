//! What whoever runs a client holds of it.

use crate::{
    address::Gateway,
    builder::Builder,
    close::Lost,
    codec::Protocol,
    frame::{ClientFrame, Event, Page},
    message::{End, Message, Receipt, SendError},
    notice::Notice,
    session::Reply,
};
use futures::Stream;
use std::{
    fmt,
    ops::Deref,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch},
    task::JoinHandle,
    time::Instant,
};

/// One user in one room, through whatever connections it takes. A stream of [`Notice`]; what it is
/// asked for goes through its [`Handle`]. It has to be read (see [`Builder::queue`]); dropped, it
/// leaves the room.
pub struct Client {
    pub(crate) handle: Handle,
    pub(crate) notices: mpsc::Receiver<Notice>,
    pub(crate) task: JoinHandle<()>,
}

/// Sends and asks. Cheap to clone; clones do not keep a client alive.
#[derive(Clone)]
pub struct Handle {
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) window: Arc<Semaphore>,
    pub(crate) status: watch::Receiver<Status>,
    pub(crate) queries: Arc<AtomicU64>,
    pub(crate) protocol: Protocol,
}

/// How a client is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// The gateway that it is connected to, or tried last.
    pub gateway: Gateway,
    /// Whether there is a connection.
    pub link: Link,
    /// Whether everything that was missed is here, so that messages go out at once.
    pub is_live: bool,
    /// Messages that are neither journaled nor finally rejected.
    pub undecided: usize,
    /// Since when the server owes an answer over this connection.
    pub unanswered_since: Option<Instant>,
    /// The last place of the room that was told.
    pub seq: Option<u64>,
    /// Why there was no connection last.
    pub trouble: Option<Lost>,
    /// Why the client ended.
    pub end: Option<End>,
    pub(crate) was_welcome: bool,
}

/// Whether there is a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// One is being made.
    Connecting,
    /// Yes.
    Open,
    /// No; the next attempt begins then.
    Waiting(Instant),
}

pub(crate) enum Command {
    Send {
        message: Message,
        answer: Waiting,
    },
    Ask {
        id: String,
        frame: ClientFrame,
        reply: oneshot::Sender<Option<Reply>>,
    },
    Close,
}

/// Who waits for an answer.
pub(crate) struct Waiting {
    pub(crate) accepted: Option<oneshot::Sender<()>>,
    pub(crate) done: oneshot::Sender<Result<Receipt, SendError>>,
    pub(crate) _place: OwnedSemaphorePermit,
}

/// A message under way; resolves with what becomes of it. Dropped, the message goes on.
#[must_use = "what becomes of the message is only known by awaiting it"]
pub struct Sending {
    id: String,
    accepted: oneshot::Receiver<()>,
    done: oneshot::Receiver<Result<Receipt, SendError>>,
}

/// A question without an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// There was none in time.
    #[error("no answer in time")]
    Unanswered,
    /// This protocol cannot ask.
    #[error("the text protocol has no questions")]
    NotInThisProtocol,
    /// The client has ended.
    #[error("the client has ended")]
    Ended,
}

/// A message that was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrySendError {
    /// As many messages as the window holds are undecided.
    #[error("as many messages as the window holds are undecided")]
    Full(Message),
    /// The client has ended.
    #[error("the client has ended")]
    Ended(Message),
}

impl Client {
    /// Where to connect, as whom, and how.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// What happens next; `None` after [`Notice::Ended`]. Cancel safe.
    pub async fn next(&mut self) -> Option<Notice> {
        self.notices.recv().await
    }

    /// The next event of the room; everything else is skipped. `None`: the client ended. Cancel
    /// safe.
    pub async fn next_event(&mut self) -> Option<Event> {
        loop {
            if let Notice::Event(event) = self.next().await? {
                return Some(event);
            }
        }
    }

    /// What sends and asks, to give to others.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Leaves the room: closes the connection, so that the others see it at once.
    pub async fn close(self) {
        let Self {
            handle,
            notices,
            task,
        } = self;
        // Notices that nobody takes any more do not hold up the end.
        drop(notices);
        let _ = handle.commands.send(Command::Close).await;
        let _ = task.await;
    }

    /// Ends at once and without a farewell, as if the process were killed: the server notices by
    /// itself.
    pub fn abort(self) {
        self.task.abort();
    }
}

impl Deref for Client {
    type Target = Handle;

    fn deref(&self) -> &Handle {
        &self.handle
    }
}

impl Stream for Client {
    type Item = Notice;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Notice>> {
        self.notices.poll_recv(cx)
    }
}

impl Handle {
    /// Sends a message and waits for what becomes of it: journaled, or an error that says whether it
    /// can be in the room. Sent again with the same id after every reconnect.
    ///
    /// # Errors
    /// It is not known to be journaled.
    pub async fn send(&self, message: impl Into<Message>) -> Result<Receipt, SendError> {
        self.submit(message).await?.await
    }

    /// Sends a message without waiting for its answer; waits only for a place in the window.
    ///
    /// # Errors
    /// The client has ended.
    pub async fn submit(&self, message: impl Into<Message>) -> Result<Sending, SendError> {
        let window = self.window.clone();
        let place = window.acquire_owned().await;
        let place = place.map_err(|_| SendError::Ended)?;
        let (command, sending) = send(message.into(), place);
        let sent = self.commands.send(command).await;
        sent.map(|()| sending).map_err(|_| SendError::Ended)
    }

    /// The same, without waiting at all.
    ///
    /// # Errors
    /// The window is full, or the client has ended: the message comes back.
    pub fn try_submit(&self, message: impl Into<Message>) -> Result<Sending, TrySendError> {
        let message = message.into();
        if self.commands.is_closed() {
            return Err(TrySendError::Ended(message));
        }
        let Ok(place) = self.window.clone().try_acquire_owned() else {
            return Err(TrySendError::Full(message));
        };
        let (command, sending) = send(message, place);
        self.commands
            .try_send(command)
            .map(|()| sending)
            .map_err(|error| match error {
                mpsc::error::TrySendError::Full(Command::Send { message, .. }) => {
                    TrySendError::Full(message)
                }
                mpsc::error::TrySendError::Closed(Command::Send { message, .. }) => {
                    TrySendError::Ended(message)
                }
                _ => unreachable!("a message was sent"),
            })
    }

    /// At most `limit` (1-500) events before a place; `None`: the newest.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn history(&self, before: Option<u64>, limit: u16) -> Result<Page, QueryError> {
        let question = |id| ClientFrame::History { id, before, limit };
        match self.ask(question).await? {
            Reply::History(page) => Ok(page),
            _ => Err(QueryError::Unanswered),
        }
    }

    /// Who is in the room, by name. Of many members it asks part by part; who comes or goes
    /// meanwhile may be in it or not.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn members(&self) -> Result<Vec<String>, QueryError> {
        let mut all: Vec<String> = Vec::new();
        loop {
            let after = all.last().cloned();
            let question = |id| ClientFrame::Members { id, after };
            let Reply::Members(part, more) = self.ask(question).await? else {
                return Err(QueryError::Unanswered);
            };
            let gets_on = !part.is_empty();
            all.extend(part);
            if !(more && gets_on) {
                return Ok(all);
            }
        }
    }

    /// How long the server takes to answer.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn ping(&self) -> Result<Duration, QueryError> {
        let asked = Instant::now();
        self.ask(|id| ClientFrame::Ping { id }).await?;
        Ok(asked.elapsed())
    }

    async fn ask(&self, question: impl FnOnce(String) -> ClientFrame) -> Result<Reply, QueryError> {
        if !self.protocol.has_ids() {
            return Err(QueryError::NotInThisProtocol);
        }
        let id = format!("q{}", self.queries.fetch_add(1, Ordering::Relaxed));
        let (reply, answer) = oneshot::channel();
        let frame = question(id.clone());
        let command = Command::Ask { id, frame, reply };
        let asked = self.commands.send(command).await;
        asked.map_err(|_| QueryError::Ended)?;
        let answer = answer.await.map_err(|_| QueryError::Ended)?;
        answer.ok_or(QueryError::Unanswered)
    }

    /// How the client is.
    pub fn status(&self) -> Status {
        self.status.borrow().clone()
    }

    /// Waits for the first session.
    ///
    /// # Errors
    /// The client ended before.
    pub async fn connected(&self) -> Result<(), End> {
        let settled = |status: &Status| status.was_welcome || status.end.is_some();
        let mut status = self.status.clone();
        match status.wait_for(settled).await {
            Ok(status) if status.was_welcome => Ok(()),
            Ok(status) => Err(status.end.clone().unwrap_or(End::Closed)),
            Err(_) => Err(End::Closed),
        }
    }
}

fn send(message: Message, place: OwnedSemaphorePermit) -> (Command, Sending) {
    let (accepted, is_accepted) = oneshot::channel();
    let (done, is_done) = oneshot::channel();
    let sending = Sending {
        id: message.id().to_owned(),
        accepted: is_accepted,
        done: is_done,
    };
    let answer = Waiting {
        accepted: Some(accepted),
        done,
        _place: place,
    };
    (Command::Send { message, answer }, sending)
}

impl Sending {
    /// The id of the message.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Waits until the service has stored the message, so that it will be decided whatever happens
    /// to this client. False: it is decided already, which awaiting it tells.
    pub async fn accepted(&mut self) -> bool {
        (&mut self.accepted).await.is_ok()
    }
}

impl Future for Sending {
    type Output = Result<Receipt, SendError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let done = Pin::new(&mut self.done).poll(cx);
        done.map(|answer| answer.unwrap_or(Err(SendError::Ended)))
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Client")
            .field("status", &self.status())
            .finish_non_exhaustive()
    }
}
