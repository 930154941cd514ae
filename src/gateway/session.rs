//! One client in one room: what it sends goes in here, what it gets waits in its outbox. Knows no
//! sockets: a WebSocket, or a client of a simulation, is attached to it.

use super::{
    Close, Outbox,
    core::{Core, busy},
    device::Device,
    expiry::Admitted,
    history::history,
    join::Subscription,
    lane::Sent,
    limits::{Entered, SessionLimits},
    metrics,
    replica::ReplicaRef,
};
use crate::{
    access::{self, Credentials, Right},
    room::{Body, CommandId, Key, Reason, Rejection, SessionId, Token, UserId},
    telemetry::trace::{Origin, hop},
    trace::{At, Hop},
    wire::{ClientFrame, Incoming, Message, Protocol, ServerFrame},
};
use seal::Handshake;
use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout},
};

/// Bad frames in a row that end a session (contract with clients).
const BAD_FRAMES: u32 = 20;
/// Questions of one session (history, members) that are answered at a time; beyond them a question
/// is refused as busy.
const QUESTIONS: usize = 4;
/// The longest that a client is not listened to.
const PAUSE_MOST: Duration = Duration::from_secs(1);
/// How long what a client said right before it went away may take to be stored.
const FAREWELL: Duration = Duration::from_secs(5);

/// An open session. Dropped, it ends: what it still had to say is submitted, then that it is over.
pub struct Session {
    core: Arc<Core>,
    claim: ReplicaRef,
    id: SessionId,
    user: UserId,
    protocol: Protocol,
    outbox: Outbox,
    key: Key,
    /// What its client said of a trace when it came.
    origin: Origin,
    has_spoken: bool,
    /// It said something that its lane was not told to start with.
    has_unsent: bool,
    /// Made with the first question.
    questions: Option<Arc<Semaphore>>,
    meter: SessionLimits,
    admitted: Arc<Admitted>,
    /// Tokens that it brought.
    tokens: u64,
    bad: u32,
    _entered: Option<Entered>,
    _subscription: Subscription,
    _place: OwnedSemaphorePermit,
    _device: Option<Arc<Device>>,
}

