//! The newest events of a room, encoded once: they serve joins and resumes without a read of the
//! journal.

use crate::{
    room::{Erasing, Seq},
    wire::SharedEvent,
};
use std::collections::VecDeque;

/// The most events: enough for the largest history (500) and for a reconnect after a short loss of
/// the network.
const EVENTS: usize = 1024;
/// The most bytes of content, whatever the number of events: a node has many rooms.
const BYTES: usize = 1024 * 1024;
/// The most bytes of content that are kept when memory is tight.
const TIGHT: usize = BYTES / 16;
/// What an event takes beside its content, about.
const OVERHEAD: usize = 256;

/// The newest events of a room, dense.
#[derive(Debug, Default)]
pub(in super::super) struct Recent {
    events: VecDeque<SharedEvent>,
    bytes: usize,
}

impl Recent {
    /// The place of the oldest event; `None` when it is empty.
    pub(in super::super) fn first(&self) -> Option<Seq> {
        self.events.front().map(|event| event.event().seq)
    }

    /// The newest event.
    pub(in super::super) fn last(&self) -> Option<&SharedEvent> {
        self.events.back()
    }

    /// Adds the next event, and forgets the oldest ones beyond the bounds.
    pub(in super::super) fn push(&mut self, event: SharedEvent) {
        if let Some(last) = self.events.back() {
            assert_eq!(
                event.event().seq,
                last.event().seq.next(),
                "what is kept is dense"
            );
        }
        self.bytes += size(&event);
        self.events.push_back(event);
        self.keep(BYTES);
    }

    /// Forgets what is not needed when memory is tight: it is in the journal too.
    pub(in super::super) fn shrink(&mut self) {
        self.keep(TIGHT);
        self.events.shrink_to_fit();
    }

    /// Forgets those below a place.
    pub(in super::super) fn drop_below(&mut self, place: Seq) {
        while self.first().is_some_and(|first| first < place) {
            self.bytes -= self.events.pop_front().map_or(0, |event| size(&event));
        }
    }

    /// Takes out the content that is erased.
    pub(in super::super) fn erase(&mut self, erasing: &Erasing) {
        for event in &mut self.events {
            if erasing.hides(event.event()) {
                self.bytes -= size(event);
                *event = event.erased();
                self.bytes += size(event);
            }
        }
    }

    fn keep(&mut self, most: usize) {
        while self.events.len() > EVENTS || (self.bytes > most && self.events.len() > 1) {
            self.bytes -= self.events.pop_front().map_or(0, |event| size(&event));
        }
    }

    /// Adds older events, `page` (dense, ascending), as far as they join on to the oldest one (or,
    /// when there is none, to `head`) and fit.
    pub(in super::super) fn extend_back(&mut self, page: &[SharedEvent], head: Seq) {
        for event in page.iter().rev() {
            let seq = event.event().seq;
            let joins = seq.next() == self.first().unwrap_or(head.next());
            let fits = self.events.len() < EVENTS && self.bytes + size(event) <= BYTES;
            if joins && fits {
                self.bytes += size(event);
                self.events.push_front(event.clone());
            } else if self.first().is_none_or(|first| seq < first) {
                return;
            }
        }
    }

    /// The events up to `last`, at most so many; none when it is not here.
    pub(in super::super) fn up_to(
        &self,
        last: Seq,
        most: usize,
    ) -> impl Iterator<Item = &SharedEvent> {
        let first = self.first().unwrap_or(last.next());
        let end = (last.next().0.saturating_sub(first.0) as usize).min(self.events.len());
        let is_here = self.last().is_some_and(|newest| last <= newest.event().seq);
        let end = if is_here { end } else { 0 };
        self.events.range(end.saturating_sub(most)..end)
    }

    /// The events from `from` on; `None` when it is older than these.
    pub(in super::super) fn from(&self, from: Seq) -> Option<impl Iterator<Item = &SharedEvent>> {
        let skip = from.0.checked_sub(self.first()?.0)?;
        Some(self.events.range((skip as usize).min(self.events.len())..))
    }
}

fn size(event: &SharedEvent) -> usize {
    OVERHEAD + event.event().size()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::room::{Body, Event, Kind, Millis, RoomId, UserId};
    use proptest::prelude::*;

    fn event(seq: u64, size: usize) -> SharedEvent {
        let user = UserId::parse("harry").unwrap();
        let body = Body::Sealed(vec![0; size].into());
        let kind = Kind::Message {
            from: user,
            to: None,
            body,
            id: None,
            device: None,
            turn: None,
            request: None,
        };
        SharedEvent::new(
            RoomId::parse("aaa").unwrap(),
            Event {
                seq: Seq(seq),
                at: Millis(0),
                kind,
                changes: Vec::new(),
            },
        )
    }

    proptest! {
        #[test]
        fn it_holds_a_dense_newest_part_within_its_bounds(head in 0..50u64, sizes in prop::collection::vec(1..65536usize, 1..60), old in 0..60u64) {
            let mut recent = Recent::default();
            let page: Vec<_> = (head.saturating_sub(old) + 1..=head).map(|seq| event(seq, 100)).collect();
            recent.extend_back(&page, Seq(head));
            let mut last = head;
            for size in sizes {
                last += 1;
                recent.push(event(last, size));
            }
            recent.extend_back(&page, Seq(last));
            let first = recent.first().unwrap();
            let held: Vec<_> = recent.from(first).unwrap().map(|event| event.event().seq.0).collect();
            prop_assert_eq!(held, (first.0..=last).collect::<Vec<_>>());
            prop_assert!(recent.bytes <= BYTES + 65536 + OVERHEAD && recent.events.len() <= EVENTS);
            prop_assert_eq!(recent.bytes, recent.events.iter().map(size).sum::<usize>());
            prop_assert!(first == Seq(1) || recent.from(Seq(first.0 - 1)).is_none());
            prop_assert_eq!(recent.from(Seq(last + 1)).unwrap().count(), 0);
            for (end, most) in [(last, 3), (last, 5000), (first.0, 3), ((first.0 + last) / 2, 3)] {
                let up_to: Vec<_> = recent.up_to(Seq(end), most).map(|event| event.event().seq.0).collect();
                let from = first.0.max((end + 1).saturating_sub(most as u64));
                prop_assert_eq!(up_to, (from..=end).collect::<Vec<_>>());
            }
            prop_assert_eq!(recent.up_to(Seq(last + 1), 3).count(), 0);
            prop_assert_eq!(recent.up_to(Seq(first.0 - 1), 3).count(), 0);
        }
    }

    #[test]
    fn older_events_join_on_without_a_hole() {
        let mut recent = Recent::default();
        recent.extend_back(&[event(1, 1), event(2, 1)], Seq(5));
        assert_eq!(recent.first(), None, "3 to 5 are missing");
        recent.extend_back(&[event(4, 1), event(5, 1)], Seq(5));
        recent.extend_back(&[event(3, 1), event(4, 1)], Seq(5));
        assert_eq!(recent.first(), Some(Seq(3)));
    }
}
