//! What a lane knows and decides, without a clock and without I/O: time is an argument, what
//! follows is a list of effects.
//!
//! A message is queued, then in a batch, then answered and gone. A batch is on its way, or to be
//! submitted again, or stored and waits for its answers:
//!
//! | event | batch never stored for sure | outcome unknown | stored |
//! |---|---|---|---|
//! | stored | stored: its messages are accepted | stored | stored, later again |
//! | full | dissolved: `busy` | again after a pause | again after a pause |
//! | too large | halved; a single message is refused | halved, or abandoned | halved, or abandoned |
//! | no outcome | unknown, again after a pause | again | again |
//! | failing for 15 s | dissolved: `unavailable` | abandoned | abandoned |
//! | answer of a message | - | the message is gone, with the last one the batch | the same |
//! | out of order, expected held | - | again, from the expected one on | the same |
//! | out of order, expected gone | - | asked again, then abandoned | the same |
//! | no answer in time | - | - | again |
//!
//! Halved: when it may be stored, in a new generation.
//! Dissolved: its number is given to the next batch. Abandoned: its messages are refused, and the
//! lane goes on in a new generation, because its number may or may not be taken. A batch is never
//! anything else under the same number; that its messages come twice when it is halved and stored
//! all the same, their turns tell.

mod answer;
mod queue;
mod submit;

use super::batch::{Batch, BatchId, Outgoing};
use crate::{
    gateway::core::busy,
    room::{
        BatchMessage, Body, CommandId, Epoch, Incarnation, Limits, Rejection, Seq, SessionId, Turn,
        UserId,
    },
};
use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};
use tokio::time::Instant;

/// Messages of a session without an answer; beyond them a message is refused as busy.
const PENDING: usize = 1024;
/// Bytes of content of messages without an answer, unless there is only one.
const PENDING_BYTES: usize = 1024 * 1024;

/// A new message of a session.
pub(super) struct New {
    pub(super) session: SessionId,
    pub(super) user: UserId,
    /// `None`: its client gives no ids.
    pub(super) id: Option<CommandId>,
    pub(super) to: Option<UserId>,
    pub(super) body: Body,
}

/// What is to happen outside. `T` is what the caller knows of the message.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Effect<T> {
    /// It is stored for the first time.
    Accepted(T),
    /// It is stored once more. `late`: nothing was known of it until now, for the first time.
    Resubmitted { tag: T, late: bool },
    /// It is in the room.
    Journaled {
        tag: T,
        seq: Seq,
        epoch: Epoch,
        duplicate: bool,
        /// How often its client sent it again meanwhile.
        repeats: u64,
        accepted: bool,
    },
    /// It is refused.
    Rejected {
        tag: T,
        rejection: Rejection,
        repeats: u64,
        accepted: bool,
    },
}

/// What to do next.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Step<T> {
    /// To submit this, and to tell how that ended.
    Submit(BatchId, Outgoing<T>),
    /// To wait for a change, or until then.
    Wait(Option<Instant>),
    /// Nothing waits for anything.
    Idle,
}

/// How the nodes and servers of now take what is submitted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Form {
    /// Whether every live node reads batches.
    pub(super) batches: bool,
    /// The most bytes of a batch.
    pub(super) bytes: usize,
}

/// How submitting failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// There is no space; nothing was stored.
    Full,
    /// The servers do not take so much; nothing was stored.
    TooLarge,
    /// Nothing was stored.
    NotStored,
    /// It may have been stored.
    Unknown,
}

/// A message without an answer.
struct Entry<T> {
    message: BatchMessage,
    tag: T,
    batch: Option<BatchId>,
    /// It was in a batch that may be stored and was halved.
    may_be_stored: bool,
    accepted: bool,
    repeats: u64,
}

/// The messages of a session without an answer.
#[derive(Default)]
struct Waiting {
    /// The number of its last message.
    last: u64,
    pending: usize,
    bytes: usize,
    numbers: HashMap<CommandId, u64>,
    /// Its messages from the first handshake on that is in no batch yet.
    shut: VecDeque<u64>,
    /// Its handshake that is in a batch and has no answer.
    under_way: Option<u64>,
}

/// A lane's state.
pub(super) struct State<T> {
    gateway: Incarnation,
    /// Generations of all lanes of the gateway come from here: a room never sees one twice.
    generations: Arc<AtomicU64>,
    generation: u64,
    /// The number of the last batch of the generation.
    last: u64,
    /// The most messages of the next batch.
    most: usize,
    sessions: HashMap<SessionId, Waiting>,
    entries: HashMap<Turn, Entry<T>>,
    /// Messages that are in no batch yet and wait for no handshake, and some that are gone.
    queue: VecDeque<Turn>,
    /// Sessions with a handshake that is in no batch yet, each once: the first is next.
    changers: VecDeque<SessionId>,
    /// A handshake had no space in the last batch: the next one is its own.
    is_due: bool,
    /// Batches that are not stored, or have messages without an answer.
    batches: BTreeMap<BatchId, Batch>,
    /// Messages that have no event unless it is up to this place.
    decided: Vec<(Seq, Turn)>,
}

impl<T: Clone> State<T> {
    pub(super) fn new(gateway: Incarnation, generations: Arc<AtomicU64>) -> Self {
        let mut state = Self {
            gateway,
            generations,
            generation: 0,
            last: 0,
            most: Limits::BATCH,
            sessions: HashMap::new(),
            entries: HashMap::new(),
            queue: VecDeque::new(),
            changers: VecDeque::new(),
            is_due: false,
            batches: BTreeMap::new(),
            decided: Vec::new(),
        };
        state.renew();
        state
    }

