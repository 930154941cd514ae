//! A batch on its way: what is in it, and what is known of it.

use crate::room::{BatchMessage, ProducerSeq, Turn};
use std::sync::Arc;
use tokio::time::Instant;

/// Names a batch within its lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct BatchId {
    pub(super) generation: u64,
    pub(super) sequence: u64,
}

/// What is submitted; the same each time.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Outgoing<T> {
    Batch(ProducerSeq, Arc<[BatchMessage]>),
    /// A message that goes alone, with what the caller knows of it.
    Single(T, BatchMessage),
}

/// A batch that is not stored, or has messages without an answer.
pub(super) struct Batch {
    pub(super) messages: Arc<[BatchMessage]>,
    /// It is one message, which is stored in the form of before.
    pub(super) single: bool,
    /// How many of its messages wait for an answer.
    pub(super) open: usize,
    /// The last attempt to store it succeeded.
    pub(super) stored: bool,
    /// An attempt succeeded, or ended without a definite outcome; or a message of it was in a
    /// batch of before of which that is so.
    pub(super) may_be_stored: bool,
    /// How often it was stored.
    pub(super) times: u32,
    /// When it is to be submitted (again).
    pub(super) due: Instant,
    /// Since when no attempt to store it has succeeded.
    pub(super) failing: Option<Instant>,
    /// How often it was said to follow one that is not held any more.
    pub(super) doubts: u32,
}

impl Batch {
    pub(super) fn new(messages: Arc<[BatchMessage]>, single: bool, now: Instant) -> Self {
        Self {
            open: messages.len(),
            messages,
            single,
            stored: false,
            may_be_stored: false,
            times: 0,
            due: now,
            failing: None,
            doubts: 0,
        }
    }

    /// Which messages it has.
    pub(super) fn turns(&self) -> impl DoubleEndedIterator<Item = Turn> + '_ {
        self.messages.iter().map(|message| message.turn)
    }
}
