//! What all parts of the gateway share: the ports, the rooms and sessions of this node, who waits
//! for which answer.

use super::{
    Config, Outbox,
    creation::Creation,
    device::Devices,
    episode::Episode,
    expiry::Expiries,
    history_cache::HistoryCache,
    limits::Limits,
    losses::Losses,
    metrics,
    newcomers::Newcomers,
    outbox,
    pending_replies::PendingReplies,
    proofs::Proofs,
    replays::Replays,
    replica::{self, Replica, ReplicaRef},
};
use crate::{
    access::Access,
    bus::{self, Answered, Bus, ReplyTo, Submission},
    cluster,
    journal::Journal,
    pressure::Pressure,
    room::{
        Action, DeviceId, Identity, Incarnation, Key, Policy, Reason, Rejection, RequestId, RoomId,
        SessionId, UserId,
    },
    task,
    trace::{At, Hop, Tracer},
};
use backon::{BackoffBuilder, ExponentialBuilder};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64},
    },
    time::Duration,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch},
    time::{Instant, sleep},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// A command without an answer is submitted again after this: an answer can be lost. Longer than a
/// usual commit, shorter than patience.
pub(super) const ANSWER_WAIT: Duration = Duration::from_secs(3);

/// Marks of rooms that are taken back at a time: when thousands of clients leave at once, those who
/// come do not wait behind them.
const UNMARKINGS: usize = 32;

/// The first generation of a lane is below this, at random: what names a batch is not to be
/// guessed.
const GENERATIONS: u64 = 1 << 48;

/// What all parts of the gateway share.
pub(super) struct Core {
    pub(super) config: Config,
    /// Who may come in.
    pub(super) access: Access,
    pub(super) expiries: Arc<Expiries>,
    pub(super) me: Incarnation,
    pub(super) node: String,
    pub(super) bus: Arc<dyn Bus>,
    pub(super) pending: Arc<PendingReplies>,
    /// The last generation of a lane to any room.
    pub(super) generations: Arc<AtomicU64>,
    /// The cluster as its part sees it; not there for a gateway that stands alone.
    pub(super) members: OnceLock<watch::Receiver<cluster::View>>,
    /// How often others took this node for dead, or may have.
    pub(super) deaths: watch::Sender<u64>,
    pub(super) history_cache: HistoryCache,
    pub(super) creation: Creation,
    pub(super) newcomers: Newcomers,
    pub(super) losses: Losses,
    /// When something was heard last that is not so.
    pub(super) rumours: Episode,
    /// How many losses of events by the bus had happened when the last one was dealt with in all
    /// rooms that this node has marked.
    pub(super) cleared: AtomicU64,
    pub(super) limits: Limits,
    pub(super) devices: Devices,
    pub(super) proofs: Proofs,
    pub(super) replays: Replays,
    /// How short of memory this process is.
    pub(super) pressure: Pressure,
    /// Where the hops of messages are noted.
    pub(super) tracer: Tracer,
    pub(super) tasks: TaskTracker,
    /// Ends every task at once, without a farewell.
    pub(super) halt: CancellationToken,
    /// Whether answers arrive.
    pub(super) listening: watch::Sender<bool>,
    /// Cancelled: no new clients.
    pub(super) draining: CancellationToken,
    /// Whether the sessions here are being sent elsewhere.
    pub(super) disconnecting: AtomicBool,
    /// Cancelled: event streams end.
    pub(super) leaving: CancellationToken,
    rooms: Mutex<HashMap<RoomId, Arc<Replica>>>,
    sessions: Mutex<BTreeMap<SessionId, SessionEntry>>,
    session_count: watch::Sender<usize>,
    places: Arc<Semaphore>,
    /// Marks that are taken back at a time.
    pub(super) unmarking: Semaphore,
    random: Mutex<StdRng>,
}

/// A session that is open or opening here.
#[derive(Clone)]
pub(super) struct SessionEntry {
    pub(super) outbox: Outbox,
    pub(super) room: RoomId,
    pub(super) user: UserId,
    pub(super) key: Key,
    pub(super) identity: Identity,
    pub(super) device: Option<DeviceId>,
    pub(super) policy: Option<Policy>,
}

