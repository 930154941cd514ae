//! The messages of one session on their way to the room: submitted one after the other, so that
//! their stored order is the order in which they were sent, whatever fails; answered in any order.
//!
//! A message leaves when it is answered: by the owner, or by its own event that the replica saw.
//! Without either it is submitted again, which the room's memory of the session makes harmless.
//! Each names the one that must come before it, so that none overtakes another even if the bus lost
//! what it had stored; those that came too early are submitted again as soon as nothing is before
//! them.

use super::{
    Close, Outbox,
    answers::Waiter,
    core::{ANSWER_WAIT, Core, busy, unavailable},
    metrics,
};
use crate::{
    bus::{self, Answered, ReplyTo, Submission},
    room::{
        Action, CommandId, Epoch, Key, Reason, Rejection, RoomId, Seq, SessionId, Turn, UserId,
    },
    telemetry::trace::{Origin, hop},
    trace::{At, Hop},
    wire::{Message, ServerFrame},
};
use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};
use tracing::{Instrument, Span};

/// Messages of a session without an answer; beyond them a message is refused as busy.
const PENDING: usize = 1024;
/// Bytes of content of messages without an answer, unless there is only one.
const PENDING_BYTES: usize = 1024 * 1024;
/// How often the wait for an answer doubles: an owner that is behind, or away with what it has to
/// read again, is not helped by repetitions.
const DOUBLINGS: u32 = 3;
/// How long a message may wait to be stored. Longer than an election among the servers takes.
const STORE_WAIT: Duration = Duration::from_secs(15);
/// How long the answer may come after the own event before the event is taken for it. They travel
/// side by side.
const EVENT_GRACE: Duration = Duration::from_millis(200);

/// Whose messages.
#[derive(Debug, Clone)]
pub(super) struct Sender {
    pub(super) room: RoomId,
    pub(super) user: UserId,
    pub(super) key: Key,
    pub(super) session: SessionId,
    /// What its client said of a trace when it came.
    pub(super) origin: Origin,
}

/// The messages of a session that are not answered yet.
pub(super) struct Sends {
    core: Arc<Core>,
    sender: Sender,
    outbox: Outbox,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    last: u64,
    pending: BTreeMap<u64, Pending>,
    /// The numbers of pending messages.
    numbers: HashMap<CommandId, u64>,
    bytes: usize,
}

/// A message without an answer.
struct Pending {
    tag: u64,
    id: CommandId,
    action: Action,
    size: usize,
    came: Instant,
    /// When it was first stored; `None` again when that is counted.
    accepted: Option<Instant>,
    /// From its frame to its answer.
    span: Span,
    /// Since when no attempt to store it has succeeded.
    failing: Option<Instant>,
    /// When it is to be submitted (again).
    due: Instant,
    /// How often it was stored; the client is told of the first time.
    times: u32,
    /// The last attempt to submit it succeeded.
    stored: bool,
    /// An attempt ended without a definite outcome.
    uncertain: bool,
    /// The owner said that it came before one that must come first.
    early: bool,
    event: Option<Seen>,
    /// How often the client sent it again meanwhile; each gets an answer.
    repeats: u64,
}

/// The event of a message, as the replica saw it.
#[derive(Clone, Copy)]
struct Seen {
    seq: Seq,
    epoch: Epoch,
    /// Another attempt placed it: another session's, a request's, or one of an older version, which
    /// does not say.
    duplicate: bool,
}

/// What to do next.
enum Step {
    Submit(u64, Box<Submission>, Span),
    Wait(Option<Instant>),
}

impl Sends {
    pub(super) fn new(core: Arc<Core>, sender: Sender, outbox: Outbox) -> Arc<Self> {
        Arc::new(Self {
            core,
            sender,
            outbox,
            state: Mutex::default(),
            changed: Notify::new(),
        })
    }

