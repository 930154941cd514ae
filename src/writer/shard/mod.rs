//! The task that writes one shard: it reads the shard's commands in stored order and drives its
//! rooms.

mod done;
mod past;
mod questions;
mod upkeep;

use super::{
    Parts,
    definite::definite,
    floor::{Floor, Ticket},
    room::{Bounds, Slot, Waiting},
    work::{Done, Work},
};
use crate::{
    bus::{self, Delivery, Question},
    cluster::Lease,
    journal::{self, Claim},
    metric::{self, shards::ShardMeter},
    room::{Action, CommandId, Epoch, Outcome, Reason, RoomId, Seq, ShardId, UserId},
    telemetry::trace::hop,
    trace::{At, Hop},
};
use futures::{
    StreamExt,
    future::BoxFuture,
    stream::{BoxStream, ReadyChunks},
};
use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    ops::ControlFlow,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

/// Commands taken from the bus at once: what is there already, up to the events of a commit.
const CHUNK: usize = journal::Limits::EVENTS;

/// Between two attempts to begin while the journal or the bus is away.
const PAUSE: Duration = Duration::from_millis(250);

/// How often the shard looks at the time.
const TICK: Duration = Duration::from_millis(100);

/// Why the shard is not written any more.
pub(super) enum End {
    /// The journal has a newer owner.
    Fenced(Epoch),
    /// What became of a commit is not known, and repeating it does not help: only opening its room
    /// again does, under a new epoch.
    Failed,
    /// The record names another owner.
    LeaseLost,
    /// It was asked to finish, and has.
    Finished,
    /// The bus lost events that it had stored: what is in memory may rest on them.
    RolledBack,
}

impl End {
    /// Why it had to be given up, in metrics; `None`: it was handed over.
    fn cause(&self) -> Option<&'static str> {
        match self {
            Self::Fenced(_) => Some("newer_owner"),
            Self::Failed => Some("failed"),
            Self::LeaseLost => Some("lease_lost"),
            Self::RolledBack => Some("rolled_back"),
            Self::Finished => None,
        }
    }
}

/// A shard that is being written.
struct Shard {
    parts: Arc<Parts>,
    claim: Claim,
    meter: ShardMeter,
    rooms: HashMap<RoomId, Slot>,
    /// Open rooms that are being compared with the journal, and the questions that came after that
    /// began.
    asked: HashMap<RoomId, Vec<Question>>,
    /// Questions for which a record is read.
    asking: usize,
    /// How many there are, for operators.
    loaded: Arc<AtomicUsize>,
    floor: Floor,
    /// Read from the bus, not decided yet.
    pending: VecDeque<Delivery>,
    work: Work,
    /// The most bytes of events that the bus carries in a commit.
    fits: usize,
    /// How often the bus had lost records when this shard's was stored.
    records_lost: u64,
    /// `None` while it is on its way with a new floor.
    lease: Option<Lease>,
    stored_at: Instant,
    told_at: Instant,
    looked_at: Instant,
    /// When the bus was last told to forget; `None` while it is being told.
    forgotten_at: Option<Instant>,
    /// The way through the rooms that nobody has open, for the sake of their past.
    sweep: past::Sweep,
    /// Rooms from which the owner before was removing something, until that is done.
    inherited: BTreeSet<RoomId>,
    /// The rooms that the shard's record names, and when it was last looked which these should be.
    noted: Vec<RoomId>,
    listed_at: Instant,
}

/// Writes a shard until it is released or lost. The lease ends with it.
pub(super) async fn run(
    parts: Arc<Parts>,
    lease: Lease,
    loaded: Arc<AtomicUsize>,
    releases: mpsc::Receiver<oneshot::Sender<()>>,
    lose: CancellationToken,
) {
    let (shard, epoch) = (lease.shard(), lease.epoch());
    let ended = tokio::select! {
        biased;
        () = lose.cancelled() => None,
        ended = write(parts, lease, loaded, releases) => Some(ended),
    };
    match ended {
        None => {
            metric::SHARDS_FENCED.of("lease_lost").increment(1);
            tracing::debug!(%shard, %epoch, "shard lost")
        }
        Some(()) => tracing::debug!(%shard, %epoch, "shard ended"),
    }
}

