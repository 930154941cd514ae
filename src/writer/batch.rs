//! What goes to the journal together, and what follows once it is there. Pure.

use super::floor::Ticket;
use crate::{
    bus::{Answer, Answered, Commit, ReplyTo},
    journal::{Limits, codec::size_of_event},
    room::{Epoch, Event, Notice, Seq, State},
    telemetry::trace::Context,
};
use std::sync::Arc;

/// Events of one commit, and what waits for it. Without events: answers that only wait for a
/// confirmation.
#[derive(Default)]
pub(super) struct Batch {
    /// The events, of dense places.
    pub(super) events: Vec<Event>,
    /// Who is told what.
    pub(super) answers: Vec<(ReplyTo, Answered)>,
    /// Who is told that a message came too early.
    pub(super) early: Vec<ReplyTo>,
    /// Which gateways are told that a session of theirs was replaced.
    pub(super) notices: Vec<Notice>,
    /// Commands that are settled by it.
    pub(super) tickets: Vec<Ticket>,
    /// Where the decisions that are in it are in their traces; those that are traced.
    pub(super) traces: Vec<Context>,
    /// The state after its last event, when a snapshot is due.
    pub(super) snapshot: Option<Box<State>>,
    bytes: usize,
}

impl Batch {
    /// Whether an event still belongs into this batch. `boundary`: the last place that a commit
    /// starting where this one starts may hold; `fits`: the most bytes of events that the bus
    /// carries.
    pub(super) fn has_room_for(&self, event: &Event, boundary: Seq, fits: usize) -> bool {
        self.events.is_empty()
            || (self.events.len() < Limits::EVENTS
                && self.bytes + size(event) <= Limits::BYTES.min(fits)
                && event.seq <= boundary)
    }

    /// Adds the next event.
    pub(super) fn push(&mut self, event: Event) {
        self.bytes += size(&event);
        self.events.push(event);
    }

    /// The commit, and what is left of the batch; `None`: it has no events.
    pub(super) fn take_commit(&mut self, epoch: Epoch) -> Option<Arc<Commit>> {
        (!self.events.is_empty()).then(|| {
            Arc::new(Commit {
                epoch,
                events: std::mem::take(&mut self.events),
            })
        })
    }

    /// About how many bytes its events take.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The answers as the gateways get them.
    pub(super) fn take_answers(&mut self) -> impl Iterator<Item = (ReplyTo, Answer)> + use<> {
        std::mem::take(&mut self.answers)
            .into_iter()
            .map(|(to, answered)| {
                (
                    to,
                    Answer {
                        tag: to.tag,
                        answered,
                    },
                )
            })
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
    fn a_batch_is_bounded_by_events_bytes_and_the_boundary() {
        let (far, all) = (Seq(u64::MAX), usize::MAX);
        let mut batch = Batch::default();
        assert!(
            batch.has_room_for(&event(1, Limits::BYTES * 2), Seq(0), all),
            "a first event always fits"
        );
        for seq in 1..=Limits::EVENTS as u64 {
            assert!(batch.has_room_for(&event(seq, 1), far, all));
            batch.push(event(seq, 1));
        }
        assert!(!batch.has_room_for(&event(257, 1), far, all));

        let mut batch = Batch::default();
        batch.push(event(1, Limits::BYTES / 2));
        assert!(!batch.has_room_for(&event(2, Limits::BYTES / 2), far, all));
        assert!(batch.has_room_for(&event(2, 1), Seq(2), all));
        assert!(!batch.has_room_for(&event(2, 1), Seq(1), all));
        assert!(!batch.has_room_for(&event(2, 1), Seq(2), Limits::BYTES / 2));
    }
}
