//! What the journal has lost below the end of a room, and the bus has still: it went on there after
//! its database was put back to before, or has lost single events. It is put back into its places
//! when the room is opened, and counts as if it had never been gone.

use super::{Parts, definite::definite};
use crate::{
    journal::{self, Claim, Draft, Hole, Opened, differs::differs},
    metric,
    room::{Erasing, Event, RoomId, Seq, State},
};
use std::{iter::Peekable, time::Duration, vec};

/// Between two attempts while the journal or the bus is away.
const PAUSE: Duration = Duration::from_millis(250);

/// What became of a room.
#[derive(Default)]
pub(super) struct Refilled {
    /// The state at the end of what the journal has.
    pub(super) state: State,
    /// What is missing for good.
    pub(super) holes: Vec<Hole>,
    /// How many events were put back.
    pub(super) events: u64,
    /// What they were put into, and how many into each.
    pub(super) into: Vec<(Hole, u64)>,
}

impl Parts {
    /// Puts back what the bus has of the holes of a room that was opened under the claim, and
    /// replays it. `lost`: what is missing at its end, which is not put back here, but says what of
    /// the rest is to be gone.
    pub(super) async fn refill(
        &self,
        claim: Claim,
        room: &RoomId,
        opened: Opened,
        lost: Option<Hole>,
    ) -> Result<Refilled, journal::Error> {
        if opened.holes.is_empty() {
            let state = opened.replay();
            return Ok(Refilled {
                state,
                ..Refilled::default()
            });
        }
        let head = opened.head();
        let Opened {
            state,
            events,
            holes,
        } = opened;
        let mut after = state.clone();
        let mut rest = events.clone().into_iter().peekable();
        for hole in &holes {
            evolve_below(&mut after, &mut rest, hole.first);
            self.evolve_published(claim, room, *hole, &mut after)
                .await?;
        }
        evolve_below(&mut after, &mut rest, Seq(u64::MAX));
        if let Some(lost) = lost {
            self.evolve_published(claim, room, lost, &mut after).await?;
        }
        let mut filling = Filling {
            parts: self,
            claim,
            room,
            first: after.kept.first(),
            erasing: after.erasures.erasing(),
            done: Refilled {
                state,
                ..Refilled::default()
            },
        };
        let mut rest = events.into_iter().peekable();
        for hole in holes {
            evolve_below(&mut filling.done.state, &mut rest, hole.first);
            let next = rest.peek().map(|event| event.seq);
            filling.fill(hole, next).await?;
        }
        let mut done = filling.done;
        evolve_below(&mut done.state, &mut rest, Seq(u64::MAX));
        done.state.end_at(head);
        metric::WRITTEN_BACK.increment(done.events);
        Ok(done)
    }

    /// Whether what the bus has around these places is what the journal has there: else it is of
    /// another history of the room, and nothing of it may be put between.
    pub(super) async fn is_of_this_history(
        &self,
        claim: Claim,
        room: &RoomId,
        hole: Hole,
    ) -> Result<bool, journal::Error> {
        let compare = || differs(&*self.journal, &*self.bus, room, hole);
        let place = definite(claim.shard(), "compare", PAUSE, compare).await?;
        if let Some(seq) = place {
            tracing::warn!(
                %room, %seq,
                "the journal and the bus have different events at a place: they are of two \
                 histories of the room, and nothing of the bus is written into the journal"
            );
        }
        Ok(place.is_none())
    }
}

/// What the events below a place do to the state before them.
fn evolve_below(state: &mut State, events: &mut Peekable<vec::IntoIter<Event>>, place: Seq) {
    while let Some(event) = events.next_if(|event| event.seq < place) {
        state.skip_to(Seq(event.seq.0 - 1));
        state.evolve(&event);
    }
}

/// A room whose holes are filled.
struct Filling<'a> {
    parts: &'a Parts,
    claim: Claim,
    room: &'a RoomId,
    /// What is below it is to be gone.
    first: Seq,
    /// What is not told any more.
    erasing: Erasing,
    done: Refilled,
}

impl Filling<'_> {
    /// Fills one; `next`: the place behind it that the journal has.
    async fn fill(&mut self, hole: Hole, next: Option<Seq>) -> Result<(), journal::Error> {
        let (parts, claim, room) = (self.parts, self.claim, self.room);
        let before = self.done.events;
        if parts.is_of_this_history(claim, room, hole).await? {
            let mut published = parts.published(claim, room, hole).await?;
            let mut draft = Draft::default();
            'pages: loop {
                let page = published.next().await?;
                if page.is_empty() {
                    break;
                }
                for event in page.into_iter().flat_map(|message| message.events) {
                    if event.seq > hole.last {
                        break 'pages;
                    }
                    self.push(event, hole, &mut draft, next).await?;
                }
            }
            self.write(draft.take(), next).await?;
        }
        self.leave_below(hole.last.next());
        if self.done.events > before {
            self.done.into.push((hole, self.done.events - before));
        }
        Ok(())
    }

    async fn push(
        &mut self,
        event: Event,
        hole: Hole,
        draft: &mut Draft,
        next: Option<Seq>,
    ) -> Result<(), journal::Error> {
        let end = draft.events().last().map(|last| last.seq);
        if event.seq < hole.first || event.seq <= end.unwrap_or(self.done.state.head) {
            return Ok(());
        }
        let is_going = event.seq < self.first;
        if is_going || !self.parts.has_room_for(draft, &event) {
            self.write(draft.take(), next).await?;
        }
        match is_going {
            true => self.count(&event),
            false => draft.push(event),
        }
        Ok(())
    }

    /// Writes dense events, and has them count.
    async fn write(&mut self, events: Vec<Event>, next: Option<Seq>) -> Result<(), journal::Error> {
        let Some(first) = events.first().map(|event| event.seq) else {
            return Ok(());
        };
        let (journal, claim, room) = (&self.parts.journal, self.claim, self.room);
        let mut told = events.clone();
        self.erasing.apply(&mut told);
        let fill = || journal.fill(room, claim, &told, next);
        if !definite(claim.shard(), "fill", PAUSE, fill).await? {
            // Something that does not count is stored there, or it was removed: it stays a hole.
            return Ok(());
        }
        self.leave_below(first);
        self.done.events += events.len() as u64;
        events.iter().for_each(|event| self.count(event));
        Ok(())
    }

    fn count(&mut self, event: &Event) {
        self.leave_below(event.seq);
        self.done.state.evolve(event);
    }

    /// What is missing below a place is missing for good, but for what is to be gone anyway.
    fn leave_below(&mut self, place: Seq) {
        let hole = Hole::between(self.done.state.head, place);
        let hole = hole.and_then(|hole| hole.behind(Seq(self.first.0 - 1)));
        self.done.holes.extend(hole);
        self.done.state.skip_to(Seq(place.0 - 1));
    }
}
