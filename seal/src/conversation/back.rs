//! How a device comes back that has missed something.

use super::state::{Entering, Reading};
use super::{Conversation, Effect};

impl Conversation {
    /// Events are gone that were not read: what this device knows of the group is of no use. Nor is
    /// what is left of them, so it does not wait for that: the last one may be gone, too.
    pub fn missed(&mut self, now: u64) -> Vec<Effect> {
        self.now = now;
        let mut effects = Vec::new();
        // Without a group nothing is missed.
        if let Ok(step) = self.member.give_up(&self.room) {
            self.take(step, None, &mut effects);
        }
        if let (Reading::Until(head), None) = (self.reading, self.since()) {
            self.seq = self.seq.max(head);
            self.reading = Reading::Live;
        }
        self.go_on(effects)
    }

    /// The state that a way in was made of was older than what this device had read: it asks anew.
    pub(super) fn give_up_overtaken(&mut self, effects: &mut Vec<Effect>) {
        let due = self.overtaken.take_if(|(at, _)| *at <= self.now);
        let Some((_, frame)) = due else { return };
        if self.entering == Entering::Sent && self.is_outstanding(&frame) {
            self.entering = Entering::No;
            self.give_up(&frame, effects);
        }
    }
}
