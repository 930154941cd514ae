//! The messages of a run: when each was due, when it was sent, where it came to be.

use super::Id;
use bytes::Bytes;
use safe_chat_client::Body;
use std::{collections::HashMap, time::Instant};

/// When a message was to be sent, and when it was.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timing {
    pub(super) due: Instant,
    pub(super) sent: Instant,
}

/// How a message of ours is called.
pub(super) fn id(number: usize) -> String {
    format!("s-{number}")
}

/// The number of a message of ours.
pub(super) fn number(id: &str) -> Option<usize> {
    id.strip_prefix("s-")?.parse().ok()
}

struct Message {
    timing: Timing,
    session: Id,
    room: Box<str>,
    seq: Option<u64>,
    is_answered: bool,
}

/// All messages, by their numbers.
pub(super) struct Messages {
    all: Vec<Message>,
    bytes: usize,
    /// What the sealed ones say.
    sealed: HashMap<usize, Bytes>,
    /// Messages without an answer.
    pub(super) open: usize,
}

impl Messages {
    /// `bytes`: of text in each.
    pub(super) fn new(bytes: usize) -> Self {
        Self {
            all: Vec::new(),
            bytes,
            sealed: HashMap::new(),
            open: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn send(&mut self, session: Id, room: &str, due: Instant, sent: Instant) -> usize {
        self.all.push(Message {
            timing: Timing { due, sent },
            session,
            room: room.into(),
            seq: None,
            is_answered: false,
        });
        self.open += 1;
        self.all.len() - 1
    }

    /// Waits no more for answers to sessions that are gone: nobody is there to hear them. How many.
    pub(super) fn give_up(&mut self, is_gone: impl Fn(Id) -> bool) -> u64 {
        let mut given_up = 0;
        for message in &mut self.all {
            if !message.is_answered && is_gone(message.session) {
                message.is_answered = true;
                given_up += 1;
            }
        }
        self.open -= given_up;
        given_up as u64
    }

    /// What a message says: its number, and as much more as it is to be long.
    pub(super) fn text(&self, number: usize) -> String {
        let mut text = format!("{number} ");
        let missing = self.bytes.saturating_sub(text.len());
        text.extend(std::iter::repeat_n('x', missing));
        text
    }

    /// A message is sent as these bytes.
    pub(super) fn seal(&mut self, number: usize, content: Bytes) {
        self.sealed.insert(number, content);
    }

    /// Whether that is what was sent.
    fn is(&self, number: usize, said: &Body) -> bool {
        match (self.sealed.get(&number), said) {
            (Some(sent), Body::Sealed(said)) => sent == said,
            (None, Body::Text(said)) => *said == self.text(number),
            _ => false,
        }
    }

    pub(super) fn timing(&self, number: usize) -> Timing {
        self.all[number].timing
    }

    /// A message is in its room; `None`: it is of somebody else.
    pub(super) fn placed(
        &mut self,
        id: &str,
        room: &str,
        seq: u64,
        said: &Body,
    ) -> Result<Option<usize>, String> {
        let Some(number) = id.strip_prefix("s-") else {
            return Ok(None);
        };
        let number: usize = number
            .parse()
            .map_err(|_| format!("seq {seq}: {id} is nobody's"))?;
        if number >= self.all.len() || *self.all[number].room != *room {
            return Err(format!("seq {seq}: nobody sent {id} to {room}"));
        }
        if !self.is(number, said) {
            return Err(format!("seq {seq}: {id} is not what was sent"));
        }
        match self.all[number].seq.replace(seq) {
            Some(first) if first != seq => Err(format!("{id} is at two places, {first} and {seq}")),
            _ => Ok(Some(number)),
        }
    }

    /// A message is answered, with its place where the server tells it; when it was due and sent.
    /// `Err`: the answer is wrong.
    pub(super) fn answered(
        &mut self,
        id: &str,
        seq: Option<u64>,
    ) -> Result<Option<Timing>, String> {
        let Some(number) = self.number(id) else {
            return Err(format!("{id} was answered, and nobody sent it"));
        };
        let message = &mut self.all[number];
        if let Some(seq) = seq
            && message.seq.replace(seq).is_some_and(|place| place != seq)
        {
            return Err(format!("{id} was answered with {seq}, and is not there"));
        }
        Ok(self.answer(number))
    }

    /// A message is refused.
    pub(super) fn rejected(&mut self, id: &str) {
        if let Some(number) = self.number(id) {
            self.answer(number);
        }
    }

    fn number(&self, id: &str) -> Option<usize> {
        let number = number(id)?;
        (number < self.all.len()).then_some(number)
    }

    fn answer(&mut self, number: usize) -> Option<Timing> {
        let message = &mut self.all[number];
        if std::mem::replace(&mut message.is_answered, true) {
            return None;
        }
        self.open -= 1;
        Some(message.timing)
    }
}