    /// Takes a message; refuses it when too many wait.
    pub(super) fn push(self: &Arc<Self>, message: Message) {
        let size = message.body.size();
        let mut state = self.state();
        if let Some(pending) = message.id.as_ref().and_then(|id| state.find(id)) {
            pending.repeats += 1;
            return;
        }
        let full = state.pending.len() >= PENDING
            || (state.bytes + size > PENDING_BYTES && !state.pending.is_empty());
        let refused = match full {
            true => Err(busy()),
            false => self.core.room_for_more(),
        };
        if let Err(rejection) = refused.and_then(|()| self.core.check_message(size)) {
            metrics::refused(&rejection);
            return self.reject(message.id.as_ref(), rejection);
        }
        state.last += 1;
        let number = state.last;
        let Sender {
            user, key, session, ..
        } = self.sender.clone();
        let id = message.id.unwrap_or(CommandId::Gateway(session, number));
        let at = At::message(&self.sender.room, &user, &id);
        let tracer = &self.core.tracer;
        tracer.note(Hop::Received, &at, || format!("{size} bytes"));
        let tag = self
            .core
            .answers
            .wait(Waiter::Send(Arc::downgrade(self), number));
        let turn = Some(Turn { session, number });
        let action = Action::Send {
            user,
            key,
            turn,
            after: 0,
            request: None,
            id: id.clone(),
            to: message.to,
            body: message.body,
        };
        let due = Instant::now();
        state.bytes += size;
        state.numbers.insert(id.clone(), number);
        let pending = Pending {
            tag,
            id,
            action,
            size,
            came: due,
            accepted: None,
            span: hop::message(&self.sender.origin.linked(), size),
            failing: None,
            due,
            times: 0,
            stored: false,
            uncertain: false,
            early: false,
            event: None,
            repeats: 0,
        };
        state.pending.insert(number, pending);
        drop(state);
        self.changed.notify_one();
    }

    /// The answer to a message.
    pub(super) fn answered(&self, number: u64, answered: Answered) {
        let mut state = self.state();
        let Some(pending) = self.remove(&mut state, number) else {
            return;
        };
        match answered {
            Answered::Journaled {
                seq,
                epoch,
                duplicate,
            } => self.journaled(&pending, seq, epoch, duplicate),
            // The owner thinks that this session is over (this node was judged dead). The client
            // comes back and sends again.
            Answered::Rejected(
                why @ Rejection {
                    reason: Reason::NotMember,
                    ..
                },
            ) => {
                metrics::refused(&why);
                metrics::accepted_refused(&why);
                self.outbox.close(Close::Unavailable)
            }
            Answered::Rejected(rejection) => self.reject_all(&pending, &rejection),
        }
        self.changed.notify_one();
    }

    /// The owner has not placed a message because one before it is not in the room.
    pub(super) fn early(&self, number: u64) {
        let mut state = self.state();
        let Some(pending) = state.pending.get_mut(&number) else {
            return;
        };
        pending.early = true;
        state.hurry();
        drop(state);
        self.changed.notify_one();
    }

    /// A message of this user was seen in the room; events are seen in their order.
    pub(super) fn seen(&self, id: &CommandId, turn: Option<Turn>, seq: Seq, epoch: Epoch) {
        let mut state = self.state();
        let Some(number) = state.numbers.get(id).copied() else {
            return;
        };
        let own = Turn {
            session: self.sender.session,
            number,
        };
        let Some(pending) = state.pending.get_mut(&number) else {
            return;
        };
        pending.event = Some(Seen {
            seq,
            epoch,
            duplicate: turn != Some(own),
        });
        pending.due = pending.due.min(Instant::now() + EVENT_GRACE);
        state.hurry();
        drop(state);
        self.changed.notify_one();
    }

    /// Submits messages, for ever. When nothing that it submits can be kept any more, all of them
    /// are refused, for no answer will come.
    pub(super) async fn run(&self) {
        let mut pauses = self.core.pauses();
        let mut health = self.core.bus.health();
        loop {
            if let Err(rejection) = self.core.check_bus() {
                self.give_up(&rejection);
            }
            match self.step(Instant::now()) {
                Step::Submit(number, submission, span) => {
                    let submitting = self.core.bus.submit(&submission);
                    let submitted = submitting.instrument(span).await;
                    if submitted.is_ok() {
                        pauses = self.core.pauses();
                    }
                    let retry = if submitted.is_ok() {
                        ANSWER_WAIT
                    } else {
                        pauses.next().unwrap_or(ANSWER_WAIT)
                    };
                    self.submitted(number, &submitted, retry);
                }
                Step::Wait(until) => tokio::select! {
                    biased; // A change may make the wait needless.
                    () = self.changed.notified() => {}
                    Ok(()) = health.changed() => {}
                    () = sleep_until(until.unwrap_or_else(Instant::now)), if until.is_some() => {}
                },
            }
        }
    }

