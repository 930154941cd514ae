//! A room as one gateway knows it: subscribed to once, whatever the number of clients, and complete
//! from the moment it started.
//!
//! One task per room owns all of it ([`generation`]); others hold a [`ReplicaRef`] and send it
//! messages. It starts by subscribing and asking the owner, drops by seq what overlaps, reads from
//! the journal what it missed, and puts each event, encoded once, into the outboxes of its
//! subscribers. When nobody claims it for a while, it takes back the node's mark on the room and
//! ends.

mod asking;
mod epochs;
mod evidence;
mod generation;
mod log;
mod openings;
mod subscribers;

pub(super) use subscribers::{SessionRef, SubscriberId};

use super::{
    Outbox, core::Core, history_cache::Page, lane::Lane, metrics, session_revalidation::end_all,
};
use crate::{
    bus,
    room::{
        Body, CommandId, Epoch, Erasing, Policy, Rejection, RoomId, Seq, SessionId, UserId,
        not_sealed, only_sealed, refusal_of,
    },
    wire::SharedEvent,
};
use epochs::Epochs;
use seal::Handshake;
use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{
            AtomicU64,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
    time::Duration,
};
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc, oneshot, watch},
    time::{sleep, timeout},
};

/// How long a room stays without claims: a client that reconnects finds it warm.
const LINGER: Duration = Duration::from_secs(5);
/// Before a question that a replica's end left unanswered is asked again.
const AGAIN: Duration = Duration::from_millis(50);
/// Before a mark that was lost is tried again.
const REMARK: Duration = Duration::from_secs(1);
/// How long a room that cannot be served refuses joins before it asks again.
const REFUSED: Duration = Duration::from_secs(1);

/// A room's replica, as others see it.
pub(super) struct Replica {
    room: RoomId,
    lane: Arc<Lane>,
    /// The head; [`u64::MAX`] while it is not known.
    head: AtomicU64,
    /// The place of the last purge: nothing before it is told. Never behind the head.
    purged: AtomicU64,
    /// Whose content is not told, up to which place.
    erasing: watch::Sender<Arc<Erasing>>,
    /// What the room asks of those who come, while its head is known.
    policy: watch::Sender<Policy>,
    /// Of a sealed room.
    epochs: Mutex<Epochs>,
    claims: watch::Sender<usize>,
    /// The last subscriber's name; they stay unique when the replica starts again.
    subscribers: AtomicU64,
    /// How often it has started.
    generations: AtomicU64,
    /// Never longer than the number of clients here: each message waits for its answer, is the last
    /// of its subscriber, or holds a permit.
    messages: mpsc::UnboundedSender<Message>,
    /// Each waits for its answer.
    marks: mpsc::UnboundedSender<oneshot::Sender<Result<(), bus::Error>>>,
}

/// Keeps a replica from ending.
pub(super) struct ReplicaRef(Arc<Replica>);

/// What is asked of a replica.
enum Message {
    /// To say how far it has the room.
    Extent(oneshot::Sender<Result<Extent, Rejection>>),
    /// To say how far it has the room once that is for sure the room in which somebody was let in.
    Opened(Opening, oneshot::Sender<Extent>),
    /// To add a subscriber; answers with what it still needs before it is live.
    Attach(
        Box<Attach>,
        oneshot::Sender<(SubscriberId, Option<CatchUp>)>,
    ),
    /// To go on with a subscriber that is not live yet, with a page of old events. The place: what
    /// it needs before it is gone.
    Feed(
        SubscriberId,
        Option<Arc<Page>>,
        Option<Seq>,
        oneshot::Sender<Option<CatchUp>>,
    ),
    /// To tell the events up to this place, at most so many, that it has for sure.
    Recent(Seq, usize, oneshot::Sender<Vec<SharedEvent>>),
    /// To put a `members` frame with this id into an outbox: those behind a name.
    Members(Arc<str>, Option<UserId>, Outbox, OwnedSemaphorePermit),
    /// The room's owner of this epoch says that it ends here, or did a moment ago.
    Told(Seq, Epoch),
    /// A subscriber is gone.
    Detach(SubscriberId),
}

/// How far a replica has its room.
#[derive(Debug, Clone, Copy)]
pub(super) struct Extent {
    /// Of which generation of the replica this is said.
    pub(super) generation: u64,
    pub(super) head: Seq,
    /// The place of the last purge: nothing before it is told.
    pub(super) purged: Seq,
    /// The first place from which it has all events.
    pub(super) oldest: Seq,
}

