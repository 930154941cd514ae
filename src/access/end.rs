//! When somebody's stay ends. A token says it by the clock of the world, which may be set; the clock
//! that only goes on may stand still while a machine is suspended. Whichever comes first counts.

use std::time::{Duration, SystemTime};
use tokio::time::Instant;

/// The longest stay: as good as for ever, and no clock overflows.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// The end of a stay, by both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    steady: Instant,
    wall: SystemTime,
}

impl End {
    /// At a time of the world, of which it is `wall` now.
    pub fn new(at: SystemTime, wall: SystemTime) -> Self {
        Self {
            steady: Instant::now() + left(at, wall),
            wall: at,
        }
    }

    /// When that is, as the clocks stand.
    pub fn at(self, now: Instant, wall: SystemTime) -> Instant {
        self.steady.min(now + left(self.wall, wall))
    }
}

fn left(until: SystemTime, now: SystemTime) -> Duration {
    until.duration_since(now).unwrap_or_default().min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::advance;

    #[tokio::test(start_paused = true)]
    async fn the_clock_that_is_further_counts() {
        let (begun, wall) = (Instant::now(), SystemTime::UNIX_EPOCH);
        let after = |seconds| Duration::from_secs(seconds);
        let end = End::new(wall + after(100), wall);
        assert_eq!(end.at(begun, wall), begun + after(100));
        assert_eq!(
            end.at(begun, wall + after(70)),
            begun + after(30),
            "set ahead"
        );
        assert_eq!(end.at(begun, wall + after(500)), begun);
        advance(after(60)).await;
        assert_eq!(end.at(Instant::now(), wall), begun + after(100), "set back");
    }
}
