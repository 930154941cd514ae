//! The way of messages from this gateway to one room: a lane, which all its sessions share.
//!
//! While a submission is on its way, what arrives is collected; the next one carries all of it in
//! one stored message ([`batch`]). The lane numbers its batches, so that the owner of the room
//! takes them in order and each once, whatever is lost or repeated in between ([`state`]). A
//! message is answered by its event, which the room's replica sees ([`Lane::seen`]), or, if it has
//! none, by the owner ([`Lane::outcomes`]). See `docs/adr/0002-lanes.md`.

mod batch;
mod state;
#[cfg(test)]
mod tests;

use super::{
    Close, Outbox,
    core::{ANSWER_WAIT, Core},
    metrics,
    pending_replies::{Place, Waiter},
};
use crate::{
    bus::{self, Answered, Outcomes, ReplyTo, Submission},
    room::{
        Action, BatchMessage, CommandId, Epoch, Event, Identity, Key, Kind, Reason, Rejection,
        RoomId, Seq, SessionId, Turn, UserId,
    },
    telemetry::trace::hop,
    trace::{At, Hop},
    wire::{Message, ServerFrame},
};
use batch::{BatchId, Outgoing};
use state::{Effect, Failure, Form, New, State, Step};
use std::{
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};
use tracing::{Instrument, Span};

/// The lane of this gateway to a room.
pub(super) struct Lane {
    room: RoomId,
    inner: Mutex<Inner>,
    /// Held from a change until all is told that follows from it: nobody is told that a message is
    /// accepted after it was told where it is.
    telling: Mutex<()>,
    /// Wakes the task that submits.
    changed: Notify,
    /// Wakes the sessions that wait until what they said is stored.
    moved: Notify,
}

struct Inner {
    state: State<Arc<Sent>>,
    /// Whether there is a task that submits.
    runs: bool,
}

/// A message that waits for its answer, as its session knows it.
pub(super) struct Sent {
    outbox: Outbox,
    key: Key,
    id: CommandId,
    came: Instant,
    /// From its frame to its answer.
    span: Span,
    /// When it was first stored.
    accepted: OnceLock<Instant>,
    /// Where its answer arrives when it goes alone.
    place: OnceLock<Place>,
}

impl Sent {
    pub(super) fn new(outbox: Outbox, key: Key, id: CommandId, span: Span) -> Self {
        Self {
            outbox,
            key,
            id,
            came: Instant::now(),
            span,
            accepted: OnceLock::new(),
            place: OnceLock::new(),
        }
    }
}

impl Lane {
    pub(super) fn new(core: &Core, room: RoomId) -> Self {
        let state = State::new(core.me, core.generations.clone());
        Self {
            room,
            inner: Mutex::new(Inner { state, runs: false }),
            telling: Mutex::new(()),
            changed: Notify::new(),
            moved: Notify::new(),
        }
    }

    /// Takes a message of a session, unless too many of it wait or `check` refuses it. It goes on
    /// its way when [`Self::start`] is called, or before.
    pub(super) fn push(
        &self,
        (session, user): (SessionId, UserId),
        message: Message,
        check: impl FnOnce() -> Result<(), Rejection>,
        sent: impl FnOnce(&CommandId) -> Sent,
    ) -> Result<(), Rejection> {
        let new = New {
            session,
            user,
            id: message.id,
            to: message.to,
            body: message.body,
        };
        let mut inner = self.inner();
        inner.state.push(new, check, |id| Arc::new(sent(id)))
    }

    /// What was pushed goes on its way: at once, or with what follows a submission that is on its
    /// way.
    pub(super) fn start(self: &Arc<Self>, core: &Arc<Core>) {
        if std::mem::replace(&mut self.inner().runs, true) {
            return self.changed.notify_one();
        }
        core.spawn(run(core.clone(), self.clone()));
    }

    /// Returns once everything that a session said is stored. The caller brings the deadline.
    pub(super) async fn stored(&self, session: SessionId) {
        loop {
            let moved = self.moved.notified();
            if self.inner().state.is_stored(session) {
                return;
            }
            moved.await;
        }
    }

    /// A session is over. Called before its end is submitted: who comes after that begins with new
    /// numbers, if it was the last.
    pub(super) fn leave(&self, session: SessionId) {
        self.inner().state.leave(session);
        self.changed.notify_one();
    }

