//! Events that are gathered for one commit. Pure.

use super::{Limits, codec::size_of_event};
use crate::room::{Event, Seq};
use std::mem::take;

/// Events of dense places that are to go into one commit.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    events: Vec<Event>,
    bytes: usize,
}

impl Draft {
    /// Whether an event still belongs to these: else they are a commit, and it begins another one.
    /// `boundary`: the last place that a commit may hold which starts at a place; `most`: bytes of
    /// events that a commit may have where it goes. What is before a purge or an erasure is removed
    /// in whole commits, so both begin one.
    pub(crate) fn has_room_for(
        &self,
        event: &Event,
        boundary: impl FnOnce(Seq) -> Seq,
        most: usize,
    ) -> bool {
        let (Some(first), Some(last)) = (self.events.first(), self.events.last()) else {
            return true;
        };
        event.seq == last.seq.next()
            && !event.kind.begins_a_commit()
            && self.events.len() < Limits::EVENTS
            && self.bytes + size(event) <= Limits::BYTES.min(most)
            && event.seq <= boundary(first.seq)
    }

    /// Adds the next event, for which there is room.
    pub(crate) fn push(&mut self, event: Event) {
        self.bytes += size(&event);
        self.events.push(event);
    }

    /// What was gathered; nothing is left.
    pub(crate) fn take(&mut self) -> Vec<Event> {
        self.bytes = 0;
        take(&mut self.events)
    }

    /// What is gathered.
    pub(crate) fn events(&self) -> &[Event] {
        &self.events
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// About how many bytes the events take.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

fn size(event: &Event) -> usize {
    size_of_event(&event.kind, &event.changes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::room::{Body, Kind, Millis, UserId};

    fn event(seq: u64, bytes: usize) -> Event {
        let from = UserId::parse("harry").unwrap();
        let body = Body::Text("x".repeat(bytes).into());
        Event {
            seq: Seq(seq),
            at: Millis(0),
            kind: Kind::Message {
                from,
                to: None,
                body,
                id: None,
                device: None,
                turn: None,
                request: None,
            },
            changes: Vec::new(),
        }
    }

    #[test]
    fn a_draft_is_dense_and_bounded_by_events_bytes_and_the_boundary() {
        let (far, all) = (|_| Seq(u64::MAX), usize::MAX);
        let mut draft = Draft::default();
        assert!(
            draft.has_room_for(&event(1, Limits::BYTES * 2), |_| Seq(0), all),
            "a first event always fits"
        );
        for seq in 1..=Limits::EVENTS as u64 {
            assert!(draft.has_room_for(&event(seq, 1), far, all));
            draft.push(event(seq, 1));
        }
        assert!(!draft.has_room_for(&event(257, 1), far, all));
        assert_eq!(draft.take().len(), Limits::EVENTS);
        assert!(draft.is_empty() && draft.bytes() == 0);

        draft.push(event(1, Limits::BYTES / 2));
        assert!(!draft.has_room_for(&event(2, Limits::BYTES / 2), far, all));
        assert!(draft.has_room_for(&event(2, 1), |first| first.next(), all));
        assert!(!draft.has_room_for(&event(2, 1), |first| first, all));
        assert!(!draft.has_room_for(&event(2, 1), far, Limits::BYTES / 2));
        assert!(!draft.has_room_for(&event(3, 1), far, all), "not dense");
    }
}