    /// Takes a message, unless too many wait or `check` refuses it. One that waits already is taken
    /// as a repetition.
    pub(super) fn push(
        &mut self,
        new: New,
        check: impl FnOnce() -> Result<(), Rejection>,
        tag: impl FnOnce(&CommandId) -> T,
    ) -> Result<(), Rejection> {
        let New {
            session,
            user,
            id,
            to,
            body,
        } = new;
        let waiting = self.sessions.entry(session).or_default();
        if let Some(number) = id.as_ref().and_then(|id| waiting.numbers.get(id)) {
            let number = *number;
            if let Some(entry) = self.entries.get_mut(&Turn { session, number }) {
                entry.repeats += 1;
            }
            return Ok(());
        }
        let size = body.size();
        let is_full = waiting.pending >= PENDING
            || (waiting.bytes + size > PENDING_BYTES && waiting.pending > 0);
        if is_full {
            return Err(busy());
        }
        check()?;
        waiting.last += 1;
        let number = waiting.last;
        let id = id.unwrap_or(CommandId::Gateway(session, number));
        waiting.pending += 1;
        waiting.bytes += size;
        waiting.numbers.insert(id.clone(), number);
        let turn = Turn { session, number };
        let is_shut = matches!(body, Body::Handshake(_)) || !waiting.shut.is_empty();
        let entry = Entry {
            tag: tag(&id),
            message: BatchMessage {
                turn,
                user,
                id,
                to,
                body,
            },
            batch: None,
            may_be_stored: false,
            accepted: false,
            repeats: 0,
        };
        self.entries.insert(turn, entry);
        match is_shut {
            true => self.enqueue(turn),
            false => self.queue.push_back(turn),
        }
        Ok(())
    }

    /// Whether everything that a session said is stored.
    pub(super) fn is_stored(&self, session: SessionId) -> bool {
        let waits = |turn: &Turn| turn.session == session && self.entries.contains_key(turn);
        let unstored = self.batches.values().filter(|batch| !batch.stored);
        !self.queue.iter().any(waits)
            && !self.shut(session).any(|turn| waits(&turn))
            && !unstored
                .flat_map(|batch| batch.turns())
                .any(|turn| waits(&turn))
    }

    /// A session is over: nobody waits for its answers any more. After the last one the lane begins
    /// anew, so that it does not go on with numbers that the room has forgotten.
    pub(super) fn leave(&mut self, session: SessionId) {
        let Some(waiting) = self.sessions.remove(&session) else {
            return;
        };
        self.changers.retain(|other| *other != session);
        if self.sessions.is_empty() {
            self.entries.clear();
            self.queue.clear();
            self.batches.clear();
            self.decided.clear();
            return self.renew();
        }
        for number in waiting.numbers.into_values() {
            self.remove(Turn { session, number }, false);
        }
    }

    /// Begins a new generation, whose first batch is 1.
    fn renew(&mut self) {
        self.generation = self.generations.fetch_add(1, Relaxed) + 1;
        (self.last, self.most) = (0, Limits::BATCH);
    }

    fn journaled(
        &mut self,
        turn: Turn,
        seq: Seq,
        epoch: Epoch,
        duplicate: bool,
    ) -> Option<Effect<T>> {
        let entry = self.remove(turn, true)?;
        Some(Effect::Journaled {
            tag: entry.tag,
            seq,
            epoch,
            duplicate,
            repeats: entry.repeats,
            accepted: entry.accepted,
        })
    }

    fn rejected(&mut self, turn: Turn, rejection: Rejection) -> Option<Effect<T>> {
        let entry = self.remove(turn, true)?;
        Some(Effect::Rejected {
            tag: entry.tag,
            rejection,
            repeats: entry.repeats,
            accepted: entry.accepted,
        })
    }

    fn reject_all(
        &mut self,
        turns: impl IntoIterator<Item = Turn>,
        why: &Rejection,
    ) -> Vec<Effect<T>> {
        let turns = turns.into_iter();
        turns
            .filter_map(|turn| self.rejected(turn, why.clone()))
            .collect()
    }

    /// A message waits no longer. `answered`: so its batch is stored, whatever is known of that.
    fn remove(&mut self, turn: Turn, answered: bool) -> Option<Entry<T>> {
        let entry = self.entries.remove(&turn)?;
        let mut is_opened = false;
        if let Some(waiting) = self.sessions.get_mut(&turn.session) {
            waiting.pending -= 1;
            waiting.bytes -= entry.message.body.size();
            waiting.numbers.remove(&entry.message.id);
            waiting.under_way.take_if(|number| *number == turn.number);
            is_opened = waiting.shut.front() == Some(&turn.number);
        }
        if is_opened {
            self.reopen(turn.session);
        }
        if let Some(id) = entry.batch
            && let Some(batch) = self.batches.get_mut(&id)
        {
            batch.open -= 1;
            // Others of a batch may not go on without it; nothing waits for a single message.
            batch.stored |= answered || batch.single;
            batch.may_be_stored |= answered;
            self.drop_if_done(id);
        }
        Some(entry)
    }

    fn drop_if_done(&mut self, id: BatchId) {
        if self
            .batches
            .get(&id)
            .is_some_and(|batch| batch.stored && batch.open == 0)
        {
            self.batches.remove(&id);
        }
    }
}
