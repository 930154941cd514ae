//! What the journal has lost of the end of a room, and the bus has still: its owner writes it back,
//! under its claim, before the room goes on. A journal that is behind the bus was put back to
//! before, or has lost its newest events: nothing is published before it is journaled.

use super::{Parts, definite::definite, trim::of_bus};
use crate::{
    bus::{Commit, Position, Stored},
    journal::{self, Claim, Draft, Hole},
    metric,
    room::{Erasing, Event, RoomId, Seq, State},
};
use std::time::Duration;

/// Between two attempts while the journal or the bus is away.
const PAUSE: Duration = Duration::from_millis(250);

/// Messages of the bus that are read at a time; it bounds them by bytes as well.
const MESSAGES: usize = 500;

/// Events between two snapshots: what an opening after an interruption has to read.
const SAVE_EVERY: u64 = 5_000;

/// What became of the places that the journal lacked.
pub(super) struct WrittenBack {
    /// The state at the last of them.
    pub(super) state: State,
    /// Those that the bus lacks as well, and that are not to be gone anyway.
    pub(super) holes: Vec<Hole>,
    /// How many events were written.
    pub(super) events: u64,
    /// The first place that was; zero: none.
    pub(super) from: Seq,
}

impl Parts {
    /// Writes back what the bus has of `lost`: places that were published and that the journal has
    /// no more, at the end of a room that is open under the claim. `state`: at the place before
    /// them. What is to be gone by later events (a purge, an erasure, what was let go) is not
    /// written, but counts with all that it did. [`journal::Error::Fenced`], also if something of
    /// it was published under this very claim: what was once sent under an epoch never changes.
    pub(super) async fn write_back(
        &self,
        claim: Claim,
        room: &RoomId,
        lost: Hole,
        state: State,
    ) -> Result<WrittenBack, journal::Error> {
        let mut after = state.clone();
        self.evolve_published(claim, room, lost, &mut after).await?;
        let before = state.head;
        let mut writing = Writing {
            parts: self,
            claim,
            room,
            head: lost.last,
            state,
            saved: before,
            taken: before,
            first: after.kept.first(),
            erasing: after.erasures.erasing(),
            draft: Draft::default(),
            events: 0,
            from: Seq::ZERO,
            holes: Vec::new(),
        };
        if after.head > before {
            writing.begin(before).await?;
            let mut published = self.published(claim, room, lost).await?;
            loop {
                let page = published.next().await?;
                if page.is_empty() {
                    break;
                }
                for event in page.into_iter().flat_map(|message| message.events) {
                    writing.take(event, lost).await?;
                }
            }
            writing.flush().await?;
            writing.state.skip_to(lost.last);
            writing.reach(lost.last).await?;
            if writing.taken > before {
                writing.save().await?;
            }
        } else {
            writing.holes.push(lost);
            writing.state.skip_to(lost.last);
        }
        metric::WRITTEN_BACK.increment(writing.events);
        Ok(WrittenBack {
            state: writing.state,
            holes: writing.holes,
            events: writing.events,
            from: writing.from,
        })
    }

    /// What the events of these places that the bus has do to the state at the place before them.
    /// [`journal::Error::Fenced`]: some of them are no older than the claim.
    pub(super) async fn evolve_published(
        &self,
        claim: Claim,
        room: &RoomId,
        lost: Hole,
        state: &mut State,
    ) -> Result<(), journal::Error> {
        let mut published = self.published(claim, room, lost).await?;
        loop {
            let page = published.next().await?;
            if page.is_empty() {
                return Ok(());
            }
            for message in page {
                let ends = message
                    .events
                    .first()
                    .is_some_and(|first| first.seq > lost.last);
                if ends {
                    return Ok(());
                }
                if message.epoch >= claim.epoch() {
                    let seen = message.epoch;
                    return Err(journal::Error::Fenced { seen });
                }
                for event in message.events {
                    if is_next(state, &event, lost) {
                        state.skip_to(Seq(event.seq.0 - 1));
                        state.evolve(&event);
                    }
                }
            }
        }
    }

    /// Whether an event still goes into a commit with these.
    pub(super) fn has_room_for(&self, draft: &Draft, event: &Event) -> bool {
        draft.has_room_for(event, |first| self.journal.boundary(first), self.fits())
    }

    /// What the bus has from the first of these places on.
    pub(super) async fn published<'a>(
        &'a self,
        claim: Claim,
        room: &'a RoomId,
        lost: Hole,
    ) -> Result<Published<'a>, journal::Error> {
        let find = || async { self.bus.find(room, lost.first).await.map_err(of_bus) };
        let next = definite(claim.shard(), "find", PAUSE, find).await?;
        Ok(Published {
            parts: self,
            claim,
            room,
            next,
        })
    }
}

/// Whether an event is the next one of these places.
pub(super) fn is_next(state: &State, event: &Event, lost: Hole) -> bool {
    event.seq > state.head && event.seq <= lost.last
}

