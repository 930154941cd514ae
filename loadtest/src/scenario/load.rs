//! Sending at one's times.

use crate::engine::{Engine, Id};
use anyhow::Result;
use std::time::{Duration, Instant};

/// Between two pings, of one session after another.
const PING: Duration = Duration::from_millis(100);

/// How fast.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Messages per second.
    pub rate: f64,
    /// Messages of one sender at once.
    pub burst: usize,
    /// The next burst goes when all members have the last one.
    pub saturate: bool,
}

/// Sends for a while. `also` is called about every time that something happened.
///
/// # Errors
/// The system gave out.
pub fn load(
    engine: &mut Engine,
    senders: &[Id],
    pace: Pace,
    length: Duration,
    also: &mut dyn FnMut(&mut Engine) -> Result<()>,
) -> Result<()> {
    let start = Instant::now();
    let (end, every) = (
        start + length,
        Duration::from_secs_f64(pace.burst as f64 / pace.rate),
    );
    let (mut bursts, mut pings) = (0_u32, 0_u32);
    engine.stay_awake(pace.saturate);
    loop {
        let now = Instant::now();
        let mut next = end;
        if pace.saturate {
            if now < end && engine.is_seen_by_all() {
                burst(engine, senders, bursts, pace.burst, now);
                bursts += 1;
            }
        } else {
            // Also those that became due while this thread stood still, up to the end.
            let due = |bursts| start + every * bursts;
            while due(bursts) <= now && due(bursts) < end {
                burst(engine, senders, bursts, pace.burst, due(bursts));
                bursts += 1;
            }
            next = next.min(due(bursts));
        }
        if now >= end {
            engine.stay_awake(false);
            return Ok(());
        }
        if start + PING * pings <= now {
            engine.ping(senders[pings as usize % senders.len()]);
            pings += 1;
        }
        also(engine)?;
        engine.turn(Some(next.min(start + PING * pings)))?;
    }
}

fn burst(engine: &mut Engine, senders: &[Id], number: u32, messages: usize, due: Instant) {
    let sender = senders[number as usize % senders.len()];
    for _ in 0..messages {
        engine.queue(sender, due);
    }
    engine.flush(sender);
}
