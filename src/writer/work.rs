//! What a shard has under way: calls to the journal and the bus, each ending in a [`Done`] that the
//! shard's task handles.

use super::{
    Parts,
    batch::{Batch, Told},
    definite::definite,
    floor::{Forgettable, Ticket},
    past::{Found, Pass},
    retire::Gone,
    room::{Room, Unpublished, Waiting, names::Lookup},
};
use crate::{
    bus::{
        Answered, BatchOutcome, Commit, Head, Inbound, Position, Question, RoomView, Submission,
    },
    cluster::{Lease, LeaseError},
    journal::{self, Claim},
    metric,
    room::{
        Action, Admitted, Carried, Epoch, Event, Excess, Incarnation, Kept, Moving, Pin, Policy,
        Reason, Rejection, RoomId, Seq, ShardId, State, UserId,
    },
    telemetry::trace::hop::{self, Range},
};
use futures::{
    future::BoxFuture,
    stream::{FuturesUnordered, StreamExt},
};
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;
use tracing::{Instrument, Span};

/// Between two attempts while the journal is away.
const PAUSE: Duration = Duration::from_millis(200);

/// When a client may send again to a room that cannot be opened, in milliseconds.
const REFUSED_RETRY_MS: u64 = 30_000;

/// What has come to its end.
pub(super) enum Done {
    /// A room was read from the journal.
    Opened {
        room: RoomId,
        opened: Result<Box<Room>, journal::Error>,
    },
    /// A batch is in the journal and confirmed, or never will be.
    Committed {
        room: RoomId,
        batch: Box<Batch>,
        commit: Option<Arc<Commit>>,
        span: Span,
        result: Result<(), journal::Error>,
    },
    /// A commit is on the bus, or the shard is lost.
    Published {
        room: RoomId,
        unpublished: Unpublished,
        result: Result<Position, journal::Error>,
    },
    /// A snapshot up to a place, with so many changes beyond it, was saved, or none.
    Saved {
        room: RoomId,
        saved: Option<(Seq, usize)>,
        tickets: Vec<Ticket>,
        /// What newcomers need and nobody keeps yet.
        owed: Vec<Admitted>,
    },
    /// What the next event is to take along was saved, or not, which these commands wait for.
    SavedBeside {
        room: RoomId,
        unsaved: Vec<Ticket>,
        settled: Vec<Ticket>,
    },
    /// The floor was stored, or not.
    Checkpointed {
        lease: Lease,
        floor: Position,
        result: Result<(), LeaseError>,
    },
    /// The bus has forgotten commands, or none.
    Forgotten(Option<Forgettable>),
    /// A room was compared with the journal, for those who ask about it.
    Verified {
        room: RoomId,
        questions: Vec<Question>,
        result: Result<(), journal::Error>,
    },
    /// It was found from where on the events of a room stay, or it cannot be found now.
    Found { room: RoomId, found: Option<Found> },
    /// What a room lets go was removed: all of it, or some.
    Trimmed {
        room: RoomId,
        /// Generations of records that were to be removed.
        records: Vec<Seq>,
        result: Result<bool, journal::Error>,
    },
    /// A part of a room's past was copied without what is erased.
    Copied {
        room: RoomId,
        result: Result<Pass, journal::Error>,
    },
    /// What was copied of a room was removed: all of it, or some.
    CopiedRemoved {
        room: RoomId,
        result: Result<bool, journal::Error>,
    },
    /// Names are in records, or could not be written.
    Moved {
        room: RoomId,
        generation: Seq,
        moving: Moving,
        result: Result<(), journal::Error>,
    },
    /// What records say of names that commands brought.
    LookedUp {
        room: RoomId,
        lookup: Lookup,
        result: Result<Vec<Option<Pin>>, journal::Error>,
    },
    /// What the record of a name says that somebody asks about.
    Asked {
        question: Question,
        result: Result<Vec<Option<Pin>>, journal::Error>,
    },
    /// Names of rooms of the shard; none when they cannot be listed now.
    Listed(Vec<RoomId>),
    /// Of rooms that nobody has open, those with too long a past, and those that are to be removed.
    LookedAt(Vec<RoomId>, Vec<Gone>),
    /// A room was removed, or is none to remove (`false`).
    Retired {
        room: RoomId,
        result: Result<bool, journal::Error>,
    },
    /// Somebody was told something.
    Told,
}