    /// Refuses all that has no answer. What was stored may still be journaled; then it is found by
    /// its id when it is sent again.
    fn give_up(&self, rejection: &Rejection) {
        let mut state = self.state();
        while let Some(number) = state.pending.keys().next().copied() {
            let pending = self.remove(&mut state, number).expect("it was just there");
            match pending.event {
                Some(seen) => self.journaled(&pending, seen.seq, seen.epoch, seen.duplicate),
                None => self.reject_all(&pending, rejection),
            }
        }
    }

    /// Submits what was never submitted, and all again if some came too early, each message once,
    /// until one fails: the client is gone, what it said before is not.
    pub(super) async fn finish(&self) {
        let unsent: Vec<_> = {
            let state = self.state();
            let again = state.pending.values().any(|pending| pending.early);
            let unsent = state
                .pending
                .iter()
                .filter(|(_, pending)| !pending.stored || (again && pending.event.is_none()));
            unsent
                .map(|(number, pending)| {
                    let submission = self.submission(&state, *number);
                    (submission, pending.span.clone())
                })
                .collect()
        };
        for (submission, span) in unsent {
            let submitting = self.core.bus.submit(&submission).instrument(span);
            if submitting.await.is_err() {
                return;
            }
        }
    }

    /// The first message that is due. One that is not stored holds up all behind it.
    fn step(&self, now: Instant) -> Step {
        let mut state = self.state();
        let mut wake: Option<Instant> = None;
        let numbers: Vec<u64> = state.pending.keys().copied().collect();
        for number in numbers {
            let pending = &state.pending[&number];
            if pending.due > now {
                wake = Some(wake.map_or(pending.due, |wake| wake.min(pending.due)));
                if !pending.stored && pending.event.is_none() {
                    break;
                }
            } else if let Some(seen) = pending.event {
                let pending = self.remove(&mut state, number).expect("it was just there");
                self.journaled(&pending, seen.seq, seen.epoch, seen.duplicate);
            } else {
                let submission = self.submission(&state, number);
                let pending = state.pending.get_mut(&number).expect("it was just there");
                pending.early = false;
                return Step::Submit(number, Box::new(submission), pending.span.clone());
            }
        }
        Step::Wait(wake)
    }

    fn submitted(
        &self,
        number: u64,
        submitted: &Result<bus::Position, bus::Error>,
        retry: Duration,
    ) {
        let mut state = self.state();
        let Some(pending) = state.pending.get_mut(&number) else {
            return;
        };
        let now = Instant::now();
        pending.due = now + retry;
        match submitted {
            Ok(position) => {
                let Sender { room, user, .. } = &self.sender;
                let at = At::message(room, user, &pending.id);
                let tracer = &self.core.tracer;
                tracer.note(Hop::Stored, &at, || format!("command {}", position.0));
                pending.failing = None;
                pending.due = Instant::now() + retry * (1 << pending.times.min(DOUBLINGS));
                pending.times += 1;
                pending.stored = true;
                match pending.times {
                    1 => {
                        metrics::accepted();
                        pending.accepted = Some(now);
                    }
                    _ => metrics::resubmitted(),
                }
                // Without an answer until now it is late, whatever becomes of it.
                if pending.times == 2
                    && let Some(accepted) = pending.accepted.take()
                {
                    metrics::waited(now - accepted);
                }
                if pending.times == 1
                    && let CommandId::Client(id) = &pending.id
                {
                    self.outbox.push(&ServerFrame::Accepted { id: id.clone() });
                }
            }
            Err(bus::Error::Full(_)) if pending.times == 0 && !pending.uncertain => {
                let pending = self.remove(&mut state, number).expect("it was just there");
                self.reject_all(&pending, &busy());
            }
            Err(bus::Error::TooLarge(_)) => {
                let pending = self.remove(&mut state, number).expect("it was just there");
                self.reject_all(&pending, &bus::too_large_now());
            }
            Err(_) if now - *pending.failing.get_or_insert(now) >= STORE_WAIT => {
                let pending = self.remove(&mut state, number).expect("it was just there");
                let why = "it could not be stored in time; send it again with the same id";
                self.reject_all(&pending, &unavailable(why));
            }
            Err(error) => {
                pending.stored = false;
                pending.uncertain |= matches!(error, bus::Error::Unknown(_));
            }
        }
        state.hurry();
    }

