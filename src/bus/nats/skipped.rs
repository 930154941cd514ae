//! Messages and records of others that are skipped: each is counted, and an episode of them is told
//! once, by its first. Somebody who sends ever more of them must not fill the log.

use crate::{
    bus::codec::Bad,
    metric,
    room::{RoomId, ShardId},
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// So long without another one of its kind, and an episode is over.
const QUIET: Duration = Duration::from_secs(60);
/// Characters of a subject that the log shows.
const SHOWN: usize = 128;

/// Why something is skipped.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unfit {
    /// Its bytes or its subject cannot be what they should be.
    #[error("it cannot be read: {0}")]
    Unreadable(#[from] Bad),
    /// It is about a room, and came under the name of a shard that does not hold that room. Whoever
    /// acted on it would act on a room that another owner writes.
    #[error("room {room} belongs to shard {shard}")]
    Stray { room: RoomId, shard: ShardId },
    /// Whoever sent it may not say that.
    #[error("{0}")]
    Forged(String),
}

/// When something of each kind was last skipped. Clones share it.
#[derive(Clone, Default)]
pub(super) struct Skipped(Arc<Mutex<HashMap<(String, &'static str), Instant>>>);

impl Skipped {
    /// What fits; else it is counted, and told if it is the first of an episode.
    pub(super) fn fits<T>(
        &self,
        what: &'static str,
        subject: &str,
        read: Result<T, Unfit>,
    ) -> Option<T> {
        let why = match read {
            Ok(fits) => return Some(fits),
            Err(why) => why,
        };
        let counter = match why {
            Unfit::Unreadable(_) => &metric::BUS_UNDECODABLE,
            Unfit::Stray { .. } => &metric::BUS_STRAY,
            Unfit::Forged(_) => &metric::BUS_FORGED,
        };
        counter.of(what).increment(1);
        let metric = counter.name();
        if self.begins(what, metric) {
            let subject: String = subject.escape_debug().take(SHOWN).collect();
            let why = why.to_string();
            tracing::warn!(
                what,
                subject,
                why,
                "skipped; more of its kind are counted only: {metric}"
            );
        }
        None
    }

    /// Whether an episode begins now. The kinds are few: `what` comes from no stranger.
    pub(super) fn begins(&self, what: &str, kind: &'static str) -> bool {
        let now = Instant::now();
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.insert((what.into(), kind), now)
            .is_none_or(|before| now.duration_since(before) >= QUIET)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_episode_is_told_once() {
        let skipped = Skipped::default();
        let mut told = Vec::new();
        for pause in [0, 1, 59, 60, 1] {
            tokio::time::advance(Duration::from_secs(pause)).await;
            told.push(skipped.begins("command", "stray"));
        }
        assert_eq!(told, [true, false, false, true, false]);
        assert!(
            skipped.begins("ask", "stray") && skipped.begins("command", "unreadable"),
            "each kind has episodes of its own"
        );
    }
}
