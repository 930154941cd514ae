//! The task that writes one shard: it reads the shard's commands in stored order and drives its rooms.

use super::{
    Parts,
    floor::{Floor, Ticket},
    room::{Room, Slot, Waiting},
    work::{Done, Work},
};
use crate::{
    bus::{Delivery, Head, Question},
    cluster::{Lease, LeaseError},
    journal,
    room::{Action, Epoch, RoomId, ShardId},
};
use futures::{
    StreamExt,
    stream::{BoxStream, ReadyChunks},
};
use std::{
    collections::{HashMap, VecDeque},
    ops::ControlFlow,
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

/// Commands taken from the bus at once: what is there already, up to the events of a commit.
const CHUNK: usize = journal::Limits::EVENTS;

/// How often the shard looks at the time.
const TICK: Duration = Duration::from_millis(100);

/// How often it looks through its rooms for idle ones.
const LOOK: Duration = Duration::from_secs(1);

/// Heads of rooms that changed within this span are repeated.
const RECENT: Duration = Duration::from_secs(10);

/// Commands are forgotten on the bus at most this often.
const DISCARD: Duration = Duration::from_secs(5);

/// Why the shard is not written any more.
pub(super) enum End {
    /// The journal has a newer owner.
    Fenced(Epoch),
    /// The record names another owner.
    LeaseLost,
    /// It was asked to finish, and has.
    Finished,
}

/// A shard that is being written.
struct Shard {
    parts: Arc<Parts>,
    id: ShardId,
    epoch: Epoch,
    rooms: HashMap<RoomId, Slot>,
    floor: Floor,
    /// Read from the bus, not decided yet.
    pending: VecDeque<Delivery>,
    work: Work,
    /// `None` while it is on its way with a new floor.
    lease: Option<Lease>,
    stored_at: Instant,
    told_at: Instant,
    looked_at: Instant,
    discarded_at: Instant,
}

/// Writes a shard until it is released or lost. The lease ends with it.
pub(super) async fn run(parts: Arc<Parts>, lease: Lease, releases: mpsc::Receiver<oneshot::Sender<()>>, lose: CancellationToken) {
    let (shard, epoch) = (lease.shard(), lease.epoch());
    let ended = tokio::select! {
        biased;
        () = lose.cancelled() => None,
        ended = write(parts, lease, releases) => Some(ended),
    };
    match ended {
        None => tracing::info!(%shard, %epoch, "shard lost"),
        Some(()) => tracing::debug!(%shard, %epoch, "shard ended"),
    }
}

async fn write(parts: Arc<Parts>, mut lease: Lease, mut releases: mpsc::Receiver<oneshot::Sender<()>>) {
    let shard = lease.shard();
    let claim = claim(&parts, &mut lease);
    let (questions, commands) = tokio::select! {
        biased;
        // Nothing was read yet: there is nothing to finish.
        done = releases.recv() => {
            release(lease, None, shard).await;
            drop(done);
            return;
        }
        claimed = claim => match claimed {
            Ok(streams) => streams,
            Err(error) => {
                tracing::warn!(%shard, %error, "the journal refused the shard");
                return fenced(lease, &error);
            }
        },
    };
    let now = Instant::now();
    let mut this = Shard {
        id: shard,
        epoch: lease.epoch(),
        rooms: HashMap::new(),
        floor: Floor::new(lease.floor()),
        pending: VecDeque::new(),
        work: Work::default(),
        lease: Some(lease),
        stored_at: now,
        told_at: now,
        looked_at: now,
        discarded_at: now,
        parts,
    };
    let (end, done) = this.serve(questions, commands, &mut releases).await;
    let floor = this.floor.reached();
    let lease = this.take_lease().await;
    match (end, lease) {
        (End::Fenced(seen), Some(lease)) => {
            tracing::warn!(%shard, epoch = %this.epoch, %seen, "fenced: the shard has a newer owner");
            lease.fenced(seen);
        }
        (End::Finished, Some(lease)) => release(lease, Some(floor), shard).await,
        (End::LeaseLost, _) => tracing::warn!(%shard, epoch = %this.epoch, "the lease is lost"),
        (_, None) => {}
    }
    drop(done);
}

type Questions = BoxStream<'static, Question>;
type Commands = ReadyChunks<BoxStream<'static, Delivery>>;

/// Claims the shard in the journal and starts to listen, however long that takes.
async fn claim(parts: &Parts, lease: &mut Lease) -> Result<(Questions, Commands), journal::Error> {
    /// Between two attempts while the journal or the bus is away.
    const PAUSE: Duration = Duration::from_millis(250);
    let shard = lease.shard();
    loop {
        match parts.journal.claim(shard, lease.owner(), lease.epoch()).await {
            Ok(epoch) => {
                if let Err(error) = lease.raise(epoch).await {
                    tracing::debug!(%shard, %error, "the lease's epoch is stored later");
                }
                break;
            }
            Err(error) if error.is_transient() => tracing::debug!(%shard, %error, "claim again"),
            Err(error) => return Err(error),
        }
        tokio::time::sleep(PAUSE).await;
    }
    loop {
        let streams =
            async { Ok::<_, crate::bus::Error>((parts.bus.questions(shard).await?, parts.bus.commands(shard, lease.floor()).await?)) };
        match streams.await {
            Ok((questions, commands)) => return Ok((questions, commands.ready_chunks(CHUNK))),
            Err(error) => tracing::debug!(%shard, %error, "listen again"),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn fenced(lease: Lease, error: &journal::Error) {
    if let journal::Error::Fenced { seen } = error {
        lease.fenced(*seen);
    }
}

async fn release(lease: Lease, floor: Option<crate::bus::Position>, shard: ShardId) {
    let floor = floor.unwrap_or(lease.floor());
    if let Err(error) = lease.release(floor).await {
        tracing::warn!(%shard, %error, "the shard could not be given back; the cluster does it later");
    }
}

impl Drop for Shard {
    /// Before the lease, a field, tells its end: after that the shard may be acquired again, and its rooms opened.
    fn drop(&mut self) {
        for room in self.rooms.keys() {
            self.parts.journal.close(room);
        }
    }
}

impl Shard {
    /// Serves until the shard is lost, or released and finished; then whoever waits for the release is in the answer.
    async fn serve(
        &mut self,
        mut questions: Questions,
        mut commands: Commands,
        releases: &mut mpsc::Receiver<oneshot::Sender<()>>,
    ) -> (End, Option<oneshot::Sender<()>>) {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            // What is finished first, so that memory is freed before more is read; the tick before new work, so that a flood of commands cannot
            // starve the floor.
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
                Some(chunk) = commands.next(), if self.pending.is_empty() => self.pending.extend(chunk),
            }
            self.decide_pending();
            if self.floor.is_pressing() {
                self.checkpoint(Instant::now());
            }
        }
    }

    /// Finishes what is decided. What is not decided stays above the floor, for the next owner.
    async fn finish(&mut self) -> End {
        let deadline = tokio::time::sleep(self.parts.config.release());
        tokio::pin!(deadline);
        self.pending.clear();
        self.rooms.retain(|_, slot| matches!(slot, Slot::Open(_)));
        loop {
            let quiet = self.rooms.values().all(|slot| matches!(slot, Slot::Open(room) if room.is_quiet()));
            if quiet {
                break;
            }
            tokio::select! {
                biased;
                () = &mut deadline => {
                    tracing::warn!(shard = %self.id, "released with commits under way; the next owner finds out what became of them");
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
        let mut touched = Vec::new();
        while let Some(delivery) = self.pending.pop_front_if(|delivery| self.floor.accepts(&delivery.submission.room)) {
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
        for room in touched {
            self.pump(&room);
        }
    }

    /// The room's place; a room that is not here is being opened from now on.
    fn slot(&mut self, name: &RoomId) -> &mut Slot {
        self.rooms.entry(name.clone()).or_insert_with(|| {
            self.work.open(self.parts.clone(), self.id, name.clone(), self.epoch);
            Slot::Opening(Waiting::default())
        })
    }

    fn decide(&mut self, name: &RoomId, delivery: Delivery, ticket: Ticket, now: Instant) {
        let Some(Slot::Open(room)) = self.rooms.get_mut(name) else { unreachable!("decided only in an open room") };
        metrics::counter!("safechat_commands_decided_total").increment(1);
        room.decide(delivery, ticket, self.epoch, |first| self.parts.journal.boundary(first), now);
    }

    /// Sends on what can go on: the next commit to the journal, the next published commit to the bus.
    fn pump(&mut self, name: &RoomId) {
        let Some(Slot::Open(room)) = self.rooms.get_mut(name) else { return };
        if let Some(batch) = room.next_batch() {
            self.work.commit(self.parts.clone(), self.id, name.clone(), self.epoch, batch);
        }
        if let Some((unpublished, after)) = room.next_unpublished() {
            self.work.publish(self.parts.clone(), self.id, name.clone(), unpublished, after);
        }
    }

    fn on_question(&mut self, question: Question) {
        let (now, epoch) = (Instant::now(), self.epoch);
        let name = question.ask.room.clone();
        match self.slot(&name) {
            Slot::Open(room) => (question.respond)(room.view(epoch, now)),
            Slot::Opening(waiting) if waiting.questions.len() < Waiting::QUESTIONS => waiting.questions.push(question),
            Slot::Opening(_) => {}
        }
    }

    fn on_done(&mut self, done: Done) -> ControlFlow<End> {
        let now = Instant::now();
        match done {
            Done::Opened { room, opened } => return self.on_opened(room, opened, now),
            Done::Committed { room: name, batch, commit, result } => {
                if let Err(error) = result {
                    return self.on_failed(&name, error);
                }
                let mut batch = *batch;
                self.work.tell(self.parts.clone(), name.clone(), &mut batch);
                let published = self.parts.journal.publishes();
                let Some(Slot::Open(room)) = self.rooms.get_mut(&name) else { return ControlFlow::Continue(()) };
                for ticket in room.committed(commit, batch.tickets, published, now) {
                    self.floor.settle(ticket);
                }
                if let Some(state) = batch.snapshot {
                    self.work.save(self.parts.clone(), name.clone(), self.epoch, state, Vec::new());
                }
                self.pump(&name);
            }
            Done::Published { room: name, unpublished: (commit, tickets), result } => {
                let position = match result {
                    Ok(position) => position,
                    Err(error) => return self.on_failed(&name, error),
                };
                tickets.into_iter().for_each(|ticket| self.floor.settle(ticket));
                if let Some(Slot::Open(room)) = self.rooms.get_mut(&name) {
                    room.published(&commit, position, now);
                }
                self.pump(&name);
            }
            Done::Saved { room: name, seq, tickets, saved } => {
                let unsaved = if saved {
                    tickets.into_iter().for_each(|ticket| self.floor.settle(ticket));
                    Vec::new()
                } else {
                    tickets
                };
                if let Some(Slot::Open(room)) = self.rooms.get_mut(&name) {
                    room.saved(seq, unsaved, now);
                }
            }
            Done::Checkpointed { lease, floor, result } => {
                self.lease = Some(lease);
                match result {
                    Ok(()) => self.floor.store(floor),
                    Err(LeaseError::Lost { .. }) => return ControlFlow::Break(End::LeaseLost),
                    Err(error @ LeaseError::Unavailable(_)) => tracing::debug!(shard = %self.id, %error, "store the floor later"),
                }
            }
            Done::Told => {}
        }
        ControlFlow::Continue(())
    }

    fn on_opened(&mut self, name: RoomId, opened: Result<Box<Room>, journal::Error>, now: Instant) -> ControlFlow<End> {
        let Some(Slot::Opening(waiting)) = self.rooms.remove(&name) else {
            self.parts.journal.close(&name);
            return ControlFlow::Continue(());
        };
        let room = match opened {
            Ok(room) => room,
            Err(journal::Error::Fenced { seen }) => return ControlFlow::Break(End::Fenced(seen)),
            Err(error) => {
                tracing::error!(shard = %self.id, room = %name, %error, "the room is refused");
                let tickets = self.work.refuse(self.parts.clone(), self.epoch, waiting, &error);
                tickets.into_iter().for_each(|ticket| self.floor.settle(ticket));
                return ControlFlow::Continue(());
            }
        };
        self.rooms.insert(name.clone(), Slot::Open(room));
        for (delivery, ticket) in waiting.commands {
            self.decide(&name, delivery, ticket, now);
        }
        for question in waiting.questions {
            self.on_question(question);
        }
        self.pump(&name);
        ControlFlow::Continue(())
    }

    /// A commit or a publish ended in something that repeating cannot mend.
    fn on_failed(&mut self, name: &RoomId, error: journal::Error) -> ControlFlow<End> {
        match error {
            journal::Error::Fenced { seen } => ControlFlow::Break(End::Fenced(seen)),
            error => {
                // What became of the commit is found out by opening the room again, under a new epoch.
                tracing::error!(shard = %self.id, room = %name, %error, "the shard is given up");
                ControlFlow::Break(End::Fenced(self.epoch))
            }
        }
    }

    fn on_tick(&mut self, now: Instant) {
        self.checkpoint(now);
        if now.duration_since(self.told_at) >= self.parts.config.heads() {
            self.told_at = now;
            self.tell_heads(now);
        }
        if now.duration_since(self.looked_at) >= LOOK {
            self.looked_at = now;
            self.save_and_passivate(now);
        }
    }

    /// Stores the floor when it is time, or when the reader waits for it.
    fn checkpoint(&mut self, now: Instant) {
        let reached = self.floor.reached();
        let due = now.duration_since(self.stored_at) >= self.parts.config.checkpoint() && reached != self.floor.stored();
        if !due && !self.floor.is_pressing() {
            return;
        }
        let Some(lease) = self.lease.take() else { return };
        self.stored_at = now;
        let discard = now.duration_since(self.discarded_at) >= DISCARD;
        if discard {
            self.discarded_at = now;
        }
        self.work.checkpoint(self.parts.clone(), lease, reached, discard);
    }

    fn tell_heads(&mut self, now: Instant) {
        let epoch = self.epoch;
        let heads: Vec<Head> = self
            .rooms
            .iter()
            .filter_map(|(name, slot)| match slot {
                Slot::Open(room) => Some(Head { room: name.clone(), epoch, seq: room.recent_head(now, RECENT)? }),
                Slot::Opening(_) => None,
            })
            .collect();
        if !heads.is_empty() {
            self.work.tell_heads(self.parts.clone(), self.id, heads);
        }
    }

    /// Saves rooms whose changes have waited for an event for too long; lets go of rooms that nobody uses, and of the longest unused ones beyond the cap.
    fn save_and_passivate(&mut self, now: Instant) {
        let config = &self.parts.config;
        let excess = self.rooms.len().saturating_sub(config.max_rooms_per_shard);
        let mut unused: Vec<(Instant, RoomId)> = Vec::new();
        let mut save = Vec::new();
        for (name, slot) in &self.rooms {
            let Slot::Open(room) = slot else { continue };
            if !room.is_quiet() {
                continue;
            }
            let idle = now.duration_since(room.used()) >= config.idle();
            if room.carries_since(now, config.carry()) || (idle && room.is_unsaved()) {
                save.push(name.clone());
            } else if idle || excess > 0 {
                unused.push((room.used(), name.clone()));
            }
        }
        for name in save {
            let Some(Slot::Open(room)) = self.rooms.get_mut(&name) else { continue };
            let (state, tickets) = room.save();
            self.work.save(self.parts.clone(), name, self.epoch, state, tickets);
        }
        unused.sort();
        let idle = unused.iter().filter(|(used, _)| now.duration_since(*used) >= config.idle()).count();
        for (_, name) in unused.into_iter().take(idle.max(excess)) {
            self.passivate(&name);
        }
    }

    fn passivate(&mut self, name: &RoomId) {
        let Some(Slot::Open(room)) = self.rooms.get(name) else { return };
        // Beyond the cap also a room whose last events no snapshot holds yet: opening replays them.
        if room.carries_since(Instant::now(), Duration::ZERO) {
            return;
        }
        tracing::debug!(shard = %self.id, room = %name, "room passivated");
        self.rooms.remove(name);
        self.parts.journal.close(name);
    }
}

/// About how many bytes a command keeps in memory.
fn size(delivery: &Delivery) -> usize {
    const ENVELOPE: usize = 256;
    match &delivery.submission.action {
        Action::Send { body, .. } => body.size() + ENVELOPE,
        Action::Open { .. } | Action::Close { .. } | Action::Abandon { .. } => ENVELOPE,
    }
}
