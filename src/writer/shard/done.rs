//! What a shard does when a call to the journal or the bus has ended.

use super::{End, Shard};
use crate::{
    bus::{Commit, Question},
    cluster::LeaseError,
    journal, metric,
    room::RoomId,
    trace::Hop,
    writer::{
        room::{Room, Slot},
        work::Done,
    },
};
use std::ops::ControlFlow;
use tokio::time::Instant;

impl Shard {
    pub(super) fn on_done(&mut self, done: Done) -> ControlFlow<End> {
        let now = Instant::now();
        match done {
            Done::Opened { room, opened } => return self.on_opened(room, opened, now),
            Done::Committed {
                room: name,
                batch,
                commit,
                span,
                result,
            } => {
                if let Err(error) = result {
                    return span.in_scope(|| self.on_failed(&name, error));
                }
                let mut batch = *batch;
                let published = self.parts.journal.publishes();
                if let Some(commit) = &commit {
                    self.trace(Hop::Journaled, &name, commit);
                    if published {
                        self.trace(Hop::Published, &name, commit);
                    }
                }
                self.work.tell(self.parts.clone(), &name, &mut batch);
                let Some(Slot::Open(room)) = self.rooms.get_mut(&name) else {
                    return ControlFlow::Continue(());
                };
                for ticket in room.committed(commit, batch.tickets, span, published, now) {
                    self.floor.settle(ticket);
                }
                if let Some(state) = batch.snapshot {
                    self.work.save(
                        self.parts.clone(),
                        self.claim,
                        name.clone(),
                        state,
                        Vec::new(),
                    );
                }
                self.pump(&name);
            }
            Done::Published {
                room: name,
                unpublished: (commit, tickets, span),
                result,
            } => {
                let position = match result {
                    Ok(position) => position,
                    Err(error) => return span.in_scope(|| self.on_failed(&name, error)),
                };
                self.trace(Hop::Published, &name, &commit);
                tickets
                    .into_iter()
                    .for_each(|ticket| self.floor.settle(ticket));
                if let Some(Slot::Open(room)) = self.rooms.get_mut(&name) {
                    room.published(&commit, position, now);
                }
                self.pump(&name);
            }
            Done::Saved {
                room: name,
                saved,
                mut tickets,
                owed,
            } => {
                if saved.is_some() {
                    tickets
                        .drain(..)
                        .for_each(|ticket| self.floor.settle(ticket));
                }
                if let Some(Slot::Open(room)) = self.rooms.get_mut(&name) {
                    let (seq, carried) = saved.unwrap_or_default();
                    let settled = room.saved(seq, carried, tickets, now);
                    settled
                        .into_iter()
                        .for_each(|ticket| self.floor.settle(ticket));
                    room.owe(owed);
                    self.decide_held_back(&name, now);
                }
            }
            Done::SavedBeside {
                room: name,
                settled,
                unsaved,
            } => {
                settled
                    .into_iter()
                    .for_each(|ticket| self.floor.settle(ticket));
                self.with_open(&name, |room| room.saved_beside(unsaved, now));
                self.decide_held_back(&name, now);
            }
            Done::Checkpointed {
                lease,
                floor,
                result,
            } => {
                let noted = lease.unfinished().to_vec();
                self.lease = Some(lease);
                match result {
                    Ok(()) => {
                        self.noted = noted;
                        self.floor.store(floor);
                        self.forget(now);
                    }
                    Err(LeaseError::Lost { .. }) => return ControlFlow::Break(End::LeaseLost),
                    Err(error @ LeaseError::Unavailable(_)) => {
                        let shard = self.claim.shard();
                        tracing::debug!(%shard, %error, "store the floor later")
                    }
                }
            }
            Done::Forgotten(forgotten) => {
                self.forgotten_at = Some(now);
                if let Some(forgotten) = forgotten {
                    self.floor.forget(forgotten);
                }
            }
            Done::Verified {
                room,
                questions,
                result,
            } => return self.on_verified(room, questions, result),
            Done::Found { room, found } => self.with_open(&room, |room| {
                metric::EVENTS_LET_GO.increment(room.found_start(found));
            }),
            Done::Trimmed {
                room,
                records,
                result,
            } => match result {
                Err(journal::Error::Fenced { seen }) => {
                    return ControlFlow::Break(End::Fenced(seen));
                }
                result => {
                    if let Err(error) = &result {
                        tracing::debug!(%room, %error, "the past of the room is removed later");
                    }
                    self.with_open(&room, |room| {
                        if room.removed(result.ok(), &records, now) {
                            metric::REMOVALS.of("purge_done").increment(1);
                        }
                    });
                }
            },
            Done::Copied { room, result } => {
                let later = now + self.parts.config.trim();
                match result {
                    Err(journal::Error::Fenced { seen }) => {
                        return ControlFlow::Break(End::Fenced(seen));
                    }
                    Err(error) => {
                        tracing::debug!(%room, %error, "what is erased is removed later");
                        self.with_erasing(&room, |room| room.copied(None, later));
                    }
                    Ok(pass) => self.with_erasing(&room, |room| room.copied(Some(pass), later)),
                }
            }
            Done::CopiedRemoved { room, result } => {
                let times = (now, now + self.parts.config.trim());
                if let Err(journal::Error::Fenced { seen }) = result {
                    return ControlFlow::Break(End::Fenced(seen));
                }
                if let Err(error) = &result {
                    tracing::debug!(%room, %error, "what is erased is removed later");
                }
                self.with_erasing(&room, |room| room.copied_removed(result.ok(), times));
            }
            Done::Moved {
                room: name,
                generation,
                moving,
                result,
            } => {
                match &result {
                    Err(journal::Error::Fenced { seen }) => {
                        return ControlFlow::Break(End::Fenced(*seen));
                    }
                    Err(error) => {
                        tracing::debug!(room = %name, %error, "keys move into records later");
                    }
                    Ok(()) => metric::NAME_RECORDS
                        .of("written")
                        .increment(moving.len() as u64),
                }
                self.with_open(&name, |room| {
                    room.names_moved(generation, &moving, result.is_ok());
                });
                self.pump(&name);
            }
            Done::LookedUp {
                room: name,
                lookup,
                result,
            } => {
                let pins = match result {
                    Ok(pins) => pins,
                    Err(error) => return self.on_failed(&name, error),
                };
                metric::NAME_RECORDS.of("read").increment(pins.len() as u64);
                self.with_open(&name, |room| room.looked_up(lookup, pins));
                self.decide_held_back(&name, now);
            }
            Done::Asked { question, result } => {
                self.asking -= 1;
                if let Ok(pins) = result {
                    self.tell(question, pins.first().and_then(Option::as_ref));
                }
            }
            Done::Listed(names) => self.on_listed(names, now),
            Done::LookedAt(overlong, gone) => {
                self.on_looked_at((overlong, gone), now, self.parts.config.trim());
            }
            Done::Retired { room, result } => return self.on_retired(room, result),
            Done::Told => {}
        }
        ControlFlow::Continue(())
    }

