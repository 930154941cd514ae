//! One client in one room: what it sends goes in here, what it gets waits in its outbox. Knows no
//! sockets: a WebSocket, or a client of a simulation, is attached to it.

use super::{
    Close, Outbox,
    core::{Core, busy},
    device::Device,
    history::history,
    join::Viewer,
    limits::{Entered, Meter},
    metrics,
    replica::Claim,
    sends::Sends,
};
use crate::{
    room::{Rejection, SessionId, UserId},
    wire::{ClientFrame, Incoming, Protocol, ServerFrame},
};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};
use tokio_util::sync::{CancellationToken, DropGuard};

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
    claim: Claim,
    id: SessionId,
    user: UserId,
    protocol: Protocol,
    outbox: Outbox,
    sends: Arc<Sends>,
    questions: Arc<Semaphore>,
    meter: Meter,
    bad: u32,
    _entered: Option<Entered>,
    _viewer: Viewer,
    _place: OwnedSemaphorePermit,
    _device: Option<Arc<Device>>,
    _over: DropGuard,
}

impl Session {
    #[expect(
        clippy::too_many_arguments,
        reason = "the parts of a session, each made at its own step of joining"
    )]
    pub(super) fn begin(
        core: Arc<Core>,
        claim: Claim,
        id: SessionId,
        user: UserId,
        protocol: Protocol,
        outbox: Outbox,
        sends: Arc<Sends>,
        viewer: Viewer,
        (place, device): (OwnedSemaphorePermit, Option<Arc<Device>>),
        (meter, entered): (Meter, Option<Entered>),
    ) -> Self {
        let over = CancellationToken::new();
        core.spawn(speak(
            core.clone(),
            claim.clone(),
            id,
            outbox.clone(),
            sends.clone(),
            over.clone(),
        ));
        let questions = Arc::new(Semaphore::new(QUESTIONS));
        let _over = over.drop_guard();
        Self {
            core,
            claim,
            id,
            user,
            protocol,
            outbox,
            sends,
            questions,
            meter,
            bad: 0,
            _entered: entered,
            _viewer: viewer,
            _place: place,
            _device: device,
            _over,
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

    /// So many bytes of the client that say nothing, or are answered elsewhere. Returns what
    /// [`Self::receive`] returns.
    pub(super) fn empty(&self, bytes: usize) -> Option<Duration> {
        self.meter
            .empty_frame(bytes)
            .err()
            .and_then(|rejection| pause(&rejection))
    }

    fn frame(&mut self, frame: ClientFrame, bytes: usize) -> Option<Duration> {
        if let Err(rejection) = self.meter.frame(&frame, bytes) {
            let pause = pause(&rejection);
            let id = match frame {
                ClientFrame::Send(message) => message.id.and_then(|id| id.shown().map(Arc::from)),
                ClientFrame::Ping { id }
                | ClientFrame::Members { id }
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
            ClientFrame::Send(message) => self.sends.push(message),
            ClientFrame::Ping { id } => self.outbox.push(&ServerFrame::Pong { id }),
            ClientFrame::Members { id } => {
                if let Some(permit) = self.question(&id) {
                    self.claim.members(id, self.outbox.clone(), permit);
                }
            }
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

    fn question(&self, id: &Arc<str>) -> Option<OwnedSemaphorePermit> {
        let permit = self.questions.clone().try_acquire_owned().ok();
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

/// Submits that a session is over, behind what it said. Holds the room until that is stored, so that
/// the node's mark on the room stays as long as there may be a session to abandon.
async fn speak(
    core: Arc<Core>,
    claim: Claim,
    session: SessionId,
    outbox: Outbox,
    sends: Arc<Sends>,
    over: CancellationToken,
) {
    over.cancelled().await;
    let closed = outbox.closed();
    if let Some(close) = closed {
        metrics::closed(close);
    }
    // A session that was replaced or lost is over already.
    if !matches!(closed, Some(Close::Replaced | Close::Unavailable)) {
        drop(timeout(FAREWELL, sends.finish()).await);
    }
    drop(sends); // Before the end is submitted, as `Lane::leave` wants it.
    if closed != Some(Close::Replaced) {
        core.close(&claim, session).await;
    }
    core.leave(session);
}