/// What the room's owner answered to somebody who comes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Opening {
    /// The session that it opened; none for an event stream, which asks only.
    pub(super) session: Option<SessionId>,
    /// The place of the session's event; without one, where the room ended then.
    pub(super) seq: Seq,
    pub(super) epoch: Epoch,
}

/// Where a subscriber begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    /// After this place, which is not above the head.
    After(Seq),
    /// With the last events, so many.
    Last(u16),
}

/// A new subscriber.
pub(super) struct Attach {
    pub(super) outbox: Outbox,
    pub(super) start: Start,
    /// The first place of those at the end that are still there, as far as known.
    pub(super) floor: Seq,
    /// Old events that it needs first.
    pub(super) page: Option<Arc<Page>>,
    /// False: tell it that continuity was lost.
    pub(super) recovered: bool,
    /// Whose session it is; none for an event stream.
    pub(super) session: Option<SessionRef>,
    /// Only this generation of the replica may take it in: one that began before the session was
    /// opened, so that it noticed whatever ended the session since.
    pub(super) generation: u64,
}

/// What a subscriber needs before it is live.
#[derive(Debug, Clone, Copy)]
pub(super) struct CatchUp {
    pub(super) next: Seq,
    pub(super) head: Seq,
    /// Whether the replica has it, so that only space in the outbox is missing.
    pub(super) recent: bool,
}

impl Start {
    /// The first place that a subscriber gets.
    pub(super) fn first(self, head: Seq, floor: Seq) -> Seq {
        match self {
            Self::After(seq) => seq.next(),
            Self::Last(count) => Seq((head.0 + 1).saturating_sub(count.into()))
                .max(floor)
                .max(Seq(1)),
        }
    }
}

/// A replica without claims, and the task that runs it.
pub(super) fn new(
    core: Arc<Core>,
    room: RoomId,
) -> (Arc<Replica>, impl Future<Output = ()> + Send) {
    let (messages, inbox) = mpsc::unbounded_channel();
    let (marks, wanted) = mpsc::unbounded_channel();
    let (head, claims) = (AtomicU64::new(u64::MAX), watch::Sender::new(0));
    let purged = AtomicU64::new(0);
    let (subscribers, generations) = (AtomicU64::new(0), AtomicU64::new(0));
    let policy = watch::Sender::new(Policy::Open);
    let lane = Arc::new(Lane::new(&core, room.clone()));
    let replica = Arc::new(Replica {
        room,
        lane,
        head,
        purged,
        erasing: watch::Sender::default(),
        policy,
        epochs: Mutex::default(),
        claims,
        subscribers,
        generations,
        messages,
        marks,
    });
    (replica.clone(), run(core, replica, inbox, wanted))
}

type Inbox = mpsc::UnboundedReceiver<Message>;
type Marks = mpsc::UnboundedReceiver<oneshot::Sender<Result<(), bus::Error>>>;

async fn run(core: Arc<Core>, replica: Arc<Replica>, mut inbox: Inbox, mut marks: Marks) {
    let mut marked = false;
    let mut cleared = Some(core.cleared.load(Relaxed));
    loop {
        tokio::select! {
            biased; // Nobody there counts first: what else happens then is for nobody.
            () = deserted(&replica) => {}
            () = live(&core, &replica, &mut inbox, &mut cleared) => {}
            () = mark(&core, &replica, &mut marks, &mut marked) => {}
        }
        let is_cleared = cleared == Some(core.rollbacks());
        if marked && is_cleared {
            // The commands that ended the sessions are stored. Without success the mark stays, and
            // the next try comes after another linger.
            let turn = tokio::select! {
                biased;
                turn = core.unmarking.acquire() => turn,
                () = replica.claimed() => continue,
            };
            marked = core.bus.unmark(core.me, &replica.room).await.is_err();
            drop(turn);
        }
        if !marked && core.release(&replica) {
            return;
        }
    }
}

/// Lives again and again: a replica that lost the thread closes its subscribers, which come back to
/// a new one.
///
/// `cleared`: of which loss of events the bus has no sessions of before any more; an older store
/// may have some of this node, which nobody else would end. `None`: this room alone lost the
/// thread.
async fn live(
    core: &Arc<Core>,
    replica: &Arc<Replica>,
    inbox: &mut Inbox,
    cleared: &mut Option<u64>,
) {
    loop {
        let rollbacks = core.rollbacks();
        if *cleared != Some(rollbacks) {
            core.losses.note(&replica.room);
            // Before a session opens here. Without success this is tried again after the
            // generation.
            if end_all(core, &replica.room).await {
                *cleared = Some(rollbacks);
            }
        }
        let ended = generation::live(core, replica, inbox, rollbacks).await;
        replica.head.store(u64::MAX, Release);
        let generation::Ended::Refused(rejection) = ended else {
            metrics::lost();
            *cleared = None;
            continue;
        };
        // Answers only joins; all else was for subscribers that are gone.
        let refuse = async {
            while let Some(message) = inbox.recv().await {
                if let Message::Extent(reply) = message {
                    drop(reply.send(Err(rejection.clone())));
                }
            }
        };
        drop(timeout(REFUSED, refuse).await);
    }
}