impl Session {
    #[expect(
        clippy::too_many_arguments,
        reason = "the parts of a session, each made at its own step of joining"
    )]
    pub(super) fn begin(
        core: Arc<Core>,
        claim: ReplicaRef,
        id: SessionId,
        (user, key): (UserId, Key),
        protocol: Protocol,
        outbox: Outbox,
        origin: Origin,
        subscriber: Subscription,
        (place, device): (OwnedSemaphorePermit, Option<Arc<Device>>),
        (meter, entered, admitted): (SessionLimits, Option<Entered>, Admitted),
    ) -> Self {
        Self {
            core,
            claim,
            id,
            user,
            protocol,
            outbox,
            key,
            origin,
            has_spoken: false,
            has_unsent: false,
            questions: None,
            meter,
            admitted: Arc::new(admitted),
            tokens: 0,
            bad: 0,
            _entered: entered,
            _subscription: subscriber,
            _place: place,
            _device: device,
        }
    }

    /// Its name, as in `welcome`.
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// What it gets.
    pub fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// A message of the client. Never waits; what is not accepted is answered in the outbox.
    /// Returns how long not to listen to a client that says more than it may: what is refused must
    /// not cost others anything.
    pub fn receive(&mut self, message: Incoming<'_>) -> Option<Duration> {
        let pause = self.collect(message);
        self.submit();
        pause
    }

    /// As [`Self::receive`], when more may follow at once: what the client says goes on its way
    /// with [`Self::submit`], all in one batch.
    pub(super) fn collect(&mut self, message: Incoming<'_>) -> Option<Duration> {
        let bytes = message.bytes().len();
        match self.protocol.decode(message, &self.user) {
            Ok(frame) => {
                self.bad = 0;
                self.frame(frame, bytes)
            }
            Err(refused) => {
                self.bad = if refused.understood { 0 } else { self.bad + 1 };
                self.outbox.push(&refused.into());
                if self.bad >= BAD_FRAMES {
                    self.outbox.close(Close::BadFrames);
                }
                self.empty(bytes)
            }
        }
    }

    /// What was collected goes on its way.
    pub(super) fn submit(&mut self) {
        if std::mem::take(&mut self.has_unsent) {
            self.claim.lane().start(&self.core);
        }
    }

    /// So many bytes of the client that say nothing, or are answered elsewhere. Returns what
    /// [`Self::receive`] returns.
    pub(super) fn empty(&self, bytes: usize) -> Option<Duration> {
        self.meter
            .charge_overhead(bytes)
            .err()
            .and_then(|rejection| pause(&rejection))
    }

    fn frame(&mut self, frame: ClientFrame, bytes: usize) -> Option<Duration> {
        if let Err(rejection) = self.meter.frame(&frame, bytes) {
            let pause = pause(&rejection);
            let id = match frame {
                ClientFrame::Send(message) => message.id.and_then(|id| id.shown().map(Arc::from)),
                ClientFrame::Ping { id }
                | ClientFrame::Members { id, .. }
                | ClientFrame::Token { id, .. }
                | ClientFrame::History { id, .. } => Some(id),
            };
            self.outbox.push(&ServerFrame::Rejected { id, rejection });
            return pause;
        }
        self.take(frame);
        None
    }

    fn take(&mut self, frame: ClientFrame) {
        match frame {
            ClientFrame::Send(message) => self.say(message),
            ClientFrame::Ping { id } => self.outbox.push(&ServerFrame::Pong { id }),
            ClientFrame::Members { id, after } => {
                if let Some(permit) = self.question(&id) {
                    let outbox = self.outbox.clone();
                    self.claim.members(id, after, outbox, permit);
                }
            }
            ClientFrame::Token { id, token } => self.refresh(id, token),
            ClientFrame::History { id, before, limit } => {
                let Some(permit) = self.question(&id) else {
                    return;
                };
                let (core, room, outbox) = (
                    self.core.clone(),
                    self.claim.room().clone(),
                    self.outbox.clone(),
                );
                self.core.spawn(async move {
                    outbox.push(&match history(&core, &room, before, limit).await {
                        Ok(history) => ServerFrame::History {
                            id: Some(id),
                            events: history.events,
                            more: history.more,
                            missing: history.missing.map(|hole| (hole.first, hole.last)),
                        },
                        Err(rejection) => ServerFrame::Rejected {
                            id: Some(id),
                            rejection,
                        },
                    });
                    drop(permit);
                });
            }
        }
    }

    /// Lets its client stay with a new token. It must be as good as that of a new session; one that
    /// is not changes nothing.
    fn refresh(&mut self, id: Arc<str>, token: Token) {
        let Some(permit) = self.question(&id) else {
            return;
        };
        let (core, room, user) = (
            self.core.clone(),
            self.claim.room().clone(),
            self.user.clone(),
        );
        let (outbox, admitted) = (self.outbox.clone(), self.admitted.clone());
        self.tokens += 1;
        let nth = self.tokens;
        let brought = Credentials {
            token: Some(token),
            // Where that is asked for, or it would not be here.
            proven: true,
        };
        self.core.spawn(async move {
            let admitting = core.access.admit(&room, Some(&user), Right::Read, &brought);
            outbox.push(&match admitting.await {
                Ok(admission) if !admitted.again(nth, admission) => ServerFrame::Rejected {
                    id: Some(id),
                    rejection: Rejection::new(
                        Reason::TokenInvalid,
                        "a token that came after this one was taken before: that one counts",
                    ),
                },
                Ok(admission) => {
                    let (now, wall) = (Instant::now(), SystemTime::now());
                    let left = |until: access::End| (until.at(now, wall) - now).as_millis() as u64;
                    ServerFrame::Refreshed {
                        id,
                        expires_in_ms: admission.until.map(left),
                    }
                }
                Err(rejection) => ServerFrame::Rejected {
                    id: Some(id),
                    rejection,
                },
            });
            drop(permit);
        });
    }

    /// Puts a message into the lane of its room; refuses it when too many wait.
    fn say(&mut self, message: Message) {
        self.has_spoken = true;
        self.has_unsent = true;
        let (core, size, id) = (&self.core, message.body.size(), message.id.clone());
        let admitted = &self.admitted;
        let check = || {
            admitted.check(Right::Write)?;
            core.room_for_more().and_then(|()| core.check_message(size))
        };
        let sent = |id: &CommandId| {
            let at = At::message(self.claim.room(), &self.user, id);
            core.tracer
                .note(Hop::Received, &at, || format!("{size} bytes"));
            let span = hop::message(&self.origin.linked(), size);
            Sent::new(self.outbox.clone(), self.key.clone(), id.clone(), span)
        };
        let whose = (self.id, self.user.clone());
        let lane = self.claim.lane();
        let pushed = self
            .check_content(&message)
            .and_then(|()| lane.push(whose, message, check, sent));
        if let Err(rejection) = pushed {
            metrics::refused(&rejection);
            let id = id.and_then(|id| id.shown().map(Arc::from));
            self.outbox.push(&ServerFrame::Rejected { id, rejection });
        }
    }

    /// Refuses what the room cannot take.
    fn check_content(&self, message: &Message) -> Result<(), Rejection> {
        if let Body::Handshake(bytes) = &message.body {
            self.admitted.check(Right::Write)?;
            self.core.check_policies()?;
            if let Ok(Handshake::Devices(_)) = Handshake::decode(bytes) {
                self.core.check_lists()?;
            }
        }
        let (from, id) = (&self.user, message.id.as_ref());
        self.claim.check_content(&message.body, from, id)
    }

    fn question(&mut self, id: &Arc<str>) -> Option<OwnedSemaphorePermit> {
        let questions = self
            .questions
            .get_or_insert_with(|| Arc::new(Semaphore::new(QUESTIONS)));
        let permit = questions.clone().try_acquire_owned().ok();
        if permit.is_none() {
            self.outbox.push(&ServerFrame::Rejected {
                id: Some(id.clone()),
                rejection: busy(),
            });
        }
        permit
    }

    /// Ends it for a reason that the client's side of the connection gave.
    pub fn close(&self, close: Close) {
        self.outbox.close(close);
    }
}

