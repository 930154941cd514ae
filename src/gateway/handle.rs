//! What others hold of the gateway: clients are attached here, and operators end them here.

use super::{
    Client, Close, Join, Session, StartAt, Watch,
    core::{Core, draining, unavailable},
    creation::Creation,
    disconnect, history,
    join::{self, Connection, Knock},
    limits::Cost,
    metrics,
    newcomers::Newcomers,
    session_revalidation,
};
use crate::{
    access::Admission,
    bus::{self, Answered},
    cluster,
    pressure::Pressure,
    room::{
        Action, Identity, Key, Policy, Reason, Rejection, RoomId, Seq, SessionId, UserId,
        only_sealed,
    },
    trace::{At, Hop, Tracer},
    wire::{Message, ServerFrame},
};
use std::{net::IpAddr, sync::Arc, time::Duration};
use tokio::time::{Instant, timeout};

/// Whether a refusal is about who somebody is.
fn is_of_key(reason: Reason) -> bool {
    matches!(reason, Reason::KeyMismatch | Reason::ProofRequired)
}

/// How long a message over HTTP waits for its answer.
const POST_DEADLINE: Duration = Duration::from_secs(10);
/// How long a drain waits without any session ending: longer than storing an end takes while the
/// bus answers.
const STALL: Duration = Duration::from_secs(3);
/// Clients that may come back to the other nodes per second when this one drains.
const COMEBACKS: u64 = 1_000;
/// The least and the longest that a drained client is told to wait before it comes back, in
/// milliseconds.
const COMEBACK_MS: (u64, u64) = (500, 30_000);

/// A cheap handle on the gateway.
#[derive(Clone)]
pub struct Handle(pub(super) Arc<Core>);

impl Handle {
    /// The client at an address, whose limits then hold for what it does.
    pub fn client(&self, address: IpAddr) -> Client {
        self.0.limits.client(address)
    }

    /// Opens a session, within 10 s. Dropping the future leaves nothing open. For a client without
    /// an address, which only the limits of its session and user hold back.
    pub async fn join(&self, join: Join) -> Result<Session, Rejection> {
        join::join(&self.0, join, None, Connection::new()).await
    }

    /// Opens a session for the client at an address, as [`Self::join`].
    pub async fn join_of(&self, client: &Client, join: Join) -> Result<Session, Rejection> {
        join::join(&self.0, join, Some(client), Connection::new()).await
    }

    /// The same, over a connection.
    pub(super) async fn join_over(
        &self,
        client: &Client,
        join: Join,
        connection: Connection,
    ) -> Result<Session, Rejection> {
        join::join(&self.0, join, Some(client), connection).await
    }

    /// For a client that brings a token before it joins. The room is not asked about it.
    pub(super) fn await_token(&self, client: &Client, join: &Join) -> Result<Knock, Rejection> {
        Knock::stranger(&self.0, client, &join.room)
    }

    /// A place for a client that proves its key before it joins, if it would be let in then.
    pub(super) async fn knock(&self, client: &Client, join: &Join) -> Result<Knock, Rejection> {
        join::knock_to_prove(&self.0, client, join).await
    }

    /// Whether the client at an address would be let in now, within 10 s. Opens nothing.
    pub async fn may_join(&self, client: &Client, join: &Join) -> Result<(), Rejection> {
        join::may_join(&self.0, client, join).await
    }

    /// Lets a client read a room without a session, within 25 s.
    pub async fn watch(
        &self,
        client: &Client,
        room: &RoomId,
        from: StartAt,
    ) -> Result<Watch, Rejection> {
        join::watch(&self.0, client, room, from, Admission::OPEN).await
    }

    /// The same, as long as it was let in.
    pub(super) async fn watch_until(
        &self,
        client: &Client,
        room: &RoomId,
        from: StartAt,
        admission: Admission,
    ) -> Result<Watch, Rejection> {
        join::watch(&self.0, client, room, from, admission).await
    }

    /// Sends a message without a session and waits for its answer, for at most 10 s. The message
    /// has an id; the identity is what was shown of the key. For a client without an address.
    pub async fn post(
        &self,
        room: &RoomId,
        user: UserId,
        whose: (Key, Identity),
        message: Message,
    ) -> Result<ServerFrame, Rejection> {
        self.post_by(None, room, user, whose, message).await
    }

