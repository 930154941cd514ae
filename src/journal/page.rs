//! A page of events: dense, and within [`Limits::PAGE`] and [`Limits::PAGE_BYTES`].

use super::Limits;
use crate::room::{Event, Seq};

/// The events of a page so far.
#[derive(Default)]
pub(super) struct Page {
    events: Vec<Event>,
    bytes: usize,
}

impl Page {
    /// Whether an event at this place could be the next one.
    pub(super) fn takes(&self, place: Seq) -> bool {
        let follows = self.last().is_none_or(|last| last.seq.next() == place);
        follows && self.events.len() < Limits::PAGE
    }

    /// Adds the next event. `false`: the page ends before it.
    pub(super) fn add(&mut self, event: Event) -> bool {
        self.bytes += event.size();
        let is_full = self.bytes > Limits::PAGE_BYTES && !self.is_empty();
        if is_full || !self.takes(event.seq) {
            return false;
        }
        self.events.push(event);
        true
    }

    pub(super) fn last(&self) -> Option<&Event> {
        self.events.last()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    pub(super) fn into_events(self) -> Vec<Event> {
        self.events
    }
}

/// Below which place copies are wanted of what was read of the journal up to `last`.
pub(super) fn begins(journaled: &[Event], last: Seq) -> Seq {
    let first = journaled.first();
    first.map_or(Seq(last.0.saturating_add(1)), |event| event.seq)
}

/// A page of the copies that lie before what was read of the journal, and of that.
pub(super) fn joined(copies: Vec<Event>, journaled: Vec<Event>) -> Vec<Event> {
    if copies.is_empty() {
        return journaled;
    }
    let mut page = Page::default();
    for event in copies.into_iter().chain(journaled) {
        if !page.add(event) {
            break;
        }
    }
    page.into_events()
}