/// Messages of a room, page by page.
pub(super) struct Published<'a> {
    parts: &'a Parts,
    claim: Claim,
    room: &'a RoomId,
    /// `None`: there are no more.
    next: Option<Position>,
}

impl Published<'_> {
    /// The next messages; none: there are no more.
    pub(super) async fn next(&mut self) -> Result<Vec<Stored>, journal::Error> {
        let Some(from) = self.next else {
            return Ok(Vec::new());
        };
        let Self { parts, room, .. } = self;
        let stored = || async {
            let page = parts.bus.stored(room, from, MESSAGES).await;
            page.map_err(journal::Error::of_stored)
        };
        let page = definite(self.claim.shard(), "read", PAUSE, stored).await?;
        self.next = page.last().map(|last| last.position.next());
        Ok(page)
    }
}

/// A room that is written back.
struct Writing<'a> {
    parts: &'a Parts,
    claim: Claim,
    room: &'a RoomId,
    /// Where the journal's room ends.
    head: Seq,
    /// At the last event that was looked at.
    state: State,
    /// Up to where it is saved.
    saved: Seq,
    /// Up to there something is stored that cannot be read: it stays.
    taken: Seq,
    /// What is below it is to be gone.
    first: Seq,
    /// What is not told any more.
    erasing: Erasing,
    /// What is written next.
    draft: Draft,
    events: u64,
    from: Seq,
    holes: Vec<Hole>,
}

impl Writing<'_> {
    /// Opens the room as it is stored, where its events end at a place.
    async fn begin(&mut self, place: Seq) -> Result<(), journal::Error> {
        self.head = self.open(place).await?;
        self.taken = self.head;
        self.holes.extend(Hole::between(place, self.head.next()));
        Ok(())
    }

    async fn take(&mut self, event: Event, lost: Hole) -> Result<(), journal::Error> {
        if !is_next(&self.state, &event, lost) {
            return Ok(());
        }
        if !self.parts.has_room_for(&self.draft, &event) {
            self.flush().await?;
        }
        self.state.skip_to(Seq(event.seq.0 - 1));
        if event.seq < self.first || event.seq <= self.taken {
            self.state.evolve(&event);
            return Ok(());
        }
        if self.draft.is_empty() {
            self.reach(self.state.head).await?;
        }
        self.state.evolve(&event);
        let event = match self.erasing.hides(&event) {
            true => event.erased(),
            false => event,
        };
        self.draft.push(event);
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), journal::Error> {
        let events = self.draft.take();
        let (count, epoch) = (events.len() as u64, self.claim.epoch());
        if count == 0 {
            return Ok(());
        }
        let commit = Commit { epoch, events };
        let append = || self.parts.journal.append(self.room, self.claim, &commit);
        match definite(self.claim.shard(), "append", PAUSE, append).await {
            // The servers took it once. Without it the room goes on behind a hole.
            Err(journal::Error::TooLarge(why)) => {
                let (room, seq) = (self.room, commit.first());
                tracing::warn!(%room, %seq, why, "events of the bus cannot be written back");
                return Ok(());
            }
            appended => appended?,
        }
        self.head = commit.last();
        if self.events == 0 {
            self.from = commit.first();
        }
        self.events += count;
        match self.head.0 - self.saved.0 >= SAVE_EVERY {
            true => self.save().await,
            false => Ok(()),
        }
    }

    /// Up to a place, where the state is, nothing more is written: the room goes on behind it.
    /// Saved at once, since what is not written may count.
    async fn reach(&mut self, place: Seq) -> Result<(), journal::Error> {
        let Some(hole) = Hole::between(self.head, place.next()) else {
            return Ok(());
        };
        self.holes.extend(hole.behind(Seq(self.first.0 - 1)));
        self.go_on_at(place).await?;
        self.save().await
    }

    async fn save(&mut self) -> Result<(), journal::Error> {
        let (journal, state) = (&self.parts.journal, &self.state);
        let save = || journal.save_snapshot(self.room, self.claim, state);
        definite(self.claim.shard(), "save", PAUSE, save).await?;
        self.saved = self.head;
        Ok(())
    }

    /// Opens the room so that its next event gets the place behind this one.
    async fn go_on_at(&mut self, place: Seq) -> Result<(), journal::Error> {
        self.head = self.open(place).await?;
        match self.head == place {
            true => Ok(()),
            false => Err(journal::Error::Damaged(format!(
                "room {room} goes to {} where it should go to {place}: look at it with \
                 `safe-chat journal inspect {room}`",
                self.head,
                room = self.room
            ))),
        }
    }

    /// Opens the room again, at this place at least; its head.
    async fn open(&self, place: Seq) -> Result<Seq, journal::Error> {
        let (journal, room, claim) = (&self.parts.journal, self.room, self.claim);
        journal.close(room);
        let open = || journal.open_reaching(room, claim, place);
        Ok(definite(claim.shard(), "open", PAUSE, open).await?.head())
    }
}
