//! What the service has and does not show: a change of the group, or a part of the room. Until it
//! does, nothing is encrypted, for it could be for somebody whom the change has removed.

use super::state::{IS_IN_AFTER, OF_OTHERS, Reading, Tries};
use super::{Conversation, Effect, Show};

/// Seconds until the room is read again for a change that the server has left out.
const READ_AGAIN_AFTER: u64 = 60;
/// Seconds after which somebody is told.
const TOLD_AFTER: u64 = 30;
/// Seconds after which what the device knows of the group is given up: it asks for the way in.
const GIVEN_UP_AFTER: u64 = 600;

/// The most seconds that count between two looks: who slept for longer waited for nothing.
pub(super) const LOOKS_EVERY: u64 = 90;

/// A change is known by what is of a later epoch, or by a refusal.
const CHANGE: &str = "the service has a change of the group that it does not show to this device: \
                      what you say waits for it, for somebody may be removed by it";
/// What the service has named has not come for so long.
const HIDDEN: &str = "the service has not shown for 10 minutes what it says is there";
/// The service has named the end of the room.
const END: &str = "the service shows the room not as far as it says that it goes: what you say \
                   waits for the rest, for somebody may be removed there";

/// What is waited for, and for how many seconds that a session could have shown it: neither a
/// connection that is gone counts, nor a device that sleeps. A new session does not begin anew.
#[derive(Default)]
pub(super) struct Hidden {
    /// A change is missing.
    lacking: Option<u64>,
    /// No event has come, while the room is read.
    quiet: u64,
    looked_at: u64,
    is_told: bool,
}

impl Hidden {
    /// An event came, or the room begins to be read.
    pub(super) fn heard(&mut self) {
        self.quiet = 0;
    }
}

impl Conversation {
    /// A change is missing, which a restart does not forget.
    pub(super) fn lacks_change(&mut self, effects: &mut Vec<Effect>) {
        if let Ok(step) = self.member.lacks_change(&self.room) {
            self.take(step, None, effects);
        }
    }

    /// Asks again for what is hidden, tells of it, and ends the waiting.
    pub(super) fn look_for_hidden(&mut self, effects: &mut Vec<Effect>) {
        let hidden = &mut self.hidden;
        let passed = self.now.saturating_sub(hidden.looked_at).min(LOOKS_EVERY);
        let passed = match (self.reading, hidden.looked_at) {
            (Reading::Away, _) | (_, 0) => 0,
            _ => passed,
        };
        hidden.looked_at = self.now;
        hidden.quiet += passed;
        let so_far = hidden.lacking.map_or(0, |waited| waited + passed);
        hidden.lacking = self.member.is_lacking(&self.room).then_some(so_far);
        let (waited, what) = match (self.reading, hidden.lacking) {
            (Reading::Away, _) => return,
            (_, Some(waited)) => (waited, CHANGE),
            (Reading::Until(_), None) => (hidden.quiet, END),
            (Reading::Live, None) => {
                hidden.is_told = false;
                return;
            }
        };
        if waited >= GIVEN_UP_AFTER {
            (hidden.lacking, hidden.quiet, hidden.is_told) = (None, 0, false);
            self.lose_group(HIDDEN, effects);
            self.gaps.clear();
            // Not up to a place that was named, and may be none.
            (self.reading, self.again_behind) = (Reading::Live, None);
            return;
        }
        if waited >= TOLD_AFTER && !std::mem::replace(&mut hidden.is_told, true) {
            effects.push(Effect::Show(Show::InVain(what)));
        }
        if waited >= TOLD_AFTER && self.reading == Reading::Live {
            self.read_again(effects);
        }
    }

    /// Reads the room again from where the known epoch began, each minute.
    pub(super) fn read_again(&mut self, effects: &mut Vec<Effect>) {
        if self.now < self.again_at {
            return;
        }
        let Some(behind) = self.known_up_to() else {
            return;
        };
        self.again_at = self.now + READ_AGAIN_AFTER;
        // There is nothing yet behind what it knows.
        if behind >= self.seq {
            return;
        }
        self.again_behind = Some(behind);
        self.reading = Reading::Until(self.seq);
        self.hidden.heard();
        effects.push(Effect::Resume(behind));
    }

    /// The place behind which a change that is missing can be.
    pub(super) fn known_up_to(&self) -> Option<u64> {
        match self.member.changed_at(&self.room) {
            0 => self.read_up_to(),
            at => self.read_up_to().map(|read| read.min(at)),
        }
    }

    /// Ways in that came to nothing do not count for one much later.
    pub(super) fn forget_tries(&mut self) {
        let is_over = |since: u64| self.now >= since + IS_IN_AFTER;
        if self.in_since.is_some_and(is_over) {
            self.tries = Tries::of(OF_OTHERS);
        }
    }
}