async fn write(
    parts: Arc<Parts>,
    mut lease: Lease,
    loaded: Arc<AtomicUsize>,
    mut releases: mpsc::Receiver<oneshot::Sender<()>>,
) {
    let shard = lease.shard();
    let claim = claim(&parts, &mut lease);
    let (claim, questions, commands) = tokio::select! {
        biased;
        // Nothing was read yet: there is nothing to finish.
        done = releases.recv() => {
            release(lease, None, shard).await;
            drop(done);
            return;
        }
        claimed = claim => match claimed {
            Ok(streams) => streams,
            Err(error) => return refused(lease, &error),
        },
    };
    let now = Instant::now();
    let health = parts.bus.health();
    let rollbacks = health.borrow().rollbacks;
    let rolled_back = bus::until(health, move |now| now.rollbacks != rollbacks);
    let mut this = Shard {
        claim,
        meter: ShardMeter::new(shard.0, claim.epoch().0),
        rooms: HashMap::new(),
        asked: HashMap::new(),
        asking: 0,
        loaded,
        floor: Floor::new(lease.floor()),
        pending: VecDeque::new(),
        work: Work::default(),
        fits: parts.fits(),
        inherited: BTreeSet::new(),
        listed_at: now,
        noted: lease.unfinished().to_vec(),
        records_lost: parts.bus.health().borrow().records_lost,
        lease: Some(lease),
        stored_at: now,
        told_at: now,
        looked_at: now,
        forgotten_at: Some(now),
        sweep: past::Sweep::new(now, parts.config.trim()),
        parts: parts.clone(),
    };
    this.take_up(&this.noted.clone());
    let (end, done) = tokio::select! {
        biased; // Nothing is decided any more on what may be void. Serving may be left at any await: what is under way is in `work`.
        () = rolled_back => (End::RolledBack, None),
        ended = this.serve(questions, commands, &mut releases) => ended,
    };
    let (floor, unfinished) = (this.floor.reached(), this.unfinished());
    let lease = this.take_lease().await;
    if let Some(cause) = end.cause() {
        metric::SHARDS_FENCED.of(cause).increment(1);
    }
    match (end, lease) {
        (End::Failed, Some(lease)) => lease.fenced(claim.epoch()),
        (End::Fenced(seen), Some(lease)) => {
            let epoch = claim.epoch();
            tracing::debug!(%shard, %epoch, %seen, "fenced: the shard has a newer owner");
            fenced(&parts, lease, seen).await;
        }
        (End::RolledBack, Some(lease)) => {
            let epoch = claim.epoch();
            tracing::debug!(
                %shard, %epoch,
                "the bus lost events: the shard's rooms are read again under a new epoch"
            );
            lease.fenced(claim.epoch());
        }
        (End::Finished, Some(mut lease)) => {
            lease.note_unfinished(unfinished);
            release(lease, Some(floor), shard).await;
        }
        (End::LeaseLost, _) => tracing::debug!(%shard, epoch = %claim.epoch(), "the lease is lost"),
        (_, None) => {}
    }
    drop(done);
}

type Questions = BoxStream<'static, Question>;
type Commands = ReadyChunks<BoxStream<'static, Delivery>>;