impl SessionEntry {
    /// The command that opens it, at this node. With a former key only the first time: once more it
    /// must not take the name from a key that got it since.
    pub(super) fn open(
        &self,
        session: SessionId,
        gateway: Incarnation,
        former: Option<Key>,
    ) -> Action {
        Action::Open {
            session,
            user: self.user.clone(),
            key: self.key.clone(),
            identity: self.identity,
            device: self.device.clone(),
            gateway,
            policy: self.policy,
            former,
        }
    }
}

impl Core {
    pub(super) fn new(
        config: Config,
        access: Access,
        me: Incarnation,
        node: String,
        bus: Arc<dyn Bus>,
        journal: Arc<dyn Journal>,
        mut random: StdRng,
    ) -> Self {
        let turns = access.turns();
        let most_rooms = config.max_rooms;
        Self {
            places: Arc::new(Semaphore::new(config.max_sessions)),
            unmarking: Semaphore::new(UNMARKINGS),
            limits: Limits::new(&config),
            pressure: Pressure::default(),
            tracer: Tracer::default(),
            config,
            access,
            expiries: Arc::default(),
            me,
            node,
            cleared: AtomicU64::new(bus.health().borrow().rollbacks),
            bus,
            pending: Arc::new(PendingReplies::new(StdRng::from_rng(&mut random))),
            generations: Arc::new(random.random_range(0..GENERATIONS).into()),
            members: OnceLock::new(),
            deaths: watch::Sender::default(),
            devices: Devices::default(),
            proofs: Proofs::new(turns),
            replays: Replays::default(),
            creation: Creation::new(journal.clone(), most_rooms),
            newcomers: Newcomers::default(),
            history_cache: HistoryCache::new(journal),
            losses: Losses::default(),
            rumours: Episode::default(),
            tasks: TaskTracker::new(),
            halt: CancellationToken::new(),
            listening: watch::Sender::new(false),
            draining: CancellationToken::new(),
            disconnecting: AtomicBool::new(false),
            leaving: CancellationToken::new(),
            rooms: Mutex::default(),
            sessions: Mutex::default(),
            session_count: watch::Sender::new(0),
            random: Mutex::new(random),
        }
    }

