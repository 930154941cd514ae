//! Shards that other nodes have taken from this one, told in one line: a node that was frozen finds
//! that of all its shards within a moment.

use crate::room::ShardId;
use std::{collections::BTreeSet, time::Duration};
use tokio::time::Instant;

/// When no more were lost for so long, it is told.
const QUIET: Duration = Duration::from_secs(1);
/// The longest that it waits to be told.
const LONGEST: Duration = Duration::from_secs(5);
/// The most shards that are named.
const NAMED: usize = 16;

/// What was lost and not told yet.
#[derive(Default)]
pub(super) struct Lost {
    shards: BTreeSet<ShardId>,
    /// When the first and the last of them were.
    since: Option<(Instant, Instant)>,
}

impl Lost {
    /// Notes that a shard has another owner.
    pub(super) fn note(&mut self, now: Instant, shard: ShardId) {
        self.shards.insert(shard);
        let first = self.since.map_or(now, |(first, _)| first);
        self.since = Some((first, now));
    }

    /// Tells it when it is time.
    pub(super) fn tell(&mut self, now: Instant) {
        let is_due =
            |(first, last): (Instant, Instant)| now >= last + QUIET || now >= first + LONGEST;
        if self.since.is_some_and(is_due) {
            self.tell_now();
        }
    }

    /// Tells what there is: nothing follows.
    pub(super) fn tell_now(&mut self) {
        if let Some((shards, which)) = self.take() {
            tracing::warn!(
                shards,
                which,
                "other nodes have shards that this one had: it gave them up (was it frozen or cut \
                 off?)"
            );
        }
    }

    /// How many there are, and which.
    fn take(&mut self) -> Option<(usize, String)> {
        self.since.take()?;
        let shards = std::mem::take(&mut self.shards);
        let named = shards.iter().take(NAMED).map(ShardId::to_string);
        let mut which = named.collect::<Vec<_>>().join(", ");
        if shards.len() > NAMED {
            which += ", ...";
        }
        Some((shards.len(), which))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_that_are_lost_within_a_moment_are_told_together_and_once() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut lost = Lost::default();
        for n in 0..20 {
            // The record of another owner, and the journal's newer epoch.
            lost.note(at(10 * n), ShardId(n as u16));
            lost.note(at(10 * n), ShardId(n as u16));
            lost.tell(at(10 * n));
        }
        lost.tell(at(1_100));
        let which = "0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, ...";
        assert_eq!(lost.take(), Some((20, which.to_owned())), "not told yet");
        lost.note(at(2_000), ShardId(7));
        lost.tell(at(3_000));
        assert_eq!(lost.take(), None, "told");
        for ms in (4_000..=9_000).step_by(500) {
            lost.note(at(ms), ShardId(7));
            lost.tell(at(ms));
        }
        assert_eq!(lost.take(), None, "told though it goes on");
    }
}