/// Claims the shard in the journal and starts to listen, however long that takes.
async fn claim(
    parts: &Parts,
    lease: &mut Lease,
) -> Result<(Claim, Questions, Commands), journal::Error> {
    let (shard, owner, epoch, floor) = (lease.shard(), lease.owner(), lease.epoch(), lease.floor());
    let claim = definite(shard, "claim", PAUSE, || {
        parts.journal.claim(shard, owner, epoch)
    });
    let commands = patiently(shard, || parts.bus.commands(shard, floor));
    // At the same time, for everybody in the shard waits. Questions only afterwards: who asks
    // before hears at once that nobody answers yet.
    let (claim, commands) = tokio::try_join!(claim, async { Ok(commands.await) })?;
    if let Err(error) = lease.raise(claim.epoch()).await {
        tracing::debug!(%shard, %error, "the lease's epoch is stored later");
    }
    let questions = patiently(shard, || parts.bus.questions(shard)).await;
    tracing::debug!(%shard, epoch = %claim.epoch(), "claimed");
    Ok((claim, questions, commands.ready_chunks(CHUNK)))
}

/// Listens on the bus, however long it is away.
async fn patiently<'a, T>(
    shard: ShardId,
    listen: impl Fn() -> BoxFuture<'a, Result<T, bus::Error>>,
) -> T {
    loop {
        match listen().await {
            Ok(stream) => return stream,
            Err(error) => tracing::debug!(%shard, %error, "listen again"),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn refused(lease: Lease, error: &journal::Error) {
    match error {
        journal::Error::Fenced { seen } => {
            metric::SHARDS_FENCED.of("newer_owner").increment(1);
            lease.fenced(*seen);
        }
        _ => tracing::warn!(
            shard = %lease.shard(), epoch = %lease.epoch(), %error,
            "the journal refused the shard"
        ),
    }
}

/// The journal has a higher epoch than the one that was claimed. Who is of this cluster has changed
/// the record of the lease before claiming that. What was there before the claim says nothing: the
/// bus may have been put back.
async fn fenced(parts: &Parts, lease: Lease, seen: Epoch) {
    let is_higher = seen > lease.epoch() && !parts.journal.publishes();
    if is_higher && lease.is_recorded().await {
        parts.warnings.stranger(lease.shard(), seen);
    }
    lease.fenced(seen);
}

async fn release(lease: Lease, floor: Option<bus::Position>, shard: ShardId) {
    let (epoch, floor) = (lease.epoch(), floor.unwrap_or(lease.floor()));
    // The cluster part tells what becomes of shards, of all in one line.
    if let Err(error) = lease.release(floor).await {
        tracing::debug!(
            %shard, %epoch, %error,
            "the shard could not be given back; the cluster does it later"
        );
    }
}

impl Drop for Shard {
    /// Before the lease, a field, tells its end: after that the shard may be acquired again, and
    /// its rooms opened.
    fn drop(&mut self) {
        for room in self.rooms.keys() {
            self.parts.journal.close(room);
        }
    }
}

impl Shard {
    /// Serves until the shard is lost, or released and finished; then whoever waits for the release
    /// is in the answer.
    async fn serve(
        &mut self,
        mut questions: Questions,
        mut commands: Commands,
        releases: &mut mpsc::Receiver<oneshot::Sender<()>>,
    ) -> (End, Option<oneshot::Sender<()>>) {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            // What is finished first, so that memory is freed before more is read; the tick before
            // new work, so that a flood of commands cannot starve the floor.
            tokio::select! {
                biased;
                Some(done) = releases.recv() => {
                    drop((questions, commands));
                    return (self.finish().await, Some(done));
                }
                Some(done) = self.work.next() => {
                    if let ControlFlow::Break(end) = self.on_done(done) {
                        return (end, None);
                    }
                }
                now = tick.tick() => self.on_tick(now),
                Some(question) = questions.next() => self.on_question(question),
                Some(chunk) = commands.next(), if self.pending.is_empty() => {
                    self.pending = chunk.into();
                }
            }
            self.decide_pending();
            self.loaded.store(self.rooms.len(), Ordering::Relaxed);
            if self.floor.is_pressing() {
                self.checkpoint(Instant::now());
            }
        }
    }

    /// Finishes what is decided, and tells it: nobody is told again of what the floor has passed.
    /// What is not decided stays above it, for the next owner.
    async fn finish(&mut self) -> End {
        let deadline = tokio::time::sleep(self.parts.config.release());
        tokio::pin!(deadline);
        self.pending.clear();
        self.rooms.retain(|_, slot| matches!(slot, Slot::Open(_)));
        for slot in self.rooms.values_mut() {
            if let Slot::Open(room) = slot {
                room.stop_names();
            }
        }
        loop {
            let quiet = self
                .rooms
                .values()
                .all(|slot| matches!(slot, Slot::Open(room) if room.is_quiet()));
            if quiet && self.work.is_empty() {
                break;
            }
            tokio::select! {
                biased;
                () = &mut deadline => {
                    tracing::warn!(shard = %self.claim.shard(), "released with commits under way; the next owner finds out what became of them");
                    break;
                }
                Some(done) = self.work.next() => {
                    if let ControlFlow::Break(end) = self.on_done(done) {
                        return end;
                    }
                }
            }
        }
        End::Finished
    }

    /// The lease, when a new floor is not on its way any more.
    async fn take_lease(&mut self) -> Option<Lease> {
        while self.lease.is_none() {
            match self.work.next().await {
                Some(Done::Checkpointed { lease, .. }) => self.lease = Some(lease),
                Some(_) => {}
                None => return None,
            }
        }
        self.lease.take()
    }

    /// Decides what was read, as far as the floor lets it.
    fn decide_pending(&mut self) {
        let now = Instant::now();
        self.fits = self.parts.fits();
        let mut touched = Vec::new();
        while let Some(delivery) = self
            .pending
            .pop_front_if(|delivery| self.floor.accepts(&delivery.submission.room))
        {
            let ticket = self.floor.read(&delivery, size(&delivery));
            let name = delivery.submission.room.clone();
            match self.slot(&name) {
                Slot::Opening(waiting) => waiting.commands.push((delivery, ticket)),
                Slot::Open(_) => {
                    self.decide(&name, delivery, ticket, now);
                    if touched.last() != Some(&name) {
                        touched.push(name);
                    }
                }
            }
        }
        if self.pending.is_empty() {
            // A burst of every shard takes megabytes: its memory need not be kept for the next one.
            self.pending = VecDeque::new();
        }
        for room in touched {
            self.pump(&room);
        }
    }

    /// The room's place; a room that is not here is being opened from now on.
    fn slot(&mut self, name: &RoomId) -> &mut Slot {
        self.rooms.entry(name.clone()).or_insert_with(|| {
            self.work.open(self.parts.clone(), self.claim, name.clone());
            Slot::Opening(Waiting::default())
        })
    }

    fn decide(&mut self, name: &RoomId, delivery: Delivery, ticket: Ticket, now: Instant) {
        let Some(Slot::Open(room)) = self.rooms.get_mut(name) else {
            unreachable!("decided only in an open room")
        };
        let (tracer, epoch) = (&self.parts.tracer, self.claim.epoch());
        let parts = &self.parts;
        let told = |action: &Action, outcome: &Outcome, first: Seq| {
            if matches!(outcome, Outcome::Refused(why) if why.reason == Reason::RateLimited) {
                parts.warnings.full(name);
            }
            let note = |user: &UserId, id: &CommandId, outcome: &Outcome, place: Seq| {
                let at = At::message(name, user, id);
                tracer.note(Hop::Decided, &at, || decided(outcome, place, epoch));
            };
            match (action, outcome) {
                (Action::Batch { messages, .. }, Outcome::Batch(outcomes)) => {
                    let mut place = first;
                    for (message, outcome) in messages.iter().zip(outcomes) {
                        metric::COMMANDS_DECIDED.of(word(outcome)).increment(1);
                        note(&message.user, &message.id, outcome, place);
                        if *outcome == Outcome::Done {
                            place = place.next();
                        }
                    }
                }
                (Action::Send { user, id, .. }, outcome) => {
                    metric::COMMANDS_DECIDED.of(word(outcome)).increment(1);
                    note(user, id, outcome, first);
                }
                (action, outcome) => {
                    metric::COMMANDS_DECIDED.of(word(outcome)).increment(1);
                    if let Some(begun) = begins(action).filter(|_| *outcome == Outcome::Done) {
                        metric::REMOVALS.of(begun).increment(1);
                    }
                }
            }
        };
        let shard = self.claim.shard().0;
        let span = hop::decide(&delivery.trace, shard, epoch.0, delivery.position.0);
        let _decides = span.enter();
        room.decide(
            delivery,
            ticket,
            epoch,
            Bounds {
                boundary: |first| self.parts.journal.boundary(first),
                fits: self.fits,
                names: self.parts.names().most,
            },
            now,
            told,
        );
    }

    /// Sends on what can go on: the next commit to the journal, the next published commit to the
    /// bus.
    fn pump(&mut self, name: &RoomId) {
        let Some(Slot::Open(room)) = self.rooms.get_mut(name) else {
            return;
        };
        if let Some(batch) = room.next_batch(self.parts.names()) {
            self.work
                .commit(self.parts.clone(), self.claim, name.clone(), batch);
        }
        if let Some((unpublished, after)) = room.next_unpublished() {
            self.work.publish(
                self.parts.clone(),
                self.claim,
                name.clone(),
                unpublished,
                after,
            );
        }
        if let Some(moving) = room.next_names() {
            self.work
                .record(self.parts.clone(), self.claim, name.clone(), moving);
        }
        if let Some(lookup) = room.next_lookup() {
            let shard = self.claim.shard();
            self.work
                .look_up(self.parts.clone(), shard, name.clone(), lookup);
        }
    }
}

/// What is removed because of a command, for metrics.
fn begins(action: &Action) -> Option<&'static str> {
    match action {
        Action::Purge => Some("purge_begun"),
        Action::Erase { .. } => Some("erasure_begun"),
        _ => None,
    }
}

/// An outcome in a word, for metrics.
fn word(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Done => "done",
        Outcome::Redelivered(_) => "redelivered",
        Outcome::Repeated(_) => "repeated",
        Outcome::Refused(_) => "refused",
        Outcome::OutOfOrder { .. } => "out_of_order",
        Outcome::DuplicateUnknownSeq => "duplicate_unknown_seq",
        Outcome::Batch(_) => "other",
    }
}

