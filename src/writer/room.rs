//! A room in its owner: what is decided, what is on its way to the journal, what is published.
//! Pure.

use super::{
    answer::{answered, does_not_fit, of_message},
    batch::{Batch, Told},
    floor::Ticket,
    past::Trimming,
};
use crate::{
    bus::{BatchOutcome, Commit, Delivery, Position, ReplyTo, too_large_now},
    journal::codec::{size_of_changes, size_of_event},
    room::{
        Action, Change, Command, Decision, Epoch, Erasing, Event, Kind, Outcome, Policy, Seq,
        State, UserId, decide_knowing, is_of_another_room,
    },
    telemetry::trace::Context,
};
use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};
use tokio::time::Instant;
use tracing::Span;

pub(super) mod names;
mod past;
mod saving;
mod view;

use names::Names;

/// A snapshot of so many records is written and read in milliseconds.
const FEW_RECORDS: usize = 16_384;

/// How far a commit may go.
pub(super) struct Bounds<B> {
    /// The last place that a commit which starts somewhere may hold.
    pub(super) boundary: B,
    /// The most bytes of events that the bus carries.
    pub(super) fits: usize,
    /// Names that a room has at most.
    pub(super) names: u64,
}

/// A commit that is journaled and not published yet, with the commands that it settles, and its
/// span.
pub(super) type Unpublished = (Arc<Commit>, Vec<Ticket>, Span);

/// An open room. Events go through it in one direction: decided, committed, published.
pub(super) struct Room {
    /// Includes everything that is decided.
    state: State,
    /// Who is here at the published head.
    members: BTreeSet<UserId>,
    head: Seq,
    /// Decided, in order; the first is next to be committed.
    queue: VecDeque<Batch>,
    committing: bool,
    unpublished: VecDeque<Unpublished>,
    publishing: bool,
    /// Where the last published message is.
    position: Position,
    /// Commands whose changes no event has carried yet, and since when.
    carrying: Vec<Ticket>,
    carrying_since: Option<Instant>,
    /// Commands whose event has no space beside what the room carries wait until that is saved;
    /// those whose name may have a record, until that is read; and all later ones behind them.
    held_back: VecDeque<(Delivery, Ticket)>,
    saving: bool,
    saved: Seq,
    /// Whether the newest snapshot may be this owner's, so that something can be put beside it.
    has_own_snapshot: bool,
    /// Since when there are events that no snapshot has.
    unsaved_since: Option<Instant>,
    used: Instant,
    changed: Option<Instant>,
    past: Trimming,
    /// The place of the last purge that is published.
    purged: Seq,
    /// Whose content is to go, of what is published.
    erasing: Erasing,
    /// Commands to purge and to erase, until a snapshot has the places of their events: a successor
    /// that reads them again opens the room, and goes on with that.
    unsaved_orders: Vec<(Seq, Ticket)>,
    names: Names,
}

impl Room {
    /// A room as it was found: everything in `state` is journaled and published, the last message
    /// at `position`; a snapshot of `saved` exists.
    pub(super) fn new(state: State, saved: Seq, position: Position, now: Instant) -> Self {
        Self {
            members: state.members.clone(),
            head: state.head,
            queue: VecDeque::new(),
            committing: false,
            unpublished: VecDeque::new(),
            publishing: false,
            position,
            carrying: Vec::new(),
            carrying_since: None,
            held_back: VecDeque::new(),
            saving: false,
            has_own_snapshot: saved > Seq::ZERO,
            unsaved_since: (state.head > saved).then_some(now),
            saved,
            used: now,
            changed: Some(now),
            past: Trimming::new(&state.kept, &state.erasures.erasing()),
            purged: state.kept.purge.map_or(Seq::ZERO, |purge| purge.seq),
            erasing: state.erasures.erasing(),
            unsaved_orders: Vec::new(),
            names: Names::default(),
            state,
        }
    }

