//! Whether a room is still the one that was shown, or a new one of its name. A room that nobody
//! comes to goes so long after its last event, at the earliest, and may begin at 1 again; only who
//! reads without a session can stay meanwhile. So what comes so late is not taken before the
//! journal has shown that the newest event that was taken is there still.

use super::{Ended, Generation};
use crate::room::{Event, Millis, Seq};
use std::time::SystemTime;
use tokio::time::Instant;

impl Generation<'_> {
    /// Whether a room may have gone between the newest event that was taken and this time.
    fn is_late(&self, at: Millis) -> bool {
        let after = self.core.config.gone_after_s.saturating_mul(1000);
        let newest = self.log.recent.last().map(|newest| newest.event().at.0);
        after > 0 && newest.is_some_and(|newest| at.0.saturating_sub(newest) >= after)
    }

    /// Whether the next event, of this time, may be of a new room.
    pub(super) fn may_be_of_another(&self, at: Millis) -> bool {
        self.proven != self.log.reach.head() && self.is_late(at)
    }

    /// Whether a commit has to wait, until the journal has been asked. It is read from there then.
    pub(super) fn waits(&mut self, first: &Event, last: Seq) -> bool {
        let is_before = first.seq <= self.log.reach.head();
        if is_before && self.is_late(first.at) {
            self.disputed.get_or_insert(first.seq);
            return true;
        }
        let waits = !is_before && self.may_be_of_another(first.at);
        if waits {
            self.log.reach.told(last);
            (self.doubted, self.overdue) = (true, Some(Instant::now()));
        }
        waits
    }

    /// The owner says that nothing was ever written: so it is with a room that was removed, if that
    /// can have been.
    pub(super) fn removed(&self, told: Seq) -> Option<Ended> {
        (told == Seq::ZERO && self.is_late(Millis::of(SystemTime::now()))).then(|| {
            let (room, head) = (&self.replica.room, self.log.reach.head());
            tracing::info!(%room, %head, "the room was removed: who still reads it starts again");
            self.subscribers.begin_anew();
            Ended::Lost
        })
    }

    /// The journal has this at a place that was taken: a new room, if it comes late enough.
    pub(super) fn anew(&self, stored: Option<&Event>) -> Option<Ended> {
        let begins = stored.filter(|stored| self.is_late(stored.at))?;
        tracing::info!(
            room = %self.replica.room, head = %self.log.reach.head(), seq = %begins.seq,
            "the room was removed, and is there anew: who still reads it starts again"
        );
        self.subscribers.begin_anew();
        Some(Ended::Lost)
    }
}