    /// Events of the room, which its clients here have got.
    pub(super) fn seen<'a>(
        &self,
        events: impl Iterator<Item = &'a Event>,
        epoch: Epoch,
        head: Seq,
    ) {
        let own = events.filter_map(|event| match &event.kind {
            Kind::Message { turn, .. } => Some(((*turn)?, event.seq)),
            Kind::Joined { .. }
            | Kind::Left { .. }
            | Kind::Unpinned { .. }
            | Kind::Purged
            | Kind::Erased { .. } => None,
        });
        self.after(|state| state.seen(own, epoch, head));
    }

    /// The clients here have got all that there is of the room up to a place.
    pub(super) fn reached(&self, head: Seq) {
        self.after(|state| state.reached(head));
    }

    /// What the owner says, while the clients here have got the room up to `head`.
    pub(super) fn outcomes(&self, outcomes: Outcomes, head: Seq) {
        let now = Instant::now();
        self.after(|state| {
            let batches = outcomes.batches.into_iter();
            let effects = batches.flat_map(|of| state.outcome(of, head, now));
            effects.collect()
        });
    }

    /// The answer to a message that went alone.
    pub(super) fn answered(&self, turn: Turn, answered: Answered) {
        self.after(|state| state.answered(turn, answered));
    }

    /// Does something to the state, and what follows from it.
    fn after(&self, change: impl FnOnce(&mut State<Arc<Sent>>) -> Vec<Effect<Arc<Sent>>>) {
        let _telling = self.telling.lock().unwrap_or_else(PoisonError::into_inner);
        let effects = change(&mut self.inner().state);
        // The state is let go before sessions are told: they have locks of their own.
        if !effects.is_empty() {
            effects.into_iter().for_each(tell);
            self.changed.notify_one();
        }
        self.moved.notify_waiters();
    }

    /// What to do next; `None`: nothing, and the task that submits ends.
    fn step(&self, core: &Core) -> Option<Step<Arc<Sent>>> {
        let form = Form {
            batches: core.all_read_batches(),
            bytes: core.fits(),
        };
        let mut inner = self.inner();
        match inner.state.step(Instant::now(), form) {
            Step::Idle => {
                inner.runs = false;
                None
            }
            step => Some(step),
        }
    }

    fn submission(self: &Arc<Self>, core: &Core, outgoing: Outgoing<Arc<Sent>>) -> Submission {
        let room = self.room.clone();
        match outgoing {
            Outgoing::Batch(from, messages) => Submission {
                room,
                action: Action::Batch { from, messages },
                reply: None,
            },
            Outgoing::Single(sent, message) => {
                let waiter = || Waiter::Lane(Arc::downgrade(self), message.turn);
                let place = sent.place.get_or_init(|| core.pending.wait(waiter()));
                let reply = Some(ReplyTo {
                    node: core.me,
                    tag: place.tag,
                });
                Submission {
                    room,
                    action: single(message, sent.key.clone()),
                    reply,
                }
            }
        }
    }

    /// The span that storing a batch is part of: that of its first message that is traced.
    fn span(&self, id: BatchId) -> Span {
        let inner = self.inner();
        let mut traced = inner.state.tags(id).map(|sent| sent.span.clone());
        traced.find(|span| !span.is_none()).unwrap_or(Span::none())
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A message as nodes of before read it.
fn single(message: BatchMessage, key: Key) -> Action {
    Action::Send {
        user: message.user,
        key,
        identity: Identity::Claimed,
        turn: Some(message.turn),
        after: 0,
        request: None,
        id: message.id,
        to: message.to,
        body: message.body,
    }
}

/// Submits what the lane has, one after the other, until there is nothing. When nothing that it
/// submits can be kept any more, all of it is refused, for no answer will come.
async fn run(core: Arc<Core>, lane: Arc<Lane>) {
    let mut pauses = None;
    let mut health = core.bus.health();
    loop {
        if let Err(why) = core.check_bus() {
            lane.after(|state| state.give_up(&why));
        }
        match lane.step(&core) {
            None | Some(Step::Idle) => return,
            Some(Step::Submit(id, outgoing)) => {
                let submission = lane.submission(&core, outgoing);
                let submitting = core.bus.submit(&submission).instrument(lane.span(id));
                match submitting.await {
                    Ok(position) => {
                        pauses = None;
                        note_stored(&core, &submission, position);
                        lane.after(|state| state.stored(id, Instant::now(), ANSWER_WAIT));
                    }
                    Err(error) => {
                        let pauses = pauses.get_or_insert_with(|| core.pauses());
                        let pause = pauses.next().unwrap_or(ANSWER_WAIT);
                        let (failure, now) = (failure(&error), Instant::now());
                        lane.after(|state| state.failed(id, failure, now, pause));
                    }
                }
            }
            Some(Step::Wait(until)) => tokio::select! {
                biased; // A change may make the wait needless.
                () = lane.changed.notified() => {}
                Ok(()) = health.changed() => {}
                () = sleep_until(until.unwrap_or_else(Instant::now)), if until.is_some() => {}
            },
        }
    }
}

fn failure(error: &bus::Error) -> Failure {
    match error {
        bus::Error::Full(_) => Failure::Full,
        bus::Error::TooLarge(_) => Failure::TooLarge,
        bus::Error::Unknown(_) => Failure::Unknown,
        _ => Failure::NotStored,
    }
}

/// Notes the hop of each message, for operators who follow one.
fn note_stored(core: &Core, submission: &Submission, position: bus::Position) {
    let note = |user, id| {
        let at = At::message(&submission.room, user, id);
        core.tracer
            .note(Hop::Stored, &at, || format!("command {}", position.0));
    };
    match &submission.action {
        Action::Batch { messages, .. } if core.tracer.is_on() => messages
            .iter()
            .for_each(|message| note(&message.user, &message.id)),
        Action::Send { user, id, .. } => note(user, id),
        _ => {}
    }
}

/// Tells a session what became of a message, and counts it.
fn tell(effect: Effect<Arc<Sent>>) {
    match effect {
        Effect::Accepted(sent) => {
            metrics::accepted();
            let _ = sent.accepted.set(Instant::now());
            if let CommandId::Client(id) = &sent.id {
                sent.outbox.push(&ServerFrame::Accepted { id: id.clone() });
            }
        }
        Effect::Resubmitted { tag, late } => {
            metrics::resubmitted();
            // Without an answer until now it is late, whatever becomes of it.
            if let Some(accepted) = tag.accepted.get().filter(|_| late) {
                metrics::waited(accepted.elapsed());
            }
        }
        Effect::Journaled {
            tag,
            seq,
            epoch,
            duplicate,
            repeats,
            accepted,
        } => {
            let outcome = if duplicate { "duplicate" } else { "journaled" };
            hop::answered(&tag.span, outcome, Some((seq.0, epoch.0)));
            metrics::journaled(duplicate, tag.came.elapsed());
            waited(&tag, accepted);
            let CommandId::Client(id) = &tag.id else {
                return;
            };
            for repeat in 0..=repeats {
                tag.outbox.push(&ServerFrame::Journaled {
                    id: id.clone(),
                    seq,
                    epoch,
                    duplicate: duplicate || repeat > 0,
                });
            }
        }
        Effect::Rejected {
            tag,
            rejection,
            repeats,
            accepted,
        } => {
            hop::answered(&tag.span, rejection.reason.as_str(), None);
            metrics::refused(&rejection);
            if accepted {
                metrics::accepted_refused(&rejection);
            }
            // The owner thinks that this session is over (this node was judged dead). The client
            // comes back and sends again.
            if rejection.reason == Reason::NotMember {
                return tag.outbox.close(Close::Unavailable);
            }
            let id = match &tag.id {
                CommandId::Client(id) => Some(id.clone()),
                CommandId::Gateway(..) => None,
            };
            for _ in 0..=repeats {
                let (id, rejection) = (id.clone(), rejection.clone());
                tag.outbox.push(&ServerFrame::Rejected { id, rejection });
            }
        }
    }
}

/// Counts how long a message waited for its answer after it was accepted.
fn waited(sent: &Sent, accepted: bool) {
    match sent.accepted.get() {
        Some(accepted) => metrics::waited(accepted.elapsed()),
        // The answer was faster than the word that it is stored.
        None if !accepted => {
            metrics::accepted();
            metrics::waited(Duration::ZERO);
        }
        None => {}
    }
}
