//! What a journal lacks below its end, and what comes has: holes that are filled again, where
//! nothing else has the places.

use super::{Error, Whole};
use crate::{
    journal::{Claim, Draft, Hole},
    room::{Event, RoomId, Seq, State},
};
use std::{collections::VecDeque, sync::Arc};

/// The events that come, beside those that are there.
pub(super) struct Refill {
    journal: Arc<dyn Whole>,
    room: RoomId,
    /// Where the journal ends.
    was: Seq,
    /// What is below it is to be gone.
    let_go: Seq,
    /// What was read of the journal and comes later.
    there: VecDeque<Event>,
    /// From where on it is read; `None`: there is no more.
    from: Option<Seq>,
    /// Up to there it was looked at; `None`: nothing has come.
    seen: Option<Seq>,
    /// What is written next.
    draft: Draft,
    /// The place behind it that the journal has.
    next: Option<Seq>,
    /// How many events were put back.
    pub(super) filled: u64,
    /// What neither has.
    pub(super) holes: Vec<Hole>,
    /// What came, and finds no place.
    pub(super) taken: Vec<Hole>,
}

/// Events that are written at once.
pub(super) struct Piece {
    events: Vec<Event>,
    /// The next place that the journal has.
    next: Option<Seq>,
}

impl Refill {
    /// Into a room of the journal that ends at `was`.
    pub(super) fn new(journal: Arc<dyn Whole>, room: &RoomId, was: Seq, let_go: Seq) -> Self {
        Self {
            journal,
            room: room.clone(),
            was,
            let_go,
            there: VecDeque::new(),
            from: None,
            seen: None,
            draft: Draft::default(),
            next: None,
            filled: 0,
            holes: Vec::new(),
            taken: Vec::new(),
        }
    }

    /// Takes the next event that comes, at most the last one of the journal. What is to be written
    /// before anything else comes.
    pub(super) async fn take(&mut self, event: Event) -> Result<Option<Piece>, Error> {
        if self.seen.is_none() {
            let before = self.journal.last_below(&self.room, event.seq).await?;
            self.seen = Some(before.unwrap_or_default());
            self.from = Some(event.seq);
        }
        while let Some(there) = self.next_there().await? {
            let seq = there.seq;
            if seq > event.seq {
                break;
            }
            self.see(seq);
            let there = self.there.pop_front().expect("it was looked at");
            if seq == event.seq {
                return self.compare(&there, &event).map(|()| None);
            }
        }
        self.see(event.seq);
        if event.seq < self.let_go {
            return Ok(None);
        }
        let next = self.there.front().map(|event| event.seq);
        let boundary = |first| self.journal.boundary(first);
        let is_between = self.draft.is_empty() || self.next == next;
        let fits = is_between && self.draft.has_room_for(&event, boundary, usize::MAX);
        let full = if fits { None } else { self.end() };
        self.next = next;
        self.draft.push(event);
        Ok(full)
    }

    /// What is left to be written.
    pub(super) fn end(&mut self) -> Option<Piece> {
        let piece = Piece {
            events: self.draft.take(),
            next: self.next,
        };
        (!piece.events.is_empty()).then_some(piece)
    }

    /// Writes what [`Self::take`] or [`Self::end`] gave. Whether `saved`, the newest snapshot, was
    /// saved without it, and knows of it now.
    pub(super) async fn write(
        &mut self,
        claim: Claim,
        piece: &Piece,
        saved: &mut State,
    ) -> Result<bool, Error> {
        let (journal, room, events) = (&self.journal, &self.room, &piece.events);
        let fill = || journal.fill(room, claim, events, piece.next);
        let (first, last) = (events[0].seq, events[events.len() - 1].seq);
        if !super::intake::retry(fill).await? {
            self.taken.push(Hole { first, last });
            return Ok(false);
        }
        self.filled += events.len() as u64;
        Ok(saved.refilled(events))
    }

    /// The next event of the journal.
    async fn next_there(&mut self) -> Result<Option<&Event>, Error> {
        if let (true, Some(from)) = (self.there.is_empty(), self.from) {
            self.there = self.journal.read(&self.room, from, self.was).await?.into();
            self.from = self.there.back().map(|last| last.seq.next());
            self.from = self.from.filter(|from| *from <= self.was);
        }
        Ok(self.there.front())
    }

    /// The next place that one of both has.
    fn see(&mut self, place: Seq) {
        let seen = self
            .seen
            .unwrap_or_default()
            .max(Seq(self.let_go.0.saturating_sub(1)));
        self.holes.extend(Hole::between(seen, place));
        self.seen = Some(place.max(seen));
    }

    /// What was erased in one of both may still be in the other.
    fn compare(&self, there: &Event, event: &Event) -> Result<(), Error> {
        if there.is_also(event) {
            return Ok(());
        }
        Err(Error::Refused(format!(
            "room {}: its event {} in the journal is another one than the one that comes: the room \
             is left as it is",
            self.room, event.seq
        )))
    }
}