/// Everything under way. Bounded: per room one opening, one commit, one publish, one snapshot, one
/// verification, one reading and one writing of records; answers by the commits.
#[derive(Default)]
pub(super) struct Work(FuturesUnordered<BoxFuture<'static, Done>>);

impl Work {
    /// The next that comes to its end; `None` while nothing is under way. Cancel safe.
    pub(super) async fn next(&mut self) -> Option<Done> {
        self.0.next().await
    }

    /// Whether nothing is under way.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn push(&mut self, future: impl Future<Output = Done> + Send + 'static) {
        self.0.push(Box::pin(future));
    }

    pub(super) fn open(&mut self, parts: Arc<Parts>, claim: Claim, room: RoomId) {
        self.push(async move {
            let begun = Instant::now();
            let opened = parts.open(claim, &room).await.map(Box::new);
            metric::ROOM_OPEN_SECONDS.record(begun.elapsed().as_secs_f64());
            Done::Opened { room, opened }
        });
    }

    pub(super) fn commit(
        &mut self,
        parts: Arc<Parts>,
        claim: Claim,
        room: RoomId,
        mut batch: Batch,
    ) {
        let bytes = batch.draft.bytes();
        let commit = batch.take_commit(claim.epoch());
        let span = hop::commit(&batch.traces, claim.shard().0, || match &commit {
            Some(commit) => commit.range(bytes),
            None => Range::confirming(claim.epoch().0),
        });
        self.push(async move {
            let committing = parts.commit(claim, &room, commit.as_deref());
            let result = committing.instrument(span.clone()).await;
            Done::Committed {
                room,
                batch: Box::new(batch),
                commit,
                span,
                result,
            }
        });
    }

    /// Once: who asks asks again.
    pub(super) fn verify(
        &mut self,
        parts: Arc<Parts>,
        claim: Claim,
        room: RoomId,
        questions: Vec<Question>,
    ) {
        self.push(async move {
            let result = parts.journal.verify(&room, claim).await;
            Done::Verified {
                room,
                questions,
                result,
            }
        });
    }

    pub(super) fn publish(
        &mut self,
        parts: Arc<Parts>,
        claim: Claim,
        room: RoomId,
        unpublished: Unpublished,
        after: Position,
    ) {
        self.push(async move {
            let begun = Instant::now();
            let (commit, _, span) = &unpublished;
            let publishing = parts.publish(claim, &room, commit, after);
            let result = publishing.instrument(span.clone()).await;
            metric::PUBLISH_SECONDS.record(begun.elapsed().as_secs_f64());
            Done::Published {
                room,
                unpublished,
                result,
            }
        });
    }

    pub(super) fn save(
        &mut self,
        parts: Arc<Parts>,
        claim: Claim,
        room: RoomId,
        mut state: Box<State>,
        tickets: Vec<Ticket>,
    ) {
        self.push(async move {
            // Before the snapshot: with it the commits are not replayed, and nobody else would. One
            // that is lost with this process keeps nobody out: its device comes in by itself.
            let owed = parts.admit(&room, state.take_owed()).await;
            // Never closed. What is saved can wait: it is in the journal, or its command is kept.
            let _turn = parts.saving.acquire().await;
            let result = parts.journal.save_snapshot(&room, claim, &state).await;
            if let Err(error) = &result {
                tracing::debug!(%room, %error, "the snapshot is taken again later");
            }
            let outcome = if result.is_ok() { "saved" } else { "failed" };
            metric::SNAPSHOTS.of(outcome).increment(1);
            let saved = result
                .is_ok()
                .then_some((state.head, state.unjournaled.len()));
            Done::Saved {
                room,
                saved,
                tickets,
                owed,
            }
        });
    }

    pub(super) fn save_beside(
        &mut self,
        parts: Arc<Parts>,
        claim: Claim,
        room: RoomId,
        carried: Carried,
        mut tickets: Vec<Ticket>,
    ) {
        self.push(async move {
            let _turn = parts.saving.acquire().await;
            let result = parts.journal.save_carried(&room, claim, &carried).await;
            let mut settled = Vec::new();
            match result {
                Ok(true) => {
                    settled = std::mem::take(&mut tickets);
                    metric::SNAPSHOTS.of("beside").increment(1);
                }
                Ok(false) => {}
                Err(error) => {
                    tracing::debug!(%room, %error, "all of the room is saved later");
                    metric::SNAPSHOTS.of("failed").increment(1);
                }
            }
            Done::SavedBeside {
                room,
                settled,
                unsaved: tickets,
            }
        });
    }

    pub(super) fn find_start(
        &mut self,
        parts: Arc<Parts>,
        room: RoomId,
        kept: Kept,
        head: Seq,
        excess: Excess,
    ) {
        self.push(async move {
            let found = parts.find_start(&room, kept, head, excess).await;
            if let Err(error) = &found {
                tracing::debug!(%room, %error, "what of the past goes is looked at later");
            }
            let found = found.ok();
            Done::Found { room, found }
        });
    }

    pub(super) fn trim(
        &mut self,
        parts: Arc<Parts>,
        claim: Claim,
        room: RoomId,
        of: (Kept, Policy, Vec<Seq>),
    ) {
        self.push(async move {
            let result = parts.remove(claim, &room, &of).await;
            let records = of.2;
            Done::Trimmed {
                room,
                records,
                result,
            }
        });
    }

    pub(super) fn copy(&mut self, parts: Arc<Parts>, claim: Claim, room: RoomId, pass: Pass) {
        self.push(async move {
            let result = parts.copy(claim, &room, pass).await;
            Done::Copied { room, result }
        });
    }

    pub(super) fn remove_copied(
        &mut self,
        parts: Arc<Parts>,
        claim: Claim,
        room: RoomId,
        pass: Pass,
    ) {
        self.push(async move {
            let result = parts.remove_copied(claim, &room, pass.through()).await;
            Done::CopiedRemoved { room, result }
        });
    }

    /// Once: what is not written now is after the next snapshot.
    pub(super) fn record(
        &mut self,
        parts: Arc<Parts>,
        claim: Claim,
        room: RoomId,
        (generation, moving): (Seq, Moving),
    ) {
        self.push(async move {
            // Never closed. Nobody waits for it.
            let _turn = parts.saving.acquire().await;
            let result = parts
                .journal
                .record(&room, claim, generation, &moving)
                .await;
            Done::Moved {
                room,
                generation,
                moving,
                result,
            }
        });
    }

    /// However long the journal is away: without it nothing can be decided.
    pub(super) fn look_up(
        &mut self,
        parts: Arc<Parts>,
        shard: ShardId,
        room: RoomId,
        lookup: Lookup,
    ) {
        self.push(async move {
            let read = || {
                let journal = &parts.journal;
                journal.recorded(&room, lookup.generation, &lookup.names)
            };
            let result = definite(shard, "recorded", PAUSE, read).await;
            Done::LookedUp {
                room,
                lookup,
                result,
            }
        });
    }

    /// Once: who asks asks again.
    pub(super) fn look_up_for(
        &mut self,
        parts: Arc<Parts>,
        question: Question,
        (generation, name): (Seq, UserId),
    ) {
        self.push(async move {
            let room = question.ask.room.clone();
            let result = parts.journal.recorded(&room, generation, &[name]).await;
            Done::Asked { question, result }
        });
    }

    pub(super) fn list(
        &mut self,
        parts: Arc<Parts>,
        shard: ShardId,
        after: Option<RoomId>,
        limit: usize,
    ) {
        self.push(async move {
            let names = parts.journal.rooms_of(shard, after.as_ref(), limit).await;
            if let Err(error) = &names {
                tracing::debug!(%shard, %error, "the rooms of the shard are listed later");
            }
            Done::Listed(names.unwrap_or_default())
        });
    }

    pub(super) fn look_at(&mut self, parts: Arc<Parts>, rooms: Vec<RoomId>) {
        self.push(async move {
            let (overlong, gone) = parts.look_at(rooms).await;
            Done::LookedAt(overlong, gone)
        });
    }

    /// Once: the sweep finds it again.
    pub(super) fn retire(&mut self, parts: Arc<Parts>, claim: Claim, gone: Gone) {
        self.push(async move {
            let result = parts.retire(claim, &gone).await;
            let room = gone.room;
            Done::Retired { room, result }
        });
    }

    pub(super) fn checkpoint(&mut self, mut lease: Lease, floor: Position) {
        self.push(async move {
            let result = lease.checkpoint(floor).await;
            Done::Checkpointed {
                lease,
                floor,
                result,
            }
        });
    }

    pub(super) fn forget(&mut self, parts: Arc<Parts>, shard: ShardId, forgettable: Forgettable) {
        self.push(async move {
            let forgotten = match parts
                .bus
                .discard(shard, forgettable.below, forgettable.newest)
                .await
            {
                Ok(forgotten) => forgotten,
                Err(error) => {
                    tracing::debug!(%shard, %error, "decided commands are forgotten later");
                    false
                }
            };
            Done::Forgotten(forgotten.then_some(forgettable))
        });
    }

    /// Tells the waiting gateways what became of their commands. An answer that is lost is asked
    /// for again by its gateway.
    pub(super) fn tell(&mut self, parts: Arc<Parts>, room: &RoomId, batch: &mut Batch) {
        let told = batch.take_told(room, parts.fits());
        if !told.is_empty() {
            self.push(tell_all(parts, told));
        }
    }

    pub(super) fn tell_heads(&mut self, parts: Arc<Parts>, shard: ShardId, heads: Vec<Head>) {
        self.push(async move {
            if let Err(error) = parts.bus.tell_heads(shard, &heads).await {
                tracing::debug!(%shard, %error, "heads were not told");
            }
            Done::Told
        });
    }

    /// Refuses all that waited for a room that cannot be opened. Returns the commands, which are
    /// settled by that.
    pub(super) fn refuse(
        &mut self,
        parts: Arc<Parts>,
        epoch: Epoch,
        room: &RoomId,
        waiting: Waiting,
        error: &journal::Error,
    ) -> Vec<Ticket> {
        let rejection = Rejection::retry(
            Reason::Unavailable,
            format!("the room cannot be opened: {error}"),
            REFUSED_RETRY_MS,
        );
        for question in waiting.questions {
            let view = RoomView {
                epoch,
                head: Seq::ZERO,
                refused: Some(rejection.clone()),
                ..RoomView::default()
            };
            (question.respond)(view);
        }
        let mut refused = Batch::default();
        let mut tickets = Vec::new();
        for (delivery, ticket) in waiting.commands {
            tickets.push(ticket);
            refused.tell(refuse(&delivery.submission, &rejection));
        }
        let told = refused.take_told(room, parts.fits());
        self.push(tell_all(parts, told));
        tickets
    }
}

