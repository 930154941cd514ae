//! How a device comes back that has missed something.

use super::state::{Entering, MOST_GAPS, READ_AGAIN_AFTER, Reading};
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

    /// A change before this place was not heard. It may be there when the room is read again, from
    /// where the known epoch began; a server that hides it is asked each minute.
    pub(super) fn read_again(&mut self, seq: u64, effects: &mut Vec<Effect>) {
        if self.gaps.len() < MOST_GAPS {
            self.gaps.push(seq);
        }
        let behind = match self.changed_at {
            0 => self.read_up_to(),
            at => Some(at),
        };
        let Some(behind) = behind.filter(|_| self.now >= self.again_at) else {
            return;
        };
        (self.again_behind, self.again_at) = (Some(behind), self.now + READ_AGAIN_AFTER);
        self.reading = Reading::Until(self.seq);
        effects.push(Effect::Resume(behind));
    }

    /// Whether the event at this place could not be taken before.
    pub(super) fn forget_gap(&mut self, seq: u64) -> bool {
        let before = self.gaps.len();
        self.gaps.retain(|one| *one != seq);
        self.gaps.len() < before
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