    /// Decides a command, and tells what its sender is told and the place of its first event, or
    /// else the head; or keeps it until the room is saved. What follows from it waits in the queue,
    /// in commits within `bounds`.
    pub(super) fn decide(
        &mut self,
        mut delivery: Delivery,
        ticket: Ticket,
        epoch: Epoch,
        bounds: Bounds<impl Fn(Seq) -> Seq>,
        now: Instant,
        told: impl FnOnce(&Action, &Outcome, Seq),
    ) {
        self.used = now;
        if !self.held_back.is_empty() {
            self.held_back.push_back((delivery, ticket));
            return;
        }
        if self.lacks_name(&delivery.submission.action) {
            self.wait_for_name();
            self.held_back.push_back((delivery, ticket));
            return;
        }
        let command = Command {
            at: delivery.at,
            action: delivery.submission.action,
        };
        let name = &delivery.submission.room;
        let fits = |kind: &Kind, changes: &[Change]| match (kind, size_of_event(kind, changes)) {
            (_, size) if size > bounds.fits => Err(too_large_now()),
            (Kind::Message { body, .. }, _) if is_of_another_room(body, name) => {
                Err(saving::of_another_room())
            }
            _ => Ok(()),
        };
        let known = self.known(&command.action, bounds.names);
        let mut decision = decide_knowing(&self.state, &command, known, fits);
        match self.fit(&decision, &command.action, bounds.fits) {
            Fit::Now => {}
            Fit::Never => decision = does_not_fit(),
            Fit::AfterSaving { first } => {
                first
                    .into_iter()
                    .for_each(|change| self.state.change(change));
                delivery.submission.action = command.action;
                self.held_back.push_back((delivery, ticket));
                return;
            }
        }
        let from = self.state.head;
        let generation = self.state.generation();
        let events = self.state.apply_decision(&decision, &command);
        if generation != self.state.generation() {
            self.forget_names();
        }
        let takes_places = !events.is_empty();
        if takes_places {
            self.unsaved_since.get_or_insert(now);
        }
        for event in events {
            self.enqueue(event, &bounds);
        }

        let order = self.unsaved_order(&command.action);
        let first = if takes_places { from.next() } else { from };
        told(&command.action, &decision.outcome, first);
        let has_changes = !decision.changes.is_empty() || !decision.last.is_empty();
        let told = self.answer(&command.action, delivery.submission.reply, decision, epoch);
        if !takes_places && has_changes {
            // They wait for an event.
            self.carrying.push(ticket);
            self.carrying_since.get_or_insert(now);
            if told.is_empty() {
                return;
            }
            self.tail().tell(told);
        } else {
            if takes_places {
                self.carrying_since = None;
            }
            let carried = match takes_places {
                true => std::mem::take(&mut self.carrying),
                false => Vec::new(),
            };
            let batch = self.tail();
            batch.tell(told);
            batch.tickets.extend(carried);
            match order {
                Some(place) => self.unsaved_orders.push((place, ticket)),
                None => self.tail().tickets.push(ticket),
            }
        }
        let decides = Context::current();
        let traced = Some(decides).filter(|trace| !trace.is_empty());
        self.tail().traces.extend(traced);
    }

    /// Who is told what once all of it is journaled. Of a message of a batch that was placed its
    /// event says it.
    fn answer(
        &self,
        action: &Action,
        reply: Option<ReplyTo>,
        decision: Decision,
        epoch: Epoch,
    ) -> Told {
        let head = self.state.head;
        let mut told = Told {
            notices: decision.notices,
            ..Told::default()
        };
        match (action, decision.outcome) {
            (Action::Batch { from, .. }, outcome) => {
                let outcome = match outcome {
                    Outcome::OutOfOrder { expected } => BatchOutcome::OutOfOrder { expected },
                    Outcome::Batch(outcomes) => {
                        let messages = outcomes.into_iter().zip(0..);
                        let messages = messages.filter_map(|(outcome, index)| {
                            let outcome = of_message(outcome, epoch, head)?;
                            Some((index, outcome))
                        });
                        BatchOutcome::Messages(messages.collect())
                    }
                    Outcome::Refused(rejection) => BatchOutcome::Refused(rejection),
                    outcome => unreachable!("a batch is decided as a batch, not {outcome:?}"),
                };
                let says_nothing = BatchOutcome::Messages(Vec::new());
                told.outcomes = (outcome != says_nothing).then_some((*from, outcome));
            }
            (_, Outcome::OutOfOrder { .. }) => told.early = reply,
            (_, outcome) => told.answer = reply.zip(answered(outcome, epoch, head)),
        }
        told
    }

