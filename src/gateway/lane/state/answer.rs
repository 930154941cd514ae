//! What answers the messages of a lane: events of the room, and what its owner says.

use super::{Effect, State};
use crate::{
    bus::{Answered, BatchOutcome, MessageOutcome, OfBatch},
    gateway::{
        core::unavailable,
        lane::batch::{Batch, BatchId},
    },
    room::{Epoch, Rejection, Seq, Turn},
};
use tokio::time::Instant;

/// How often a batch is said to follow one that is not held any more before that is believed: the
/// first time the word may be an old one.
const DOUBTS: u32 = 2;

impl<T: Clone> State<T> {
    /// Messages of sessions are in the room, in this order, which then goes up to `head`.
    pub(in super::super) fn seen(
        &mut self,
        events: impl Iterator<Item = (Turn, Seq)>,
        epoch: Epoch,
        head: Seq,
    ) -> Vec<Effect<T>> {
        let mut effects = Vec::new();
        for (turn, seq) in events {
            effects.extend(self.journaled(turn, seq, epoch, false));
        }
        effects.extend(self.reached(head));
        effects
    }

    /// The sessions here have seen the room up to `head`: what was decided by then and has no event
    /// has none.
    pub(in super::super) fn reached(&mut self, head: Seq) -> Vec<Effect<T>> {
        let passed = self.decided.extract_if(.., |(seq, _)| *seq <= head);
        let turns: Vec<Turn> = passed.map(|(_, turn)| turn).collect();
        self.reject_all(turns, &not_placed())
    }

    /// A message that went alone is answered.
    pub(in super::super) fn answered(&mut self, turn: Turn, answered: Answered) -> Vec<Effect<T>> {
        let effect = match answered {
            Answered::Journaled {
                seq,
                epoch,
                duplicate,
            } => self.journaled(turn, seq, epoch, duplicate),
            Answered::Rejected(rejection) => self.rejected(turn, rejection),
        };
        effect.into_iter().collect()
    }

    /// What the owner says of a batch, while the sessions here have seen the room up to `head`.
    pub(in super::super) fn outcome(
        &mut self,
        of: OfBatch,
        head: Seq,
        now: Instant,
    ) -> Vec<Effect<T>> {
        let id = BatchId {
            generation: of.generation,
            sequence: of.sequence,
        };
        let Some(batch) = self.batches.get(&id) else {
            return Vec::new();
        };
        match of.outcome {
            BatchOutcome::OutOfOrder { expected } => self.out_of_order(id, expected, now),
            BatchOutcome::Refused(why) => self.abandon_from(id, &why),
            BatchOutcome::Messages(outcomes) => {
                let turn = |index: u32| Some(batch.messages.get(index as usize)?.turn);
                let outcomes: Vec<_> = outcomes
                    .into_iter()
                    .filter_map(|(index, outcome)| Some((turn(index)?, outcome)))
                    .collect();
                let mut effects = Vec::new();
                for (turn, outcome) in outcomes {
                    match outcome {
                        MessageOutcome::Answered(answered) => {
                            effects.extend(self.answered(turn, answered))
                        }
                        MessageOutcome::DecidedBy(seq) => self.decided.push((seq, turn)),
                    }
                }
                effects.extend(self.reached(head));
                effects
            }
        }
    }

    /// The bus lost a batch before this one: all from there on are submitted again.
    fn out_of_order(&mut self, id: BatchId, expected: u64, now: Instant) -> Vec<Effect<T>> {
        let first = BatchId {
            sequence: expected,
            ..id
        };
        if first >= id {
            return Vec::new();
        }
        if !self.batches.contains_key(&first) {
            // Its messages have their answers, so the room has gone back or forgotten this gateway.
            let Some(batch) = self.batches.get_mut(&id) else {
                return Vec::new();
            };
            batch.doubts += 1;
            if batch.doubts > DOUBTS {
                return self.abandon_from(id, &not_placed());
            }
        }
        let of_generation = self.batches.range_mut(first..);
        let of_generation = of_generation.filter(|(other, _)| other.generation == id.generation);
        of_generation.for_each(|(_, batch)| (batch.stored, batch.due) = (false, now));
        Vec::new()
    }

    /// This batch will not be taken, nor will those behind it.
    fn abandon_from(&mut self, id: BatchId, why: &Rejection) -> Vec<Effect<T>> {
        let behind = self.take_from(id);
        self.reject_all(behind.iter().flat_map(Batch::turns), why)
    }
}

/// It was decided, and has no event here that anybody knows of.
fn not_placed() -> Rejection {
    unavailable(
        "it is not known whether the message is in the room: send it again with the same id",
    )
}