    /// The same for the client at an address, for which the request counts already.
    pub async fn post_of(
        &self,
        client: &Client,
        room: &RoomId,
        user: UserId,
        whose: (Key, Identity),
        message: Message,
    ) -> Result<ServerFrame, Rejection> {
        self.post_by(Some(client), room, user, whose, message).await
    }

    async fn post_by(
        &self,
        client: Option<&Client>,
        room: &RoomId,
        user: UserId,
        (key, identity): (Key, Identity),
        message: Message,
    ) -> Result<ServerFrame, Rejection> {
        if self.0.is_draining() {
            return Err(draining());
        }
        self.0
            .limits
            .post(&user, &key, Cost::message(&message.body))?;
        let (begun, size) = (Instant::now(), message.body.size());
        let id = message
            .id
            .ok_or_else(|| Rejection::new(Reason::BadField, "a message needs an id"))?;
        let shown = id.shown().unwrap_or_default().into();
        if let Err(rejection) = self.0.room_for_more() {
            return Ok(ServerFrame::Rejected {
                id: Some(shown),
                rejection,
            });
        }
        let at = At::message(room, &user, &id);
        let tracer = &self.0.tracer;
        tracer.note(Hop::Received, &at, || format!("{size} bytes, over HTTP"));
        let maker = (user.clone(), key.clone());
        let action = Action::Send {
            user,
            key,
            identity,
            turn: None,
            after: 0,
            request: Some(self.0.new_request()),
            id,
            to: message.to,
            body: message.body,
        };
        let decided = async {
            self.0.check_message(size)?;
            // Where it is known, nothing is submitted that would be in a file of the bus.
            let policy = self.0.replica(room).and_then(|replica| replica.policy());
            if policy == Some(Policy::Sealed) {
                return Err(only_sealed());
            }
            Creation::pay_for(&self.0, room, (&maker.0, &maker.1), client).await?;
            let (user, key) = maker;
            let who = bus::Admission {
                user,
                key,
                identity,
                device: None,
                policy: None,
                former: None,
            };
            Newcomers::pay(&self.0, room, who, client).await?;
            self.0.request(room, action).await
        };
        let late = || {
            Err(unavailable(
                "not journaled in time; it still may be: send it again with the same id",
            ))
        };
        let decided = timeout(POST_DEADLINE, decided).await;
        match decided.unwrap_or_else(|_| late()) {
            Ok(Answered::Journaled {
                seq,
                epoch,
                duplicate,
            }) => {
                metrics::journaled(duplicate, begun.elapsed());
                Ok(ServerFrame::Journaled {
                    id: shown,
                    seq,
                    epoch,
                    duplicate,
                })
            }
            // Refused like an upgrade.
            Ok(Answered::Rejected(rejection)) if is_of_key(rejection.reason) => {
                metrics::refused(&rejection);
                Err(rejection)
            }
            Ok(Answered::Rejected(rejection)) | Err(rejection) => {
                metrics::refused(&rejection);
                Ok(ServerFrame::Rejected {
                    id: Some(shown),
                    rejection,
                })
            }
        }
    }

    /// The last events below `before`, at most `limit` (1 to 500): the `history` frame without id.
    /// The request counts for the address already, its size does not.
    pub async fn history(
        &self,
        client: &Client,
        room: &RoomId,
        before: Option<Seq>,
        limit: u16,
    ) -> Result<ServerFrame, Rejection> {
        client.request(Cost::history(limit).beyond_a_frame())?;
        let history = history::history(&self.0, room, before, limit).await?;
        Ok(ServerFrame::History {
            id: None,
            events: history.events,
            more: history.more,
            missing: history.missing.map(|hole| (hole.first, hole.last)),
        })
    }

    /// Makes sure of the sessions here whenever others may have taken this node for dead; ends with
    /// the cluster part.
    pub async fn follow(&self, members: cluster::Handle) {
        session_revalidation::follow(self.0.clone(), members).await;
    }