/// How long not to listen.
fn pause(rejection: &Rejection) -> Option<Duration> {
    rejection
        .retry_after_ms
        .map(|ms| Duration::from_millis(ms).min(PAUSE_MOST))
}

impl Drop for Session {
    fn drop(&mut self) {
        self.submit();
        let end = End {
            core: self.core.clone(),
            claim: self.claim.clone(),
            session: self.id,
            outbox: self.outbox.clone(),
            has_spoken: self.has_spoken,
        };
        self.core.spawn(end.run());
    }
}

/// The end of a session. Holds the room until that is stored, so that the node's mark on the room
/// stays as long as there may be a session to abandon.
struct End {
    core: Arc<Core>,
    claim: ReplicaRef,
    session: SessionId,
    outbox: Outbox,
    has_spoken: bool,
}

impl End {
    /// Waits until what the session said is stored, and submits that it is over.
    async fn run(self) {
        let Self {
            core,
            claim,
            session,
            outbox,
            has_spoken,
        } = self;
        let closed = outbox.closed();
        if let Some(close) = closed {
            metrics::closed(close);
        }
        if has_spoken {
            // A session that was replaced or lost is over already.
            if !matches!(closed, Some(Close::Replaced | Close::Unavailable)) {
                drop(timeout(FAREWELL, claim.lane().stored(session)).await);
            }
            claim.lane().leave(session);
        }
        if closed != Some(Close::Replaced) {
            core.close(&claim, session).await;
        }
        core.leave(session);
    }
}
