//! What goes to the journal together, and what follows once it is there. Pure.

use super::floor::Ticket;
use crate::{
    bus::{Answer, Answered, BatchOutcome, Commit, Inbound, OfBatch, Outcomes, ReplyTo},
    journal::{Limits, codec::size_of_event},
    room::{Epoch, Event, Incarnation, Notice, ProducerSeq, RoomId, Seq, State},
    telemetry::trace::Context,
};
use std::{collections::BTreeMap, sync::Arc};

/// Events of one commit, and what waits for it. Without events: answers that only wait for a
/// confirmation.
#[derive(Default)]
pub(super) struct Batch {
    /// The events, of dense places.
    pub(super) events: Vec<Event>,
    /// Who is told what, in the order of the decisions.
    pub(super) told: Vec<Told>,
    /// Commands that are settled by it.
    pub(super) tickets: Vec<Ticket>,
    /// Where the decisions that are in it are in their traces; those that are traced.
    pub(super) traces: Vec<Context>,
    /// The state after its last event, when a snapshot is due.
    pub(super) snapshot: Option<Box<State>>,
    bytes: usize,
}

impl Batch {
    /// Whether an event still belongs into this batch. `boundary`: the last place that a commit
    /// starting where this one starts may hold; `fits`: the most bytes of events that the bus
    /// carries. What is before a purge or an erasure is removed in whole commits.
    pub(super) fn has_room_for(&self, event: &Event, boundary: Seq, fits: usize) -> bool {
        self.events.is_empty()
            || (!event.kind.begins_a_commit()
                && self.events.len() < Limits::EVENTS
                && self.bytes + size(event) <= Limits::BYTES.min(fits)
                && event.seq <= boundary)
    }

    /// Adds the next event.
    pub(super) fn push(&mut self, event: Event) {
        self.bytes += size(&event);
        self.events.push(event);
    }

    /// The commit, and what is left of the batch; `None`: it has no events.
    pub(super) fn take_commit(&mut self, epoch: Epoch) -> Option<Arc<Commit>> {
        (!self.events.is_empty()).then(|| {
            Arc::new(Commit {
                epoch,
                events: std::mem::take(&mut self.events),
            })
        })
    }

    /// About how many bytes its events take.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Somebody is told something once it is journaled.
    pub(super) fn tell(&mut self, told: Told) {
        if !told.is_empty() {
            self.told.push(told);
        }
    }

    /// What the gateways are told: of batches one message for each gateway, or a few when it is
    /// more than `fits` bytes.
    pub(super) fn take_told(&mut self, room: &RoomId, fits: usize) -> Vec<(Incarnation, Inbound)> {
        let most = (fits / OUTCOME).max(1);
        let mut inbound = Vec::new();
        let mut outcomes: BTreeMap<Incarnation, Vec<OfBatch>> = BTreeMap::new();
        for told in self.told.drain(..) {
            if let Some((to, answered)) = told.answer {
                let tag = to.tag;
                inbound.push((to.node, Inbound::Answer(Answer { tag, answered })));
            }
            if let Some(to) = told.early {
                inbound.push((to.node, Inbound::Early { tag: to.tag }));
            }
            if let Some((from, outcome)) = told.outcomes {
                let ProducerSeq { producer, sequence } = from;
                let of = outcomes.entry(producer.gateway).or_default();
                of.extend(in_parts(outcome, most).map(|outcome| OfBatch {
                    generation: producer.generation,
                    sequence,
                    outcome,
                }));
            }
            for Notice { gateway, session } in told.notices {
                let room = room.clone();
                inbound.push((gateway, Inbound::Replaced { room, session }));
            }
        }
        for (gateway, mut batches) in outcomes {
            while !batches.is_empty() {
                let mut messages = 0;
                let fitting = batches.iter().take_while(|of| {
                    messages += of.outcome.messages().max(1);
                    messages <= most
                });
                let rest = batches.split_off(fitting.count().max(1));
                let room = room.clone();
                let outcomes = Outcomes { room, batches };
                inbound.push((gateway, Inbound::Outcomes(outcomes)));
                batches = rest;
            }
        }
        inbound
    }
}

/// What became of a message takes at most about so many bytes: a refusal.
const OUTCOME: usize = 192;

/// What became of a batch, in parts of at most so many messages.
fn in_parts(outcome: BatchOutcome, most: usize) -> impl Iterator<Item = BatchOutcome> {
    let parts: Vec<_> = match outcome {
        BatchOutcome::Messages(messages) => messages
            .chunks(most)
            .map(|part| BatchOutcome::Messages(part.into()))
            .collect(),
        outcome => vec![outcome],
    };
    parts.into_iter()
}

/// Who is told what of a decision.
#[derive(Default)]
pub(super) struct Told {
    /// The answer to a command of its own.
    pub(super) answer: Option<(ReplyTo, Answered)>,
    /// Who is told that a message came before one that must come first.
    pub(super) early: Option<ReplyTo>,
    /// What became of a batch.
    pub(super) outcomes: Option<(ProducerSeq, BatchOutcome)>,
    /// Which gateways are told that a session of theirs was replaced.
    pub(super) notices: Vec<Notice>,
}

impl Told {
    pub(super) fn is_empty(&self) -> bool {
        self.answer.is_none()
            && self.early.is_none()
            && self.outcomes.is_none()
            && self.notices.is_empty()
    }
}

fn size(event: &Event) -> usize {
    size_of_event(&event.kind, &event.changes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::room::{Body, Kind, Millis, UserId};

    fn event(seq: u64, bytes: usize) -> Event {
        let from = UserId::parse("harry").unwrap();
        let body = Body::Text("x".repeat(bytes).into());
        Event {
            seq: Seq(seq),
            at: Millis(0),
            kind: Kind::Message {
                from,
                to: None,
                body,
                id: None,
                device: None,
                turn: None,
                request: None,
            },
            changes: Vec::new(),
        }
    }

    #[test]
    fn a_batch_is_bounded_by_events_bytes_and_the_boundary() {
        let (far, all) = (Seq(u64::MAX), usize::MAX);
        let mut batch = Batch::default();
        assert!(
            batch.has_room_for(&event(1, Limits::BYTES * 2), Seq(0), all),
            "a first event always fits"
        );
        for seq in 1..=Limits::EVENTS as u64 {
            assert!(batch.has_room_for(&event(seq, 1), far, all));
            batch.push(event(seq, 1));
        }
        assert!(!batch.has_room_for(&event(257, 1), far, all));

        let mut batch = Batch::default();
        batch.push(event(1, Limits::BYTES / 2));
        assert!(!batch.has_room_for(&event(2, Limits::BYTES / 2), far, all));
        assert!(batch.has_room_for(&event(2, 1), Seq(2), all));
        assert!(!batch.has_room_for(&event(2, 1), Seq(1), all));
        assert!(!batch.has_room_for(&event(2, 1), Seq(2), Limits::BYTES / 2));
    }
}