    /// Whether the events of a decision can be stored, each with its changes in one message. What
    /// the room carries goes with the first of them, or into a snapshot, which has any size.
    fn fit(&self, decision: &Decision, action: &Action, most: usize) -> Fit {
        let Some(first) = decision.kinds.first() else {
            return Fit::Now;
        };
        let carried = size_of_changes(&self.state.unjournaled);
        let alone = |kind| size_of_event(kind, &[]);
        if decision.kinds.iter().any(|kind| alone(kind) > most) {
            return Fit::Never;
        }
        // With a single event, also what changes with the last one.
        let last = match decision.kinds.len() {
            1 => &decision.last[..],
            _ => &[],
        };
        let with_own_changes = size_of_event(first, &decision.changes) + size_of_changes(last);
        match action {
            _ if with_own_changes + carried <= most => Fit::Now,
            _ if with_own_changes <= most => Fit::AfterSaving { first: Vec::new() },
            // Decided again after its changes it has the same events, and no changes.
            Action::Abandon { .. } => Fit::AfterSaving {
                first: decision.changes.clone(),
            },
            _ => Fit::Never,
        }
    }

    /// Whether commands wait until the room is saved.
    pub(super) fn is_holding_back(&self) -> bool {
        !self.held_back.is_empty() && !self.names.is_asked()
    }

    /// The commands that waited, in order: they are to be decided now.
    pub(super) fn take_held_back(&mut self) -> VecDeque<(Delivery, Ticket)> {
        self.stop_waiting_for_name();
        std::mem::take(&mut self.held_back)
    }

    fn enqueue(&mut self, event: Event, bounds: &Bounds<impl Fn(Seq) -> Seq>) {
        let fits = self.queue.back().is_some_and(|batch| {
            let draft = &batch.draft;
            draft.has_room_for(&event, &bounds.boundary, bounds.fits)
        });
        if !fits {
            self.queue.push_back(Batch::default());
        }
        self.tail().draft.push(event);
    }

    fn tail(&mut self) -> &mut Batch {
        if self.queue.is_empty() {
            self.queue.push_back(Batch::default());
        }
        self.queue.back_mut().expect("a batch was just added")
    }

    /// The next batch for the journal, unless one is on its way.
    pub(super) fn next_batch(&mut self, names: names::Bounds) -> Option<Batch> {
        if self.committing {
            return None;
        }
        let mut batch = self.queue.pop_front()?;
        self.committing = true;
        let is_last = self.queue.is_empty() && !batch.draft.is_empty();
        if is_last && !self.saving && self.is_snapshot_due() {
            self.saving = true;
            self.past.saving();
            batch.snapshot = Some(self.snapshot(names));
        }
        Some(batch)
    }

    /// The batch is in the journal. `published`: so it is on the bus.
    pub(super) fn committed(
        &mut self,
        commit: Option<Arc<Commit>>,
        tickets: Vec<Ticket>,
        span: Span,
        published: bool,
        now: Instant,
    ) -> Vec<Ticket> {
        self.committing = false;
        match commit {
            None => tickets,
            Some(commit) if published => {
                self.show(&commit, now);
                tickets
            }
            Some(commit) => {
                self.unpublished.push_back((commit, tickets, span));
                Vec::new()
            }
        }
    }

    /// The next commit to publish and the position that it follows, unless one is on its way.
    pub(super) fn next_unpublished(&mut self) -> Option<(Unpublished, Position)> {
        if self.publishing {
            return None;
        }
        let next = self.unpublished.pop_front()?;
        self.publishing = true;
        Some((next, self.position))
    }

    /// The commit is published at `position`.
    pub(super) fn published(&mut self, commit: &Commit, position: Position, now: Instant) {
        self.publishing = false;
        self.position = position;
        self.show(commit, now);
    }

    fn show(&mut self, commit: &Commit, now: Instant) {
        for event in &commit.events {
            match &event.kind {
                Kind::Joined { user } => {
                    self.members.insert(user.clone());
                }
                Kind::Left { user } => {
                    self.members.remove(user);
                }
                Kind::Purged => {
                    self.purged = event.seq;
                    self.past.purged();
                    self.erasing = Erasing::default();
                }
                Kind::Erased { user, through } => self.erasing.add(user.clone(), *through),
                Kind::Message { .. } | Kind::Unpinned { .. } => {}
            }
        }
        self.head = commit.last();
        self.changed = Some(now);
    }

    /// What it asks of those who come.
    pub(super) fn policy(&self) -> Policy {
        self.state.policy
    }

    /// The published head.
    pub(super) fn head(&self) -> Seq {
        self.head
    }

    /// Whether it is to be saved because the snapshot will be smaller.
    pub(super) fn has_let_names_go(&self) -> bool {
        self.names.is_unsaved()
    }