/// Marks the room when a session is about to open and it is not marked yet; and again when the bus
/// lost its marks, or others took this node for dead: they remove the marks of who is.
async fn mark(core: &Core, replica: &Replica, wanted: &mut Marks, marked: &mut bool) {
    let health = core.bus.health();
    let (mut lost, mut deaths) = (health.borrow().marks_lost, core.deaths.subscribe());
    let mut sure = false; // Even if it is marked: to remove the mark may have succeeded late.
    let mut again = false; // Others may not know yet that this node is back.
    loop {
        let reply = tokio::select! {
            biased; // A loss first: the next session counts on the mark.
            () = bus::until(health.clone(), |now| now.marks_lost != lost) => {
                lost = health.borrow().marks_lost;
                sure = false;
                None
            }
            // The sender lives in the core, so this never fails.
            _ = deaths.changed() => {
                (sure, again) = (false, true);
                None
            }
            () = sleep(REMARK), if *marked && (!sure || again) => {
                (sure, again) = (false, again && !sure);
                None
            }
            Some(reply) = wanted.recv() => Some(reply),
            else => return,
        };
        let result = match (sure, &reply) {
            (true, _) => Ok(()),
            (false, None) if !*marked => continue,
            (false, _) => {
                *marked = true; // It may be, whatever the outcome says.
                core.bus.mark(core.me, &replica.room).await
            }
        };
        sure = result.is_ok();
        if let Some(reply) = reply {
            drop(reply.send(result));
        }
    }
}

/// Returns when there was no claim for a while.
async fn deserted(replica: &Replica) {
    let mut claims = replica.claims.subscribe();
    loop {
        // The sender lives in the replica, so this never fails.
        let _ = claims.wait_for(|count| *count == 0).await;
        let come = timeout(LINGER, claims.wait_for(|count| *count > 0));
        if come.await.is_err() {
            return;
        }
    }
}

impl Replica {
    pub(super) fn room(&self) -> &RoomId {
        &self.room
    }

    /// The way of messages from here to the room.
    pub(super) fn lane(&self) -> &Arc<Lane> {
        &self.lane
    }

    /// What the room asks of those who come, if it is known: that of a room that is made.
    pub(super) fn policy(&self) -> Option<Policy> {
        let is_made = self.head().is_some_and(|head| head > Seq::ZERO);
        is_made.then(|| *self.policy.borrow())
    }

    /// The head, if it is known.
    pub(super) fn head(&self) -> Option<Seq> {
        Some(Seq(self.head.load(Acquire))).filter(|head| head.0 != u64::MAX)
    }

    /// The place of the last purge, up to the head that was known before this was asked.
    pub(super) fn purged(&self) -> Seq {
        Seq(self.purged.load(Acquire))
    }

    /// Whose content is not told, up to which place.
    pub(super) fn erasing(&self) -> Arc<Erasing> {
        self.erasing.borrow().clone()
    }

    /// What is known of the epochs of its group.
    fn epochs(&self) -> MutexGuard<'_, Epochs> {
        self.epochs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns when somebody claims it.
    async fn claimed(&self) {
        // The sender lives in the replica, so this never fails.
        let _ = self.claims.subscribe().wait_for(|count| *count > 0).await;
    }

    pub(super) fn claims(&self) -> usize {
        *self.claims.borrow()
    }

    /// The events up to `last`, at most so many, as far as they are at hand. They are ascending and
    /// dense.
    pub(super) async fn recent(&self, last: Seq, most: usize) -> Vec<SharedEvent> {
        let (reply, answer) = oneshot::channel();
        drop(self.messages.send(Message::Recent(last, most, reply)));
        answer.await.unwrap_or_default()
    }

    /// The room's owner of an epoch says that it ends at `seq`.
    pub(super) fn told(&self, seq: Seq, epoch: Epoch) {
        if self.head().is_some_and(|head| head != seq) {
            drop(self.messages.send(Message::Told(seq, epoch)));
        }
    }
}