/// What became of a message, in words.
fn decided(outcome: &Outcome, head: Seq, epoch: Epoch) -> String {
    let what = match outcome {
        Outcome::Done => format!("gets place {head}"),
        Outcome::Repeated(seq) => format!("has place {seq} already"),
        Outcome::Redelivered(seq) => format!("has place {seq} already, from this very attempt"),
        Outcome::Refused(rejection) => format!("refused: {}", rejection.reason.as_str()),
        Outcome::OutOfOrder { .. } => "comes before one of its session that is not there".into(),
        Outcome::DuplicateUnknownSeq => "was decided already, long ago".into(),
        Outcome::Batch(outcomes) => format!("a batch of {}", outcomes.len()),
    };
    format!("{what}, epoch {epoch}")
}

/// About how many bytes a command keeps in memory.
fn size(delivery: &Delivery) -> usize {
    const ENVELOPE: usize = 256;
    match &delivery.submission.action {
        Action::Send { body, .. } => body.size() + ENVELOPE,
        Action::Batch { messages, .. } => {
            let sizes = messages
                .iter()
                .map(|message| message.body.size() + ENVELOPE);
            sizes.sum()
        }
        Action::Open { .. }
        | Action::Close { .. }
        | Action::Abandon { .. }
        | Action::Unpin { .. }
        | Action::Retain { .. }
        | Action::Purge
        | Action::Erase { .. } => ENVELOPE,
    }
}
