//! What a lane submits and when, and what becomes of that.

use super::{Effect, Failure, Form, State, Step};
use crate::{
    bus::too_large_now,
    gateway::{
        core::{busy, unavailable},
        lane::batch::{Batch, BatchId, Outgoing},
    },
    room::{Limits, Producer, ProducerSeq, Rejection, SessionId, Turn},
};
use std::{collections::HashSet, sync::Arc, time::Duration};
use tokio::time::Instant;

/// How long a batch may wait to be stored. Longer than an election among the servers takes.
const STORE_WAIT: Duration = Duration::from_secs(15);
/// How often the wait for answers doubles: an owner that is behind, or away with what it has to
/// read again, is not helped by repetitions.
const DOUBLINGS: u32 = 3;
/// What a message takes in a batch besides its content, at most.
const ENVELOPE: usize = 320;

impl<T: Clone> State<T> {
    /// What to do now.
    pub(in super::super) fn step(&mut self, now: Instant, form: Form) -> Step<T> {
        let mut wake: Option<Instant> = None;
        for (id, batch) in &self.batches {
            if batch.due <= now {
                return self.submit(*id);
            }
            wake = Some(wake.map_or(batch.due, |wake| wake.min(batch.due)));
            // It holds up what is behind it.
            if !batch.stored {
                return Step::Wait(wake);
            }
        }
        match self.form(now, form) {
            Some(id) => self.submit(id),
            None if wake.is_none() => Step::Idle,
            None => Step::Wait(wake),
        }
    }

    /// What is known outside of the messages of a batch that wait for an answer.
    pub(in super::super) fn tags(&self, id: BatchId) -> impl Iterator<Item = &T> {
        let turns = self.batches.get(&id).into_iter().flat_map(Batch::turns);
        turns.filter_map(|turn| Some(&self.entries.get(&turn)?.tag))
    }

    fn submit(&self, id: BatchId) -> Step<T> {
        let batch = &self.batches[&id];
        if batch.single {
            let message = batch.messages[0].clone();
            // A single message goes when nobody waits for it any more.
            let tag = self.entries[&message.turn].tag.clone();
            return Step::Submit(id, Outgoing::Single(tag, message));
        }
        let producer = Producer {
            gateway: self.gateway,
            generation: id.generation,
        };
        let from = ProducerSeq {
            producer,
            sequence: id.sequence,
        };
        Step::Submit(id, Outgoing::Batch(from, batch.messages.clone()))
    }

    /// A new batch of what is queued. Nodes that do not read batches get single messages; of a
    /// session the next one when the one before is answered, which keeps their order.
    fn form(&mut self, now: Instant, form: Form) -> Option<BatchId> {
        while self
            .queue
            .front()
            .is_some_and(|turn| !self.entries.contains_key(turn))
        {
            self.queue.pop_front();
        }
        // The one form after the other: what is stored last must not be decided first.
        if self
            .batches
            .values()
            .any(|batch| batch.single == form.batches)
        {
            return None;
        }
        let turns = match form.batches {
            true => self.take_batch(form.bytes),
            false => self.take_single(),
        };
        let taken = turns.iter();
        let messages: Arc<[_]> = taken
            .map(|turn| self.entries[turn].message.clone())
            .collect();
        if messages.is_empty() {
            return None;
        }
        self.last += 1;
        let id = BatchId {
            generation: self.generation,
            sequence: self.last,
        };
        let mut batch = Batch::new(messages, !form.batches, now);
        for turn in turns {
            if let Some(entry) = self.entries.get_mut(&turn) {
                entry.batch = Some(id);
                batch.may_be_stored |= entry.may_be_stored;
            }
        }
        self.batches.insert(id, batch);
        Some(id)
    }

    /// Messages in their order, and behind them a handshake: what follows one is decided in the
    /// group that it makes. No message waits for a handshake of another session, and no handshake
    /// for ever for messages: when it has no space here, it is the next batch.
    fn take_batch(&mut self, most: usize) -> Vec<Turn> {
        if self.is_due
            && let Some(turn) = self.take_handshake(|_, _| true)
        {
            self.is_due = false;
            return vec![turn];
        }
        let (mut turns, mut content, mut bytes) = (Vec::new(), 0, 0);
        let limit = self.most;
        let fits = |count: usize, content: usize, bytes: usize| {
            count == 0 || (count < limit && content <= Limits::BATCH_BYTES && bytes <= most)
        };
        while let Some(turn) = self.queue.front().copied() {
            if let Some(entry) = self.entries.get(&turn) {
                let size = entry.message.body.size();
                if !fits(turns.len(), content + size, bytes + size + ENVELOPE) {
                    break;
                }
                (content, bytes) = (content + size, bytes + size + ENVELOPE);
                turns.push(turn);
            }
            self.queue.pop_front();
        }
        let mut is_left = false;
        let handshake = self.take_handshake(|_, size| {
            let has_space = fits(turns.len(), content + size, bytes + size + ENVELOPE);
            is_left |= !has_space;
            has_space
        });
        self.is_due = is_left && handshake.is_none();
        turns.extend(handshake);
        turns
    }

    fn take_single(&mut self) -> Vec<Turn> {
        let waits = self.batches.values().flat_map(Batch::turns);
        let waits: HashSet<SessionId> = waits.map(|turn| turn.session).collect();
        let is_free =
            |turn: &Turn| self.entries.contains_key(turn) && !waits.contains(&turn.session);
        let first = self.queue.iter().position(is_free);
        let turn = match first {
            Some(at) => self.queue.remove(at),
            None => self.take_handshake(|session, _| !waits.contains(&session)),
        };
        turn.into_iter().collect()
    }