/// What is told to whoever waits for a command that is refused without being decided.
fn refuse(submission: &Submission, rejection: &Rejection) -> Told {
    let refused = || rejection.clone();
    Told {
        answer: submission
            .reply
            .map(|to| (to, Answered::Rejected(refused()))),
        outcomes: match &submission.action {
            Action::Batch { from, .. } => Some((*from, BatchOutcome::Refused(refused()))),
            _ => None,
        },
        ..Told::default()
    }
}

async fn tell_all(parts: Arc<Parts>, told: Vec<(Incarnation, Inbound)>) -> Done {
    for (node, message) in told {
        if let Err(error) = parts.bus.tell(node, &message).await {
            tracing::debug!(%node, %error, "an answer was not sent");
        }
    }
    Done::Told
}

impl Parts {
    /// Brings a commit into the journal and confirms it, however long the journal is away; without
    /// a commit it only verifies the room. Fails when the shard is lost.
    async fn commit(
        &self,
        claim: Claim,
        room: &RoomId,
        commit: Option<&Commit>,
    ) -> Result<(), journal::Error> {
        let Some(commit) = commit else {
            return self.verify(claim, room).await;
        };
        let begun = Instant::now();
        let appended = definite(claim.shard(), "append", PAUSE, || {
            self.journal.append(room, claim, commit)
        });
        match appended.instrument(hop::append()).await {
            // The servers take less than when it was put together.
            Err(journal::Error::TooLarge(_)) if commit.events.len() > 1 => {
                let (first, second) = halves(commit);
                Box::pin(self.commit(claim, room, Some(&first))).await?;
                Box::pin(self.commit(claim, room, Some(&second))).await
            }
            appended => {
                appended?;
                metric::COMMIT_SECONDS.record(begun.elapsed().as_secs_f64());
                metric::COMMIT_EVENTS.record(commit.events.len() as f64);
                let bytes: usize = commit.events.iter().map(|event| event.kind.size()).sum();
                metric::COMMIT_BYTES.record(bytes as f64);
                metric::EVENTS_JOURNALED.increment(commit.events.len() as u64);
                Ok(())
            }
        }
    }
}

fn halves(commit: &Commit) -> (Commit, Commit) {
    let (first, second) = commit.events.split_at(commit.events.len() / 2);
    let of = |events: &[Event]| Commit {
        epoch: commit.epoch,
        events: events.to_vec(),
    };
    (of(first), of(second))
}
