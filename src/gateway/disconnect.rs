//! Sends the sessions of this node elsewhere at the pace that an operator wants, while the node
//! goes on: after a restart of others, all clients are where they found a place.

use super::{Close, core::Core};
use crate::wire::ServerFrame;
use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio::time::{MissedTickBehavior, interval};

/// Between two groups of sessions.
const TICK: Duration = Duration::from_millis(100);
/// The least and the most that a client is told to wait before it comes back, in milliseconds.
const COMEBACK_MS: (u64, u64) = (500, 1_500);

/// Begins; how many sessions there are. `None`: it is being done already.
pub(super) fn begin(core: &Arc<Core>, per_second: f64) -> Option<usize> {
    if core.disconnecting.swap(true, Ordering::Relaxed) {
        return None;
    }
    let sessions: Vec<_> = core.sessions().keys().copied().collect();
    let count = sessions.len();
    tracing::info!(sessions = count, per_second, "sending sessions elsewhere");
    let ending = core.clone();
    core.spawn(async move {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut due, mut left) = (0.0, sessions.into_iter());
        while left.len() > 0 {
            tick.tick().await;
            due += per_second * TICK.as_secs_f64();
            let now = due.floor();
            due -= now;
            for session in left.by_ref().take(now as usize) {
                let entry = ending.sessions().get(&session).cloned();
                // Those that have ended meanwhile need nothing.
                let Some(entry) = entry else { continue };
                let spread = Duration::from_millis(COMEBACK_MS.1 - COMEBACK_MS.0);
                let jitter = ending.jitter(spread).as_millis() as u64;
                entry.outbox.push(&ServerFrame::Bye {
                    reason: "rebalancing".into(),
                    reconnect_after_ms: COMEBACK_MS.0 + jitter,
                });
                entry.outbox.close(Close::GoingAway);
            }
        }
        ending.disconnecting.store(false, Ordering::Relaxed);
        tracing::info!(sessions = count, "the sessions were sent elsewhere");
    });
    Some(count)
}