    fn submission(&self, state: &State, number: u64) -> Submission {
        let pending = &state.pending[&number];
        let mut action = pending.action.clone();
        if let Action::Send { after, .. } = &mut action {
            *after = state.before(number);
        }
        Submission {
            room: self.sender.room.clone(),
            action,
            reply: Some(ReplyTo {
                node: self.core.me,
                tag: pending.tag,
            }),
        }
    }

    fn remove(&self, state: &mut State, number: u64) -> Option<Pending> {
        let pending = state.pending.remove(&number)?;
        state.numbers.remove(&pending.id);
        state.bytes -= pending.size;
        self.core.answers.forget(pending.tag);
        state.hurry();
        Some(pending)
    }

    fn journaled(&self, pending: &Pending, seq: Seq, epoch: Epoch, duplicate: bool) {
        let outcome = if duplicate { "duplicate" } else { "journaled" };
        hop::answered(&pending.span, outcome, Some((seq.0, epoch.0)));
        metrics::journaled(duplicate, pending.came.elapsed());
        match pending.accepted {
            Some(accepted) => metrics::waited(accepted.elapsed()),
            // The answer was faster than the word that it is stored.
            None if pending.times == 0 => {
                metrics::accepted();
                metrics::waited(Duration::ZERO);
            }
            None => {}
        }
        let CommandId::Client(id) = &pending.id else {
            return;
        };
        for repeat in 0..=pending.repeats {
            self.outbox.push(&ServerFrame::Journaled {
                id: id.clone(),
                seq,
                epoch,
                duplicate: duplicate || repeat > 0,
            });
        }
    }

    fn reject_all(&self, pending: &Pending, rejection: &Rejection) {
        hop::answered(&pending.span, rejection.reason.as_str(), None);
        metrics::refused(rejection);
        if pending.times > 0 {
            metrics::accepted_refused(rejection);
        }
        for _ in 0..=pending.repeats {
            self.reject(Some(&pending.id), rejection.clone());
        }
    }

    fn reject(&self, id: Option<&CommandId>, rejection: Rejection) {
        let id = match id {
            Some(CommandId::Client(id)) => Some(id.clone()),
            _ => None,
        };
        self.outbox.push(&ServerFrame::Rejected { id, rejection });
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The pending message with this id.
    fn find(&mut self, id: &CommandId) -> Option<&mut Pending> {
        self.pending.get_mut(self.numbers.get(id)?)
    }

    /// The last message before this one that is not known to be in the room; 0: none.
    fn before(&self, number: u64) -> u64 {
        self.pending
            .range(..number)
            .rev()
            .find(|(_, before)| before.event.is_none())
            .map_or(0, |(number, _)| *number)
    }

    /// The first message that is not known to be in the room waits for no other: if it came too
    /// early, it is time now for it and those that wait for it.
    fn hurry(&mut self) {
        let now = Instant::now();
        if self
            .pending
            .values()
            .find(|pending| pending.event.is_none())
            .is_some_and(|first| first.early)
        {
            self.pending
                .values_mut()
                .filter(|pending| pending.early)
                .for_each(|early| early.due = early.due.min(now));
        }
    }
}

impl Drop for Sends {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        state
            .pending
            .values()
            .for_each(|pending| self.core.answers.forget(pending.tag));
    }
}
