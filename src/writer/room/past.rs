//! What a room lets go of its past, in its owner.

use super::{Room, Ticket};
use crate::{
    room::{Action, Kept, Millis, Retention, Seq},
    writer::past::{Found, Pass, Step},
};
use std::time::Duration;
use tokio::time::Instant;

impl Room {
    /// What it keeps of its past, and is to keep.
    pub(in crate::writer) fn kept(&self) -> Kept {
        self.state.kept
    }

    /// What is to be done about its past now.
    pub(in crate::writer) fn step_of_past(
        &mut self,
        default: &Retention,
        times: (Instant, Millis),
        every: Duration,
    ) -> Option<Step> {
        if self.names.is_writing() {
            return None;
        }
        let (kept, head) = (self.state.kept, self.head);
        let of = (&kept, &self.erasing);
        self.past.step(of, head, default, times, every)
    }

    /// Whether it is to be saved for the sake of its past.
    pub(in crate::writer) fn lets_go(&self) -> bool {
        self.past.wants_snapshot() || !self.unsaved_orders.is_empty()
    }

    /// Whether that goes on at once.
    pub(in crate::writer) fn is_letting_go(&self) -> bool {
        self.past.is_at_it()
    }

    /// Whether something is to go that an operator said, and is there still: also what was decided
    /// and is not published yet, and what is tried again later.
    pub(in crate::writer) fn has_orders(&self) -> bool {
        let purge = self.state.kept.purge.map(|purge| purge.seq);
        purge.is_some_and(|purge| purge > self.purged)
            || !self.state.erasures.pending.is_empty()
            || (self.starts_with_purge() && self.past.is_unfinished(true))
    }

    /// Whether the next owner is to go on with it at once, if this one dies.
    pub(in crate::writer) fn is_unfinished(&self) -> bool {
        self.has_orders() || self.past.is_unfinished(false)
    }

    /// It was found from where on its events stay, or it could not be found; how many go.
    pub(in crate::writer) fn found_start(&mut self, found: Option<Found>) -> u64 {
        let first = self.state.kept.first();
        if let Some(change) = self.past.found(&self.state.kept, found) {
            self.state.change(change);
        }
        self.state.kept.first().0 - first.0
    }

    /// Generations of records that are to be removed.
    pub(in crate::writer) fn stale_records(&self) -> Vec<Seq> {
        self.state.away.stale.clone()
    }

    /// The owner before was removing something.
    pub(in crate::writer) fn goes_on(&mut self) {
        self.past.was_begun();
    }

    /// What it lets go was removed, or could not be. Whether that ends a purge.
    pub(in crate::writer) fn removed(
        &mut self,
        all: Option<bool>,
        records: &[Seq],
        now: Instant,
    ) -> bool {
        if all.is_some() {
            self.records_removed(records);
        }
        let is_purge = self.starts_with_purge();
        self.past.removed(all, is_purge, now) && is_purge
    }

    fn starts_with_purge(&self) -> bool {
        let kept = &self.state.kept;
        kept.purge.is_some_and(|purge| purge.seq == kept.start)
    }

    /// A part of its past was copied, or could not be. How many erasures that ends.
    pub(in crate::writer) fn copied(&mut self, pass: Option<Pass>, later: Instant) -> usize {
        let done = self.past.copied(pass, later);
        self.rewritten(done)
    }

    /// Nothing is stored any more of what was to go up to a place: how many erasures that ends.
    fn rewritten(&mut self, done: Option<Pass>) -> usize {
        let before = self.state.erasures.pending.len();
        if let Some(pass) = done {
            self.erasing.done(pass.through());
            self.state.rewritten(pass.through(), pass.bytes);
        }
        before - self.state.erasures.pending.len()
    }

    /// What was copied was removed, or could not be. How many erasures that ends.
    pub(in crate::writer) fn copied_removed(
        &mut self,
        all: Option<bool>,
        times: (Instant, Instant),
    ) -> usize {
        let done = self.past.copied_removed(all, times);
        self.rewritten(done)
    }

    /// The place of the event of an order to let go, while no snapshot has it: nothing else says
    /// then that there is something to do.
    pub(super) fn unsaved_order(&self, action: &Action) -> Option<Seq> {
        let place = match action {
            Action::Purge => self.state.kept.purge?.seq,
            Action::Erase { user } => {
                let erasure = self.state.erasures.pending.get(user)?;
                erasure.through.next()
            }
            _ => return None,
        };
        Some(place).filter(|place| *place > self.saved)
    }

    /// The commands of orders that are in a snapshot by now.
    pub(super) fn saved_orders(&mut self) -> Vec<Ticket> {
        let orders = std::mem::take(&mut self.unsaved_orders);
        let (saved, unsaved): (Vec<_>, Vec<_>) = orders
            .into_iter()
            .partition(|(place, _)| *place <= self.saved);
        self.unsaved_orders = unsaved;
        saved.into_iter().map(|(_, ticket)| ticket).collect()
    }
}