    /// A batch is stored. Answers are late after `patience`, which doubles.
    pub(in super::super) fn stored(
        &mut self,
        id: BatchId,
        now: Instant,
        patience: Duration,
    ) -> Vec<Effect<T>> {
        let Some(batch) = self.batches.get_mut(&id) else {
            return Vec::new();
        };
        batch.due = now + patience * (1 << batch.times.min(DOUBLINGS));
        batch.times += 1;
        (batch.stored, batch.may_be_stored, batch.failing) = (true, true, None);
        let (times, turns) = (batch.times, batch.turns().collect::<Vec<_>>());
        self.most = Limits::BATCH;
        let mut effects = Vec::new();
        for turn in turns {
            let Some(entry) = self.entries.get_mut(&turn) else {
                continue;
            };
            let tag = entry.tag.clone();
            effects.push(match std::mem::replace(&mut entry.accepted, true) {
                false => Effect::Accepted(tag),
                true => Effect::Resubmitted {
                    tag,
                    late: times == 2,
                },
            });
        }
        self.drop_if_done(id);
        effects
    }

    /// A batch could not be stored, as far as is known; it is tried again after `pause`.
    pub(in super::super) fn failed(
        &mut self,
        id: BatchId,
        failure: Failure,
        now: Instant,
        pause: Duration,
    ) -> Vec<Effect<T>> {
        let Some(batch) = self.batches.get_mut(&id) else {
            return Vec::new();
        };
        let since = now - *batch.failing.get_or_insert(now);
        batch.may_be_stored |= failure == Failure::Unknown;
        let (absent, single) = (!batch.may_be_stored, batch.messages.len() == 1);
        match failure {
            Failure::Full if absent => self.give_back(id, &busy()),
            Failure::TooLarge if !single => self.halve(id),
            Failure::TooLarge if absent => self.give_back(id, &too_large_now()),
            Failure::TooLarge => self.abandon(id, &too_large_now()),
            _ if since >= STORE_WAIT => {
                let why = "it could not be stored in time; send it again with the same id";
                match absent {
                    true => self.give_back(id, &unavailable(why)),
                    false => self.abandon(id, &unavailable(why)),
                }
            }
            _ => {
                batch.stored = false;
                batch.due = now + pause;
                Vec::new()
            }
        }
    }

    /// Its messages are refused; it was never stored, so its number is free again.
    fn give_back(&mut self, id: BatchId, why: &Rejection) -> Vec<Effect<T>> {
        let batch = self.take_back(id);
        self.reject_all(batch.iter().flat_map(Batch::turns), why)
    }

    /// Its messages are queued again, in front, to be submitted in smaller batches, so that one
    /// that is too large refuses no other. If it may be stored that is in a new generation, and
    /// what is behind it comes along: the room takes the batch first, and knows by their turns
    /// which messages it has; or it takes what follows, and the batch is a duplicate when it
    /// arrives.
    fn halve(&mut self, id: BatchId) -> Vec<Effect<T>> {
        let batches = match self.batches.get(&id) {
            Some(batch) if batch.may_be_stored => self.take_from(id),
            _ => self.take_back(id).into_iter().collect(),
        };
        if let Some(first) = batches.first() {
            self.most = first.messages.len() / 2;
        }
        self.queue_again(&batches);
        Vec::new()
    }

    /// What is not answered yet is queued again, in front.
    fn queue_again(&mut self, batches: &[Batch]) {
        let mut turns = Vec::new();
        for batch in batches {
            for turn in batch.turns() {
                if let Some(entry) = self.entries.get_mut(&turn) {
                    entry.batch = None;
                    entry.may_be_stored |= batch.may_be_stored;
                    turns.push(turn);
                }
            }
        }
        let behind = self.take_queue();
        for turn in turns.iter().chain(&behind) {
            self.enqueue(*turn);
        }
    }

    /// Takes a batch that may be stored out of the lane, with those behind it that cannot be taken
    /// without it.
    pub(super) fn take_from(&mut self, id: BatchId) -> Vec<Batch> {
        let behind = self.batches.extract_if(id.., |other, batch| {
            *other == id || (other.generation == id.generation && !batch.single)
        });
        let behind: Vec<Batch> = behind.map(|(_, batch)| batch).collect();
        if id.generation == self.generation {
            self.renew();
        }
        behind
    }

    fn take_back(&mut self, id: BatchId) -> Option<Batch> {
        let batch = self.batches.remove(&id);
        // Nothing is formed behind a batch that is not stored.
        if (id.generation, id.sequence) == (self.generation, self.last) {
            self.last -= 1;
        }
        batch
    }

    /// Its messages are refused although it may be stored: its number is neither free nor taken.
    /// What is behind it goes on without it.
    fn abandon(&mut self, id: BatchId, why: &Rejection) -> Vec<Effect<T>> {
        let batches = self.take_from(id);
        let (batch, behind) = batches.split_at(1.min(batches.len()));
        self.queue_again(behind);
        self.reject_all(batch.iter().flat_map(Batch::turns), why)
    }

    /// Refuses all that has no answer. What was stored may still be journaled; then it is found by
    /// its id when it is sent again.
    pub(in super::super) fn give_up(&mut self, why: &Rejection) -> Vec<Effect<T>> {
        let batches = std::mem::take(&mut self.batches);
        let queue = self.take_queue();
        if batches.is_empty() && queue.is_empty() {
            return Vec::new();
        }
        self.renew();
        let submitted = batches.values().flat_map(Batch::turns);
        self.reject_all(submitted.chain(queue), why)
    }
}
