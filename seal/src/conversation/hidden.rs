//! What the service has and does not show: a change of the group, or a part of the room. Until it
//! does, nothing is encrypted, for it could be for somebody whom the change has removed.

use super::state::{IS_IN_AFTER, Reading, Tries};
use super::{Conversation, Effect, Show};

/// Seconds until the room is read again for a change that the server has left out.
const READ_AGAIN_AFTER: u64 = 60;
/// Seconds after which somebody is told.
const TOLD_AFTER: u64 = 30;
/// Seconds after which what the device knows of the group is given up: it asks for the way in.
const GIVEN_UP_AFTER: u64 = 600;

/// A change is known by what is of a later epoch, or by a refusal.
const CHANGE: &str = "the service has a change of the group that it does not show to this device: \
                      what you say waits for it, for somebody may be removed by it";
/// The service has named the end of the room.
const END: &str = "the service shows the room not as far as it says that it goes: what you say \
                   waits for the rest, for somebody may be removed there";

/// What is waited for, and since when.
#[derive(Default)]
pub(super) struct Hidden {
    /// Since when a change is missing.
    lacking_since: Option<u64>,
    /// When the last event came, or the room began to be read.
    pub(super) heard_at: u64,
    is_told: bool,
}

impl Hidden {
    /// A session begins, which may show it.
    pub(super) fn begin(&mut self, now: u64) {
        (self.lacking_since, self.heard_at) = (None, now);
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
        let (now, hidden) = (self.now, &mut self.hidden);
        let since = hidden.lacking_since.unwrap_or(now);
        hidden.lacking_since = self.member.is_lacking(&self.room).then_some(since);
        let (since, what) = match (self.reading, hidden.lacking_since) {
            (Reading::Away, _) => return,
            (_, Some(since)) => (since, CHANGE),
            (Reading::Until(_), None) => (hidden.heard_at, END),
            (Reading::Live, None) => {
                hidden.is_told = false;
                return;
            }
        };
        if now >= since + GIVEN_UP_AFTER {
            self.hidden.begin(now);
            self.lose_group(effects);
            self.gaps.clear();
            // Not up to a place that was named, and may be none.
            (self.reading, self.again_behind) = (Reading::Live, None);
            return;
        }
        if now >= since + TOLD_AFTER && !std::mem::replace(&mut hidden.is_told, true) {
            effects.push(Effect::Show(Show::InVain(what)));
        }
        if now >= since + TOLD_AFTER && self.reading == Reading::Live {
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
        (self.reading, self.hidden.heard_at) = (Reading::Until(self.seq), self.now);
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
            self.tries = Tries::default();
        }
    }
}
