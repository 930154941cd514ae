//! One generation of a replica: from subscribing and asking the owner until it loses the thread.

use super::{
    Inbox, Message, Replica, SubscriberId,
    asking::{Whole, ask_whole, subscribe},
    evidence::{contradiction, is_unproven},
    log::{Recent, ReplicaLog, Step},
    openings::{Openings, Proof},
    subscribers::Subscribers,
};
use crate::{
    bus::{self, Commit, Live, PART, members_after},
    gateway::{Close, core::Core, metrics, session_revalidation},
    room::{Change, Epoch, Event, Kind, Rejection, Seq, UserId},
    telemetry::trace::hop,
    trace::Hop,
    wire::{ServerFrame, SharedEvent},
};
use futures::{StreamExt, future::BoxFuture, stream::BoxStream};
use std::{
    collections::BTreeSet,
    future::ready,
    sync::{
        Arc,
        atomic::Ordering::{Relaxed, Release},
    },
};
use tokio::{
    task::unconstrained,
    time::{Instant, sleep_until},
};

mod anew;
mod before;
mod finding;

use finding::Found;

/// How a generation ends.
pub(super) enum Ended {
    /// The room cannot be served, says its owner.
    Refused(Rejection),
    /// The room is not what it was: it has gone back, or its events do not come any more.
    Lost,
}

struct Generation<'a> {
    core: &'a Arc<Core>,
    replica: &'a Arc<Replica>,
    number: u64,
    log: ReplicaLog,
    /// How far the room goes for sure: its owner said so.
    vouched: Seq,
    members: BTreeSet<UserId>,
    subscribers: Subscribers,
    /// Those whom the owner has let in.
    openings: Openings,
    /// Something may have been missed: ask the owner.
    interrupted: bool,
    /// An opening is not where it should be: ask the owner at once.
    suspected: bool,
    /// The owner is being asked.
    asking: bool,
    /// When what is missing is read.
    overdue: Option<Instant>,
    /// Since when the owner that answers knows less than was heard of.
    outdated: Option<Instant>,
    /// The room has a new owner since something may have been missed, or an opening is not where it
    /// should be: look whether the room still has the newest event that was taken.
    doubted: bool,
    /// Events are gone that were not seen: who is here is known only from the owner.
    skipped: bool,
    /// The highest epoch that an owner has said itself.
    owned: Epoch,
    /// A place at which something else was heard than was taken: look what the journal has there.
    disputed: Option<Seq>,
    /// Where the owner says that the room ends, before the head: look whether that is a new room.
    lower: Option<Seq>,
    /// The journal had the newest event that was taken, up to this place.
    proven: Seq,
}

/// Lives until the thread is lost, or the bus has lost events more often than `rollbacks`; then all
/// subscribers are closed, to come back.
pub(super) async fn live(
    core: &Arc<Core>,
    replica: &Arc<Replica>,
    inbox: &mut Inbox,
    rollbacks: u64,
) -> Ended {
    let health = core.bus.health();
    let live = subscribe(core, replica).await;
    let Whole { view, reached } = ask_whole(core, replica).await;
    if let Some(rejection) = view.refused {
        return Ended::Refused(rejection);
    }
    let mut generation = Generation {
        core,
        replica,
        number: replica.generations.fetch_add(1, Relaxed),
        log: ReplicaLog::new(view.head, view.epoch),
        vouched: reached,
        members: view.members.into_iter().collect(),
        subscribers: Subscribers::new(),
        openings: Openings::default(),
        interrupted: false,
        suspected: false,
        asking: false,
        overdue: None,
        outdated: None,
        doubted: false,
        skipped: false,
        owned: view.epoch,
        disputed: None,
        lower: None,
        proven: Seq::ZERO,
    };
    generation.log.reach.told(reached);
    replica.purged.store(0, Release);
    generation.purged(view.purged);
    replica.erasing.send_replace(Arc::default());
    generation.erase(view.erasing);
    replica.policy.send_replace(view.policy);
    replica.epochs().reset();
    replica.head.store(view.head.0, Release);
    let ended = tokio::select! {
        biased; // Nothing is shown any more beside what may be void.
        () = bus::until(health, |now| now.rollbacks != rollbacks) => {
            tracing::warn!(room = %replica.room, "the bus lost events: the room's clients start again");
            Ended::Lost
        }
        ended = generation.run(inbox, live) => ended,
    };
    generation.subscribers.close_all(Close::Unavailable);
    ended
}