    /// The published head, if it moved within the last `span`.
    pub(super) fn recent_head(&self, now: Instant, span: Duration) -> Option<Seq> {
        self.changed
            .filter(|changed| now.duration_since(*changed) <= span)
            .map(|_| self.head)
    }

    /// Whether nothing is on its way anywhere.
    pub(super) fn is_quiet(&self) -> bool {
        self.queue.is_empty()
            && !self.committing
            && self.unpublished.is_empty()
            && !self.publishing
            && !self.saving
            && self.names.is_quiet()
    }

    /// Whether it was never written: opening it again costs next to nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.head == Seq::ZERO && self.carrying.is_empty() && self.held_back.is_empty()
    }

    /// Whether nobody has a session in it, and saving and opening it again costs little.
    pub(super) fn is_deserted(&self) -> bool {
        self.state.sessions.is_empty() && self.state.records() <= FEW_RECORDS
    }

    /// When it was last used.
    pub(super) fn used(&self) -> Instant {
        self.used
    }

    /// Whether changes have waited for an event for longer than `span`.
    pub(super) fn carries_since(&self, now: Instant, span: Duration) -> bool {
        self.carrying_since
            .is_some_and(|since| now.duration_since(since) >= span)
    }

    /// Whether there is something that a snapshot would spare the next opening.
    pub(super) fn is_unsaved(&self) -> bool {
        self.state.head > self.saved || !self.carrying.is_empty()
    }

    /// Whether there have been events without a snapshot of them for longer than `span`.
    pub(super) fn is_unsaved_since(&self, now: Instant, span: Duration) -> bool {
        self.unsaved_since
            .is_some_and(|since| now.duration_since(since) >= span)
    }

    /// The state to save, and the commands that are settled by saving it. Only of a quiet room:
    /// everything in the state is journaled.
    pub(super) fn save(&mut self, names: names::Bounds) -> (Box<State>, Vec<Ticket>) {
        assert!(
            self.is_quiet(),
            "a snapshot is taken of journaled events only"
        );
        self.saving = true;
        self.past.saving();
        self.carrying_since = None;
        (self.snapshot(names), std::mem::take(&mut self.carrying))
    }

    /// A snapshot at `seq` with `carried` waiting changes was saved; or (at seq 0, with none) could
    /// not be, then the commands that waited for it wait on.
    /// Returns commands that are settled by it, besides those that waited for it.
    pub(super) fn saved(
        &mut self,
        seq: Seq,
        carried: usize,
        unsaved: Vec<Ticket>,
        now: Instant,
    ) -> Vec<Ticket> {
        self.saving = false;
        self.has_own_snapshot = seq > Seq::ZERO;
        self.saved = self.saved.max(seq);
        self.past.saved(seq > Seq::ZERO);
        self.names.saved(seq > Seq::ZERO);
        // Also after a failure: a bucket that is away is not asked every second.
        self.unsaved_since = (self.saved < self.state.head).then_some(now);
        // An event that came meanwhile has carried them.
        if seq == self.state.head {
            self.state.saved(carried, self.held_back.is_empty());
        }
        self.carry(unsaved, now);
        self.saved_orders()
    }

    /// Commands whose changes wait for an event.
    fn carry(&mut self, tickets: Vec<Ticket>, now: Instant) {
        if !tickets.is_empty() {
            self.carrying.extend(tickets);
            self.carrying_since.get_or_insert(now);
        }
    }
}

/// Whether what was decided can be stored.
enum Fit {
    /// It can.
    Now,
    /// Once the room is saved with all changes, these included.
    AfterSaving { first: Vec<Change> },
    /// It is larger than the servers take.
    Never,
}

/// The commands and questions that wait until a room is open. Bounded by the floor (commands) and
/// [`Waiting::QUESTIONS`].
#[derive(Default)]
pub(super) struct Waiting {
    /// Commands, in order.
    pub(super) commands: Vec<(Delivery, Ticket)>,
    /// Questions about the room.
    pub(super) questions: Vec<crate::bus::Question>,
}

impl Waiting {
    /// Questions that wait for one room to open; what is more is dropped and asked again.
    pub(super) const QUESTIONS: usize = 1024;

    /// Whether nobody waits.
    pub(super) fn is_empty(&self) -> bool {
        self.commands.is_empty() && self.questions.is_empty()
    }
}

/// What is known of a room of the shard.
pub(super) enum Slot {
    /// It is being read from the journal.
    Opening(Waiting),
    /// It is open.
    Open(Box<Room>),
}

#[cfg(test)]
mod tests;