    /// Sessions that are open or opening here.
    pub fn sessions(&self) -> usize {
        self.0.sessions().len()
    }

    /// Sessions in a room that are open or opening here, with their users.
    pub fn sessions_in(&self, room: &RoomId) -> Vec<(SessionId, UserId)> {
        let sessions = self.0.sessions();
        let here = sessions.iter().filter(|(_, entry)| entry.room == *room);
        here.map(|(session, entry)| (*session, entry.user.clone()))
            .collect()
    }

    /// Bytes that wait for the clients of these sessions.
    pub fn waiting_bytes(&self) -> usize {
        self.0
            .sessions()
            .values()
            .map(|entry| entry.outbox.waiting_bytes())
            .sum()
    }

    /// Ends a session for an operator (4001). Whether it is here.
    pub fn end(&self, session: SessionId) -> bool {
        let sessions = self.0.sessions();
        let entry = sessions.get(&session);
        entry
            .inspect(|entry| entry.outbox.close(Close::Operator))
            .is_some()
    }

    /// Sends all sessions elsewhere (1001 after a `bye`), so many per second; returns at once how
    /// many those are. New clients are welcome. `None`: it is being done already.
    pub fn disconnect(&self, per_second: f64) -> Option<usize> {
        disconnect::begin(&self.0, per_second)
    }

    /// Whether clients can be served; the reason when not.
    pub fn ready(&self) -> Result<(), String> {
        if self.0.is_draining() {
            return Err("the gateway is draining".into());
        }
        let listening = *self.0.listening.borrow();
        listening
            .then_some(())
            .ok_or_else(|| "the gateway does not hear answers yet: the bus is not available".into())
    }

    /// What is not as it should be, and keeps nobody out of rooms that are there.
    pub fn warnings(&self) -> Vec<String> {
        self.0.creation.warning().into_iter().collect()
    }

    /// Where it is told how short of memory this process is.
    pub fn pressure(&self) -> Pressure {
        self.0.pressure.clone()
    }

    /// Where the hops of messages are noted.
    pub fn tracer(&self) -> Tracer {
        self.0.tracer.clone()
    }

    /// Refuses new clients from now on; those that are here stay.
    pub fn refuse(&self) {
        self.0.draining.cancel();
    }

    /// Refuses new clients, says goodbye to all sessions (they come back to other nodes, spread
    /// over time), and waits until their ends are stored, for at most `drain_ms`, and not on when
    /// none ends for [`STALL`].
    pub async fn drain(&self) {
        self.refuse();
        self.0.leaving.cancel();
        let sessions: Vec<_> = self
            .0
            .sessions()
            .values()
            .map(|entry| entry.outbox.clone())
            .collect();
        let spread =
            (sessions.len() as u64 * 1_000 / COMEBACKS).clamp(COMEBACK_MS.0, COMEBACK_MS.1);
        for outbox in &sessions {
            let reconnect_after_ms =
                COMEBACK_MS.0 + self.0.jitter(Duration::from_millis(spread)).as_millis() as u64;
            outbox.push(&ServerFrame::Bye {
                reason: "draining".into(),
                reconnect_after_ms,
            });
            outbox.close(Close::GoingAway);
        }
        let all_ended = async {
            let mut count = self.0.session_count();
            let mut left = usize::MAX;
            while left > 0 {
                let fewer = count.wait_for(|count| *count < left);
                // What cannot be stored now will hardly be in a moment.
                let patience = self.0.bus.ready().map_or(STALL / 3, |()| STALL);
                left = match timeout(patience, fewer).await {
                    // The sender lives in the core, so it never fails.
                    Ok(Ok(count)) => *count,
                    Ok(Err(_)) | Err(_) => return false,
                };
            }
            true
        };
        if !matches!(timeout(self.0.config.drain(), all_ended).await, Ok(true)) {
            tracing::warn!(
                left = self.sessions(),
                "not all sessions ended in time; the owners of their rooms end them as abandoned"
            );
        }
    }

    /// Ends everything at once, without a farewell, as if the process had died.
    pub fn halt(&self) {
        self.0.halt.cancel();
    }
}