    /// Runs a task until it ends or the gateway halts.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let halt = self.halt.clone();
        task::spawn(&self.tasks, async move {
            halt.run_until_cancelled_owned(task)
                .await
                .unwrap_or_default()
        });
    }

    // Rooms.

    /// The replica of a room, made if there is none; it stays at least as long as the claim.
    pub(super) fn claim(self: &Arc<Self>, room: &RoomId) -> ReplicaRef {
        let mut rooms = lock(&self.rooms);
        if let Some(replica) = rooms.get(room) {
            return ReplicaRef::new(replica.clone());
        }
        let (replica, task) = replica::new(self.clone(), room.clone());
        let claim = ReplicaRef::new(replica.clone());
        rooms.insert(room.clone(), replica);
        metrics::rooms(rooms.len());
        drop(rooms);
        self.spawn(task);
        claim
    }

    /// The replica of a room, if there is one.
    pub(super) fn replica(&self, room: &RoomId) -> Option<Arc<Replica>> {
        lock(&self.rooms).get(room).cloned()
    }

    /// Forgets the replica of a room, unless somebody claims it.
    pub(super) fn release(&self, replica: &Replica) -> bool {
        let mut rooms = lock(&self.rooms);
        let unclaimed = replica.claims() == 0;
        if unclaimed {
            rooms.remove(replica.room());
            metrics::rooms(rooms.len());
        }
        unclaimed
    }

    // Sessions.

    /// A place for one more client.
    pub(super) fn place(&self) -> Result<OwnedSemaphorePermit, Rejection> {
        if self.is_draining() {
            return Err(draining());
        }
        let full = || {
            Rejection::retry(
                Reason::Unavailable,
                "this node has as many clients as it takes: try again, or another node",
                5_000,
            )
        };
        if self.pressure.is_tight() {
            metrics::limited("memory");
            return Err(short_of_memory());
        }
        self.places.clone().try_acquire_owned().map_err(|_| full())
    }

    /// How much may wait for a client.
    pub(super) fn backlog(&self) -> outbox::Limits {
        self.config.backlog(self.pressure.clone())
    }

    /// Refuses what would make more, when there is no memory for it.
    pub(super) fn room_for_more(&self) -> Result<(), Rejection> {
        if self.pressure.is_short() {
            metrics::limited("memory");
            return Err(busy());
        }
        Ok(())
    }

    pub(super) fn enter(&self, session: SessionId, entry: SessionEntry) {
        let mut sessions = lock(&self.sessions);
        sessions.insert(session, entry);
        self.session_count.send_replace(sessions.len());
        metrics::sessions(sessions.len());
    }

    pub(super) fn leave(&self, session: SessionId) {
        let mut sessions = lock(&self.sessions);
        sessions.remove(&session);
        self.session_count.send_replace(sessions.len());
        metrics::sessions(sessions.len());
    }

    /// Sessions that are open or opening here.
    pub(super) fn sessions(&self) -> MutexGuard<'_, BTreeMap<SessionId, SessionEntry>> {
        lock(&self.sessions)
    }

    /// How many there are, as it changes.
    pub(super) fn session_count(&self) -> watch::Receiver<usize> {
        self.session_count.subscribe()
    }

    pub(super) fn is_draining(&self) -> bool {
        self.draining.is_cancelled()
    }

    // Commands.

    /// How often the bus has lost events.
    pub(super) fn rollbacks(&self) -> u64 {
        self.bus.health().borrow().rollbacks
    }

    /// The most bytes of a batch of messages.
    pub(super) fn fits(&self) -> usize {
        let health = self.bus.health();
        let largest = health.borrow().largest;
        largest.saturating_sub(bus::ENVELOPE)
    }

    /// Submits a command and waits for its answer; submits it again when either is missing. The
    /// caller's deadline ends it; what was submitted may still be decided. Refused with `busy` when
    /// the bus is full.
    pub(super) async fn request(
        &self,
        room: &RoomId,
        action: Action,
    ) -> Result<Answered, Rejection> {
        // Always true, or the gateway is gone and with it the caller.
        let _ = self
            .listening
            .subscribe()
            .wait_for(|listening| *listening)
            .await;
        let mut waiting = self.pending.wait_once();
        let reply = Some(ReplyTo {
            node: self.me,
            tag: waiting.place.tag,
        });
        // A message without a session has no number: submitted again after very many others, it
        // would be another one. Its client decides that.
        let silence = if matches!(action, Action::Send { .. }) {
            Duration::MAX
        } else {
            ANSWER_WAIT
        };
        let submission = Submission {
            room: room.clone(),
            action,
            reply,
        };
        let mut pauses = self.pauses();
        let mut uncertain = false;
        let mut accepted = Accepted::new(&submission.action);
        loop {
            self.check_bus().inspect_err(|why| accepted.refused(why))?;
            let submitted = tokio::select! {
                biased; // The answer first: it makes the rest needless.
                answered = &mut waiting.answer => return accepted.answered(answered),
                submitted = self.bus.submit(&submission) => submitted,
            };
            if let (Ok(position), Action::Send { user, id, .. }) = (&submitted, &submission.action)
            {
                let at = At::message(room, user, id);
                self.tracer
                    .note(Hop::Stored, &at, || format!("command {}", position.0));
            }
            let pause = match submitted {
                Ok(_) => {
                    accepted.stored();
                    silence
                }
                Err(bus::Error::Full(_)) if !uncertain => return Err(busy()),
                Err(bus::Error::TooLarge(_)) => return Err(bus::too_large_now()),
                Err(_) => pauses.next().unwrap_or(ANSWER_WAIT),
            };
            uncertain |= !matches!(
                submitted,
                Err(bus::Error::Full(_) | bus::Error::Unavailable(_))
            );
            let unkept = bus::until(self.bus.health(), |now| now.refuses_commands().is_some());
            tokio::select! {
                biased; // An answer counts, whatever the bus is like.
                answered = &mut waiting.answer => return accepted.answered(answered),
                () = unkept => {}
                () = sleep(pause) => {}
            }
        }
    }

    /// Submits that a session ended, until it is stored. Only then its place in the room is given
    /// back.
    pub(super) async fn close(&self, claim: &ReplicaRef, session: SessionId) {
        let submission = Submission {
            room: claim.room().clone(),
            action: Action::Close {
                session,
                gateway: Some(self.me),
            },
            reply: None,
        };
        let mut pauses = self.pauses();
        while let Err(error) = self.bus.submit(&submission).await {
            tracing::debug!(room = %claim.room(), %session, %error, "the end of a session is not stored yet");
            sleep(pauses.next().unwrap_or(ANSWER_WAIT)).await;
        }
    }

    // Randomness, all from one seed.

    /// Growing pauses between attempts, with jitter: 50 ms to 2 s, without end.
    pub(super) fn pauses(&self) -> impl Iterator<Item = Duration> + Send + use<> {
        let (least, most) = (Duration::from_millis(50), Duration::from_secs(2));
        let jitter = ExponentialBuilder::new()
            .with_jitter()
            .with_jitter_seed(lock(&self.random).random());
        jitter
            .with_min_delay(least)
            .with_max_delay(most)
            .without_max_times()
            .build()
    }

    /// A duration below `most`.
    pub(super) fn jitter(&self, most: Duration) -> Duration {
        most.mul_f64(lock(&self.random).random_range(0.0..1.0))
    }

    pub(super) fn new_session(&self) -> SessionId {
        SessionId::new(self.uuid())
    }

    pub(super) fn new_request(&self) -> RequestId {
        RequestId::new(self.uuid())
    }

    fn uuid(&self) -> uuid::Uuid {
        let bytes = lock(&self.random).random();
        uuid::Builder::from_random_bytes(bytes).into_uuid()
    }
}

