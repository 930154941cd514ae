//! How short of memory this process is. A node in a container is killed when it takes more than its
//! limit, with everything that it has open; long before that its parts take in less.

use crate::metric;
use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// How often the memory is looked at: a burst of clients takes some tens of MiB in this time.
const LOOK: Duration = Duration::from_millis(100);
/// Per cent of the limit from which on it is tight, or short. What is above the second is for what
/// is under way already, and for buffers of the kernel, which count for the limit and not for the
/// process.
const BOUNDS: [u64; 2] = [65, 80];
/// Per cent below a bound at which it is left again, so that nobody is let in and turned away in
/// turns.
const LEFT: u64 = 5;

/// What there is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Level {
    /// Enough.
    Fine,
    /// New clients go elsewhere, and what is kept for speed is let go of.
    Tight,
    /// Whatever makes more is refused, and who reads slowly is closed sooner.
    Short,
}

impl Level {
    const ALL: [Self; 3] = [Self::Fine, Self::Tight, Self::Short];

    /// The level after this one, when so much of the limit is used.
    fn next(self, used: u64, limit: u64) -> Self {
        let at = |level: usize| {
            let bound = BOUNDS[level - 1] - if self as usize >= level { LEFT } else { 0 };
            used.saturating_mul(100) >= limit.saturating_mul(bound)
        };
        Self::ALL[if at(2) { 2 } else { usize::from(at(1)) }]
    }
}

/// The level as all parts see it. Clones are the same one; a new one is [`Level::Fine`].
#[derive(Debug, Clone, Default)]
pub struct Pressure(Arc<AtomicU8>);

impl Pressure {
    /// New clients go elsewhere, and what is kept for speed is let go of.
    pub fn is_tight(&self) -> bool {
        self.0.load(Relaxed) >= Level::Tight as u8
    }

    /// Whatever makes more is refused.
    pub fn is_short(&self) -> bool {
        self.0.load(Relaxed) >= Level::Short as u8
    }

    /// Says how it is.
    pub fn set(&self, level: Level) {
        self.0.store(level as u8, Relaxed);
    }
}

/// Watches the memory of this process against its limit in bytes, until `stop`.
pub async fn watch(limit: u64, parts: Vec<Pressure>, stop: CancellationToken) {
    metric::MEMORY_PRESSURE.set(0.0);
    let watching = async {
        let mut level = Level::Fine;
        loop {
            let used = resident().unwrap_or_default();
            let now = level.next(used, limit);
            if now != level {
                parts.iter().for_each(|part| part.set(now));
                tell(level, now, used, limit);
                level = now;
            }
            sleep(LOOK).await;
        }
    };
    stop.run_until_cancelled(watching).await;
}

fn tell(before: Level, now: Level, used: u64, limit: u64) {
    const MIB: u64 = 1024 * 1024;
    let (used, limit) = (used / MIB, limit / MIB);
    metric::MEMORY_PRESSURE.set(f64::from(now as u8));
    match now {
        Level::Fine => info!(used, limit, "there is enough memory again (MiB)"),
        Level::Tight if now > before => warn!(
            used,
            limit,
            "memory is tight (MiB): new clients are refused; give this node more, or add a node"
        ),
        Level::Tight => info!(
            used,
            limit, "memory is no longer short (MiB), but tight: new clients are still refused"
        ),
        Level::Short => warn!(
            used,
            limit,
            "memory is short (MiB): messages are refused as busy too, and slow clients are closed; \
             give this node more, or add a node"
        ),
    }
}

/// Bytes of this process that are in RAM.
fn resident() -> Option<u64> {
    let pages = fs::read_to_string("/proc/self/statm").ok()?;
    // The file counts pages of 4 KiB on the machines that this is built for.
    Some(pages.split_whitespace().nth(1)?.parse::<u64>().ok()? * 4096)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_left_later_than_it_is_entered() {
        let levels = |start: Level, used: &[u64]| -> Vec<Level> {
            used.iter()
                .scan(start, |level, used| {
                    *level = level.next(*used, 1000);
                    Some(*level)
                })
                .collect()
        };
        use Level::{Fine, Short, Tight};
        assert_eq!(
            levels(Fine, &[0, 649, 650, 799, 800, 760, 750, 749, 601, 599]),
            [
                Fine, Fine, Tight, Tight, Short, Short, Short, Tight, Tight, Fine
            ]
        );
        assert_eq!(levels(Fine, &[2000, 0]), [Short, Fine]);
    }

    #[test]
    fn this_process_takes_memory() {
        assert!(resident().unwrap() > 1024 * 1024);
    }
}