/// The replica lost the thread or stops; its subscribers are closed.
#[derive(Debug)]
pub(super) struct Lost;

impl ReplicaRef {
    pub(super) fn new(replica: Arc<Replica>) -> Self {
        replica.claims.send_modify(|count| *count += 1);
        Self(replica)
    }

    pub(super) fn room(&self) -> &RoomId {
        &self.0.room
    }

    /// How many clients are in the room or about to be, about.
    pub(super) fn crowd(&self) -> usize {
        self.0.claims()
    }

    /// The way of messages from here to the room.
    pub(super) fn lane(&self) -> &Arc<Lane> {
        &self.0.lane
    }

    /// Refuses what the room's owner would refuse whatever the group is like now: a handshake that
    /// no group takes, and text in a sealed room. What is refused here is submitted nowhere: it
    /// costs nobody else anything, and is in no file of the bus.
    pub(super) fn check_content(
        &self,
        body: &Body,
        from: &UserId,
        id: Option<&CommandId>,
    ) -> Result<(), Rejection> {
        let policy = self.0.policy();
        let bytes = match body {
            Body::Text(_) if policy == Some(Policy::Sealed) => return Err(only_sealed()),
            Body::Text(_) | Body::Sealed(_) | Body::Erased => return Ok(()),
            Body::Handshake(bytes) => bytes,
        };
        if policy.is_some_and(|policy| policy != Policy::Sealed) {
            return Err(not_sealed());
        }
        let looked = Handshake::decode(bytes).and_then(|handshake| handshake.look());
        match looked.map_err(|why| refusal_of(&why))? {
            Some(epoch) => self.0.epochs().check(epoch, from, id),
            None => Ok(()),
        }
    }

    /// Marks the room as one where this node has sessions; tries until it is done. The caller's
    /// deadline ends it.
    pub(super) async fn mark(&self, core: &Core) {
        for pause in core.pauses() {
            let (reply, answer) = oneshot::channel();
            drop(self.0.marks.send(reply));
            if matches!(answer.await, Ok(Ok(()))) {
                return;
            }
            sleep(pause).await;
        }
    }

    /// The event at a place, if it is at hand.
    pub(super) async fn recent(&self, place: Seq) -> Option<SharedEvent> {
        self.0.recent(place, 1).await.pop()
    }

    /// How far the replica has the room.
    pub(super) async fn extent(&self) -> Result<Extent, Rejection> {
        loop {
            match self.ask(Message::Extent).await {
                Ok(extent) => return extent,
                // It starts again; the question went to the generation before.
                Err(Lost) => sleep(AGAIN).await,
            }
        }
    }

    /// How far the replica has the room, once it has for sure what the owner answered.
    pub(super) async fn opened(&self, opening: Opening) -> Result<Extent, Lost> {
        self.ask(|reply| Message::Opened(opening, reply)).await
    }

    /// Adds a subscriber.
    pub(super) async fn attach(
        &self,
        attach: Attach,
    ) -> Result<(SubscriberId, Option<CatchUp>), Lost> {
        self.ask(|reply| Message::Attach(Box::new(attach), reply))
            .await
    }

    /// Goes on with a subscriber that is not live yet; at `left`, if what it needs before that is
    /// gone.
    pub(super) async fn feed(
        &self,
        subscriber: SubscriberId,
        page: Option<Arc<Page>>,
        left: Option<Seq>,
    ) -> Result<Option<CatchUp>, Lost> {
        self.ask(|reply| Message::Feed(subscriber, page, left, reply))
            .await
    }

    /// Puts a `members` frame into an outbox.
    pub(super) fn members(
        &self,
        id: Arc<str>,
        after: Option<UserId>,
        outbox: Outbox,
        permit: OwnedSemaphorePermit,
    ) {
        let message = Message::Members(id, after, outbox, permit);
        drop(self.0.messages.send(message));
    }

    /// A subscriber is gone.
    pub(super) fn detach(&self, subscriber: SubscriberId) {
        drop(self.0.messages.send(Message::Detach(subscriber)));
    }

    async fn ask<T>(&self, message: impl FnOnce(oneshot::Sender<T>) -> Message) -> Result<T, Lost> {
        let (reply, answer) = oneshot::channel();
        self.0.messages.send(message(reply)).map_err(|_| Lost)?;
        answer.await.map_err(|_| Lost)
    }
}

impl Clone for ReplicaRef {
    fn clone(&self) -> Self {
        Self::new(self.0.clone())
    }
}

impl Drop for ReplicaRef {
    fn drop(&mut self) {
        self.0.claims.send_modify(|count| *count -= 1);
    }
}
