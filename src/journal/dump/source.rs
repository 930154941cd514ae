//! Rooms of a journal, read while their owners may write them.

use super::{Error, Incoming, Names, Whole, whole};
use crate::{
    bus::{Ask, Bus, Error as BusError},
    journal::{
        Error as JournalError,
        inspect::{End, starts},
    },
    room::{Erasing, Event, Kind, RoomId, Seq, State},
};
use async_trait::async_trait;
use std::sync::Arc;

/// A journal that rooms are read from.
#[derive(Clone)]
pub struct Source {
    journal: Arc<dyn Whole>,
    bus: Option<Arc<dyn Bus>>,
    is_running: bool,
    is_partial: bool,
}

impl Source {
    /// Reads from `journal`. `bus`: that of its cluster, if it can be reached. `is_running`: nodes
    /// of the cluster may write meanwhile.
    pub fn new(journal: Arc<dyn Whole>, bus: Option<Arc<dyn Bus>>, is_running: bool) -> Self {
        Self {
            journal,
            bus,
            is_running,
            is_partial: false,
        }
    }

    /// Reads what the bus has of rooms whose journal is elsewhere. No node of the cluster runs.
    pub fn newest(journal: Arc<dyn Whole>) -> Self {
        Self {
            is_partial: true,
            ..Self::new(journal, None, false)
        }
    }

    /// Its rooms.
    pub fn names(&self) -> Names<'_> {
        Names::of(&*self.journal)
    }

    /// A room up to its head as it is now; `None`: nobody has written it.
    pub async fn room(&self, room: &RoomId) -> Result<Option<JournalRoom>, Error> {
        let end = self.journal.end(room).await?;
        let head = match self.is_running {
            true => self.journaled(room, &end).await?,
            false => end.reached,
        };
        let mut events = Pages::new(self.journal.clone(), room, head);
        // What was purged and is not removed yet is not carried on.
        if let Some(purge) = end.state.kept.purge {
            events.before = Seq(purge.seq.0.saturating_sub(1));
        }
        let (erasing, let_go) = self.goes(room, &end.state, head).await?;
        Ok((head > Seq::ZERO).then_some(JournalRoom {
            events,
            state: end.state,
            erasing,
            let_go,
            is_partial: self.is_partial,
        }))
    }

    /// How far a room went that was removed with its name; `None`: that is not so, or not known.
    pub async fn removed(&self, room: &RoomId) -> Result<Option<Seq>, Error> {
        let state = self.journal.snapshot(room).await?.unwrap_or_default();
        if state.head == Seq::ZERO || !state.is_gone() {
            return Ok(None);
        }
        let (raw, _) = self.journal.raw(room, 0).await?;
        Ok(raw.is_empty().then_some(state.head))
    }

    /// What is erased of a room and still journaled, and the first place that is not to be gone: as
    /// its state says, and events behind that.
    async fn goes(&self, room: &RoomId, state: &State, head: Seq) -> Result<(Erasing, Seq), Error> {
        let (mut erasing, mut from) = (state.erasures.erasing(), state.head.next());
        let mut let_go = state.kept.first();
        while from <= head {
            let page = self.journal.read(room, from, head).await?;
            let Some(last) = page.last().map(|last| last.seq) else {
                break;
            };
            from = last.next();
            for event in page {
                let_go = let_go.max(starts(&event));
                if let Kind::Erased { user, through } = event.kind {
                    erasing.add(user, through);
                }
            }
        }
        Ok((erasing, let_go))
    }

    /// How far a room is journaled for certain, while its owner may be writing it: what is behind
    /// that may still be replaced by another event.
    async fn journaled(&self, room: &RoomId, end: &End) -> Result<Seq, Error> {
        let Some(bus) = self.bus.as_ref().filter(|_| end.confirmed < end.head) else {
            return Ok(end.confirmed);
        };
        let last = bus.last(room).await.map_err(|why| away(room, &why))?;
        if last.is_some_and(|last| last.seq >= end.head) {
            return Ok(end.head);
        }
        let view = bus.ask(&Ask::head(room.clone())).await;
        let view = view.map_err(|why| away(room, &why))?;
        match view.refused {
            Some(why) => Err(Error::Refused(format!(
                "the owner of room {room} cannot say where it ends: {why}"
            ))),
            None => Ok(view.head.clamp(end.confirmed, end.head)),
        }
    }
}

fn away(room: &RoomId, why: &BusError) -> Error {
    Error::Journal(JournalError::Unavailable(format!(
        "where room {room} ends is not known for certain ({why}): try again"
    )))
}

/// The events of a room, page by page.
pub(super) struct Pages {
    journal: Arc<dyn Whole>,
    room: RoomId,
    /// The last place that is read.
    last: Seq,
    /// From where to read on; `None`: there is no more.
    mark: Option<u64>,
    /// The last place that was read.
    before: Seq,
}

impl Pages {
    pub(super) fn new(journal: Arc<dyn Whole>, room: &RoomId, last: Seq) -> Self {
        Self {
            journal,
            room: room.clone(),
            last,
            mark: Some(0),
            before: Seq::ZERO,
        }
    }

    /// The next events; none: there are no more.
    pub(super) async fn next(&mut self) -> Result<Vec<Event>, JournalError> {
        while let Some(mark) = self.mark {
            let (mut page, next) = self.journal.events(&self.room, mark, self.last).await?;
            self.mark = next;
            page.retain(|event| event.seq > self.before && event.seq <= self.last);
            if let Some(last) = page.last() {
                self.before = last.seq;
                return Ok(page);
            }
        }
        Ok(Vec::new())
    }
}

/// A room of a journal.
pub struct JournalRoom {
    events: Pages,
    /// Of the snapshot; then of the last event that was read, if that is behind it.
    state: State,
    /// What is not carried on.
    erasing: Erasing,
    /// What is before it is to be gone.
    let_go: Seq,
    is_partial: bool,
}

#[async_trait]
impl Incoming for JournalRoom {
    fn room(&self) -> &RoomId {
        &self.events.room
    }

    fn head(&self) -> Seq {
        self.events.last
    }

    fn is_partial(&self) -> bool {
        self.is_partial
    }

    fn let_go(&self) -> Seq {
        self.let_go
    }

    async fn page(&mut self) -> Result<Vec<Event>, Error> {
        let mut page = self.events.next().await?;
        for event in &page {
            if event.seq > self.state.head {
                self.state.skip_to(Seq(event.seq.0 - 1));
                self.state.evolve(event);
            }
        }
        self.erasing.apply(&mut page);
        Ok(page)
    }

    async fn state(&mut self) -> Result<State, Error> {
        let mut state = std::mem::take(&mut self.state);
        state.end_at(self.events.last);
        let Pages { journal, room, .. } = &self.events;
        Ok(whole(&**journal, room, state).await?)
    }
}
