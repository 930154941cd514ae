//! What goes to the journal together, and what follows once it is there. Pure.

use super::floor::Ticket;
use crate::{
    bus::{Answer, Answered, BatchOutcome, Commit, Inbound, OfBatch, Outcomes, ReplyTo},
    journal::Draft,
    room::{Epoch, Incarnation, Notice, ProducerSeq, RoomId, State},
    telemetry::trace::Context,
};
use std::{collections::BTreeMap, sync::Arc};

/// Events of one commit, and what waits for it. Without events: answers that only wait for a
/// confirmation.
#[derive(Default)]
pub(super) struct Batch {
    /// Its events.
    pub(super) draft: Draft,
    /// Who is told what, in the order of the decisions.
    pub(super) told: Vec<Told>,
    /// Commands that are settled by it.
    pub(super) tickets: Vec<Ticket>,
    /// Where the decisions that are in it are in their traces; those that are traced.
    pub(super) traces: Vec<Context>,
    /// The state after its last event, when a snapshot is due.
    pub(super) snapshot: Option<Box<State>>,
}

impl Batch {
    /// The commit, and what is left of the batch; `None`: it has no events.
    pub(super) fn take_commit(&mut self, epoch: Epoch) -> Option<Arc<Commit>> {
        (!self.draft.is_empty()).then(|| {
            Arc::new(Commit {
                epoch,
                events: self.draft.take(),
            })
        })
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