/// Measures how long a message without a session waits for its answer after it was stored. One that
/// is given up waited until then.
struct Accepted {
    is_message: bool,
    at: Option<Instant>,
}

impl Accepted {
    fn new(action: &Action) -> Self {
        Self {
            is_message: matches!(action, Action::Send { .. }),
            at: None,
        }
    }

    fn stored(&mut self) {
        if self.is_message && self.at.is_none() {
            metrics::accepted();
            self.at = Some(Instant::now());
        }
    }

    fn refused(&mut self, why: &Rejection) {
        if self.at.take().is_some() {
            metrics::accepted_refused(why);
        }
    }

    fn answered(
        mut self,
        answered: Result<Answered, oneshot::error::RecvError>,
    ) -> Result<Answered, Rejection> {
        let answered = answered.map_err(|_| unavailable("the gateway stops"));
        match &answered {
            // The answer may be faster than the word that it is stored.
            Ok(Answered::Journaled { .. }) => self.stored(),
            Ok(Answered::Rejected(why)) | Err(why) => self.refused(why),
        }
        answered
    }
}

impl Drop for Accepted {
    fn drop(&mut self) {
        if let Some(at) = self.at {
            metrics::waited(at.elapsed());
        }
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn unavailable(message: impl Into<String>) -> Rejection {
    Rejection::retry(Reason::Unavailable, message, 1_000)
}

/// Nothing new can be kept.
pub(super) fn unkept() -> Rejection {
    unavailable("the service cannot keep anything new now: send again later, with the same id")
}

pub(super) fn busy() -> Rejection {
    Rejection::retry(
        Reason::Busy,
        "there is more to do than can be stored now: send again later",
        500,
    )
}

pub(super) fn short_of_memory() -> Rejection {
    Rejection::retry(
        Reason::Unavailable,
        "this node is short of memory: try again, or another node",
        5_000,
    )
}

pub(super) fn draining() -> Rejection {
    Rejection::retry(
        Reason::Draining,
        "this node is stopping: connect again, another one answers",
        1_000,
    )
}