    /// Decides the commands that waited, in order, as far as nothing holds them back again.
    fn decide_held_back(&mut self, name: &RoomId, now: Instant) {
        let Some(Slot::Open(room)) = self.rooms.get_mut(name) else {
            return;
        };
        for (delivery, ticket) in room.take_held_back() {
            self.decide(name, delivery, ticket, now);
        }
        self.pump(name);
    }

    fn trace(&self, hop: Hop, room: &RoomId, commit: &Commit) {
        let what = || {
            format!(
                "with {} events, epoch {}",
                commit.events.len(),
                commit.epoch
            )
        };
        self.parts
            .tracer
            .note_events(hop, room, &commit.events, what);
    }

    fn on_opened(
        &mut self,
        name: RoomId,
        opened: Result<Box<Room>, journal::Error>,
        now: Instant,
    ) -> ControlFlow<End> {
        let Some(Slot::Opening(waiting)) = self.rooms.remove(&name) else {
            self.parts.journal.close(&name);
            return ControlFlow::Continue(());
        };
        let mut room = match opened {
            Ok(room) => room,
            Err(journal::Error::Fenced { seen }) => return ControlFlow::Break(End::Fenced(seen)),
            Err(error) => {
                let (shard, epoch) = (self.claim.shard(), self.claim.epoch());
                metric::ROOMS_REFUSED.increment(1);
                self.inherited.remove(&name);
                tracing::error!(%shard, %epoch, room = %name, %error, "the room is refused");
                let tickets = self
                    .work
                    .refuse(self.parts.clone(), epoch, &name, waiting, &error);
                tickets
                    .into_iter()
                    .for_each(|ticket| self.floor.settle(ticket));
                return ControlFlow::Continue(());
            }
        };
        if self.inherited.contains(&name) {
            room.goes_on();
        }
        self.rooms.insert(name.clone(), Slot::Open(room));
        for (delivery, ticket) in waiting.commands {
            self.decide(&name, delivery, ticket, now);
        }
        for question in waiting.questions {
            self.answer(question);
        }
        self.pump(&name);
        ControlFlow::Continue(())
    }

    fn on_verified(
        &mut self,
        name: RoomId,
        questions: Vec<Question>,
        result: Result<(), journal::Error>,
    ) -> ControlFlow<End> {
        let waiting = self.asked.remove(&name).unwrap_or_default();
        match result {
            Ok(()) => self.respond(questions),
            Err(journal::Error::Fenced { seen }) => return ControlFlow::Break(End::Fenced(seen)),
            Err(error) => {
                let shard = self.claim.shard();
                tracing::debug!(%shard, room = %name, %error, "questions are not answered now");
            }
        }
        if !waiting.is_empty() {
            self.verify(name, waiting);
        }
        ControlFlow::Continue(())
    }

    /// A commit or a publish ended in something that repeating cannot mend.
    fn on_failed(&mut self, name: &RoomId, error: journal::Error) -> ControlFlow<End> {
        match error {
            journal::Error::Fenced { seen } => ControlFlow::Break(End::Fenced(seen)),
            journal::Error::TooLarge(why) => {
                let shard = self.claim.shard();
                tracing::warn!(
                    %shard, room = %name, why,
                    "an event was decided that the servers do not take any more: \
                     the shard is taken again, and the event is refused"
                );
                ControlFlow::Break(End::Fenced(self.claim.epoch()))
            }
            error => {
                // What became of the commit is found out by opening the room again, under a new
                // epoch.
                let (shard, epoch) = (self.claim.shard(), self.claim.epoch());
                tracing::error!(%shard, %epoch, room = %name, %error, "the shard is given up");
                ControlFlow::Break(End::Failed)
            }
        }
    }
}