impl Generation<'_> {
    async fn run(&mut self, inbox: &mut Inbox, mut live: BoxStream<'static, Live>) -> Ended {
        let mut work: Option<BoxFuture<'static, Found>> = None;
        // What came while something was found out is heard before anything else is looked for: it
        // is most of what seems to be missing, and where reading is slow each look would find
        // something more, for ever, while the subscription fills.
        let mut is_heard = true;
        loop {
            self.let_in();
            if work.is_none() && is_heard {
                work = self.next_work();
            }
            let overdue = self.overdue;
            let is_late = self.subscribers.are_late();
            let step = tokio::select! {
                // Messages first: there are never more than clients. While something is being found
                // out, live events wait in their subscription.
                biased;
                Some(message) = inbox.recv() => self.message(message),
                Some(found) = async { Some(work.as_mut()?.await) } => {
                    work = None;
                    is_heard = false;
                    self.found(found)
                }
                heard = unconstrained(live.next()), if work.is_none() && !is_late => {
                    self.heard(heard)
                }
                () = ready(()), if !is_heard => {
                    is_heard = true; // Nothing more is there now.
                    Ok(())
                }
                // Until then what is not heard yet waits in its subscription.
                () = self.subscribers.caught_up(), if is_late => Ok(()),
                () = sleep_until(overdue.unwrap_or_else(Instant::now)), if overdue.is_some() && work.is_none() => Ok(()),
            };
            if let Err(ended) = step {
                return ended;
            }
        }
    }

    fn heard(&mut self, heard: Option<Live>) -> Result<(), Ended> {
        match heard {
            None => Err(Ended::Lost),
            Some(Live::Interrupted) => {
                self.interrupted = true;
                Ok(())
            }
            Some(Live::Commit(commit)) => self.commit(&commit),
            Some(Live::Traced(commit, trace)) => {
                let span = hop::deliver(&trace, commit.range(0), self.subscribers.len());
                span.in_scope(|| self.commit(&commit))
            }
        }
    }

    fn commit(&mut self, commit: &Commit) -> Result<(), Ended> {
        if self.waits(&commit.events[0], commit.last()) {
            return Ok(());
        }
        // Nothing of it is shown, and nobody is closed, before the journal has said who is right.
        if let Some(place) = contradiction(&self.log.recent, self.log.reach.head(), commit) {
            self.disputed.get_or_insert(place);
            return Ok(());
        }
        // Of an owner that was replaced, or of nobody: shown if the journal has it.
        if commit.epoch < self.log.reach.epoch() && commit.last() > self.log.reach.head() {
            self.log.reach.told(commit.last());
            self.overdue = Some(Instant::now());
            return Ok(());
        }
        // The owner goes on before the head: a new one publishes again what it cannot see
        // published, or the room has gone back, or was gone and begins again. It says which.
        if commit.epoch >= self.log.reach.epoch()
            && is_unproven(&self.log.recent, self.log.reach.head(), commit)
        {
            self.interrupted = true;
            return Ok(());
        }
        match self
            .log
            .reach
            .hear(commit.first(), commit.last(), commit.epoch)
        {
            Step::Old => {}
            Step::Gap => self.overdue = Some(Instant::now()),
            Step::Take { skip } => {
                let share =
                    |event: &Event| SharedEvent::new(self.replica.room.clone(), event.clone());
                self.take(commit.events[skip..].iter().map(share).collect());
                metrics::delivered(commit.events[skip].at);
            }
        }
        Ok(())
    }

    /// Something was heard that is not so: it is counted, and said once in a while.
    fn rumour(&self, what: &'static str) {
        metrics::rumour();
        if self.core.rumours.begins() {
            tracing::warn!(
                room = %self.replica.room, what,
                "heard on the bus and dropped, more of it is counted only: does somebody publish \
                 there who is no writer?"
            );
        }
    }

    /// The next events of the room.
    fn take(&mut self, mut events: Vec<SharedEvent>) {
        self.erase_in(&mut events);
        for shared in &events {
            let event = shared.event();
            match &event.kind {
                Kind::Joined { user } => drop(self.members.insert(user.clone())),
                Kind::Left { user } => drop(self.members.remove(user)),
                Kind::Purged => self.purged(event.seq),
                Kind::Message { .. } | Kind::Unpinned { .. } | Kind::Erased { .. } => {}
            }
            for change in &event.changes {
                if let Change::PolicySet { policy, .. } = change {
                    self.replica.policy.send_replace(*policy);
                }
            }
            self.replica.epochs().take(event);
            self.log.recent.push(shared.clone());
        }
        if self.core.pressure.is_tight() {
            self.log.recent.shrink();
        }
        // First: whoever has seen an event and asks for a page finds it there.
        self.moved();
        let live = self.subscribers.fan_out(&events);
        let (tracer, all) = (
            &self.core.tracer,
            events.iter().map(|shared| shared.event()),
        );
        tracer.note_events(Hop::Delivered, &self.replica.room, all, || {
            format!("to {live} clients")
        });
        // After the events: what a session is told of its end comes behind them.
        events
            .iter()
            .for_each(|event| self.subscribers.notice(event.event()));
        let (own, lane) = (events.iter().map(SharedEvent::event), self.replica.lane());
        lane.seen(own, self.log.reach.epoch(), self.log.reach.head());
    }

    /// The events before `left` that were not taken are gone: its clients are told, and go on
    /// there. Sessions that ended or were lost with them are found out.
    fn skip_to(&mut self, left: Seq) {
        let (room, next) = (&self.replica.room, self.log.reach.head().next());
        tracing::warn!(
            %room, %next, %left,
            "events are gone that were not read yet; clients go on behind them"
        );
        metrics::hole_skipped();
        self.log.reach.skip_to(left);
        self.log.recent = Recent::default();
        self.replica.epochs().reset();
        self.moved();
        self.subscribers.skip_live(left);
        (self.skipped, self.interrupted) = (true, true);
        // A session that is just opening may have ended with them: it comes again.
        self.number = self.replica.generations.fetch_add(1, Relaxed);
        session_revalidation::of_room(self.core, &self.replica.room);
        self.replica.lane().reached(self.log.reach.head());
    }

    /// Whether it is being found out if this is the room still.
    fn is_in_doubt(&self) -> bool {
        self.asking
            || self.interrupted
            || self.disputed.is_some()
            || (self.doubted && self.log.recent.last().is_some())
    }

    /// Answers for those who are let in and whose opening is here. A client that was told by its
    /// own session, or by another gateway, that the room has gone back comes here before anything
    /// else has said so: it must not go on in a room that is not there any more.
    fn let_in(&mut self) {
        if self.openings.is_empty() || self.is_in_doubt() {
            return;
        }
        let (head, epoch, extent) = (
            self.log.reach.head(),
            self.log.reach.epoch(),
            self.log.extent(self.number),
        );
        let proof = self.openings.let_in(head, epoch, &self.log.recent, extent);
        if proof == Proof::Wanted {
            (self.suspected, self.doubted) = (true, true);
        }
    }

    /// The head has moved.
    fn moved(&mut self) {
        self.replica.head.store(self.log.reach.head().0, Release);
    }

    fn message(&mut self, message: Message) -> Result<(), Ended> {
        match message {
            Message::Extent(reply) => drop(reply.send(Ok(self.log.extent(self.number)))),
            Message::Opened(opening, reply) => {
                self.log.reach.told(opening.seq);
                self.openings.push(opening, reply);
            }
            // Unanswered: the generation that it was meant for is over.
            Message::Attach(attach, _) if attach.generation != self.number => {}
            Message::Attach(attach, reply) => {
                let head = self.log.reach.head();
                let first = attach.start.first(head, attach.floor.max(self.log.purged));
                if first < self.log.purged {
                    return Ok(()); // Unanswered: what it would begin with was purged meanwhile.
                }
                attach.greet(
                    &self.members,
                    head,
                    first,
                    self.log.reach.epoch(),
                    *self.replica.policy.borrow(),
                    &self.core.node,
                );
                let subscriber = SubscriberId(self.replica.subscribers.fetch_add(1, Relaxed));
                self.subscribers.add(subscriber, &attach, first);
                let need = self.feed(subscriber, attach.page.as_deref());
                if reply.send((subscriber, need)).is_err() {
                    self.subscribers.remove(subscriber);
                }
            }
            Message::Feed(subscriber, page, left, reply) => {
                left.inspect(|left| self.subscribers.skip(subscriber, *left));
                let _ = reply.send(self.feed(subscriber, page.as_deref()));
            }
            Message::Recent(..) if self.is_in_doubt() => {}
            Message::Recent(last, most, reply) => {
                let _ = reply.send(self.log.recent.up_to(last, most).cloned().collect());
            }
            Message::Members(id, after, outbox, _permit) => {
                let (members, more) = members_after(&self.members, after.as_ref(), PART);
                outbox.push(&ServerFrame::Members { id, members, more });
            }
            // By an owner of before: what it knows may be gone.
            Message::Told(_, epoch) if epoch < self.log.reach.epoch() => {}
            Message::Told(seq, epoch) if seq < self.log.reach.head() => {
                // A new owner has less than was taken here: ask it.
                self.interrupted |= epoch > self.log.reach.epoch();
            }
            Message::Told(seq, _) => self.log.reach.told(seq),
            Message::Detach(subscriber) => self.subscribers.remove(subscriber),
        }
        Ok(())
    }
}
