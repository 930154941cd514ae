//! What a generation tells of what was before: nothing that was purged, no content that is erased,
//! whatever the journal still has.

use super::{
    super::{CatchUp, SubscriberId},
    Generation,
};
use crate::{
    gateway::history_cache::Page,
    room::{Erasing, Kind, Seq},
    wire::SharedEvent,
};
use std::sync::{Arc, atomic::Ordering::Release};

/// Users whose erased content is not told, although pages of before may still have it: many more
/// than an owner works on, so that no page is older than what is forgotten here.
const ERASING: usize = 256;

impl Generation<'_> {
    /// Nothing before a place is told any more: who did not get it yet goes on there.
    pub(super) fn purged(&mut self, place: Seq) {
        if place > self.log.purged {
            self.log.purged = place;
            self.replica.purged.store(place.0, Release);
            self.log.recent.drop_below(place);
            self.subscribers.skip_late(place);
        }
    }

    /// The content of this is not told any more.
    pub(super) fn erase(&mut self, more: Erasing) {
        if more.is_empty() {
            return;
        }
        let mut erasing = Erasing::clone(&self.replica.erasing());
        for (user, through) in more.iter() {
            erasing.add(user.clone(), through);
        }
        erasing.keep_newest(ERASING);
        self.log.recent.erase(&erasing);
        self.replica.erasing.send_replace(Arc::new(erasing));
    }

    /// Takes the content out of the next events that is erased by one of them, or by an earlier
    /// one: those that were missed are read from the journal.
    pub(super) fn erase_in(&mut self, events: &mut [SharedEvent]) {
        let said = events.iter().filter_map(|event| match &event.event().kind {
            Kind::Erased { user, through } => Some((user.clone(), *through)),
            _ => None,
        });
        self.erase(said.collect());
        let erasing = self.replica.erasing();
        erase(&erasing, events);
    }

    /// Gives a subscriber what it needs of a page, and of the recent events.
    pub(super) fn feed(
        &mut self,
        subscriber: SubscriberId,
        page: Option<&Page>,
    ) -> Option<CatchUp> {
        let erasing = self.replica.erasing();
        let without = page.filter(|page| {
            let mut events = page.events.iter();
            !erasing.is_empty() && events.any(|event| erasing.hides(event.event()))
        });
        let without = without.map(|page| {
            let mut events = page.events.clone();
            erase(&erasing, &mut events);
            Page { events }
        });
        let page = without.as_ref().or(page);
        if let Some(page) = page {
            let told = page.not_before(self.log.purged);
            self.log.recent.extend_back(told, self.log.reach.head());
        }
        self.subscribers
            .feed(subscriber, page, &self.log.recent, self.log.reach.head())
    }
}

fn erase(erasing: &Erasing, events: &mut [SharedEvent]) {
    if erasing.is_empty() {
        return;
    }
    for event in events.iter_mut().filter(|it| erasing.hides(it.event())) {
        *event = event.erased();
    }
}
