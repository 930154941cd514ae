//! The floors of this machine: what the parts of a durable message take by themselves. A service
//! cannot be faster than what it has to do.

mod disk;
mod servers;
mod sockets;

use crate::measure::{Histogram, histogram};
use anyhow::Result;
use std::{
    fmt,
    path::Path,
    thread,
    time::{Duration, Instant},
};

/// One of them.
pub struct Floor {
    name: String,
    took: Histogram,
    per_second: f64,
}

impl fmt::Display for Floor {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = |quantile| self.took.value_at_quantile(quantile);
        write!(
            out,
            "{:<44} {:>10} {:>10} {:>12.0}",
            self.name,
            at(0.5),
            at(0.99),
            self.per_second
        )
    }
}

/// How often each is measured.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Each for so long.
    pub length: Duration,
    /// Between two: in a quiet room processors sleep, and take a while to wake.
    pub pause: Duration,
}

/// Measures all that can be measured. `core`: where the other side of loopback is, if not where this
/// process is.
///
/// # Errors
/// A server that was named does not do what it is asked.
pub fn measure(
    pace: Pace,
    bytes: usize,
    core: Option<usize>,
    disk: &Path,
    nats: &[String],
    cassandra: Option<&str>,
) -> Result<Vec<Floor>> {
    let mut floors = vec![
        sockets::round_trip(pace, bytes, core)?,
        sockets::writes(pace, bytes, 1000)?,
        disk::sync(pace, bytes, disk)?,
    ];
    let runtime = tokio::runtime::Runtime::new()?;
    for url in nats {
        floors.extend(runtime.block_on(servers::nats(pace, bytes, url))?);
    }
    if let Some(at) = cassandra {
        floors.extend(runtime.block_on(servers::cassandra(pace, bytes, at))?);
    }
    Ok(floors)
}

/// Does something again and again.
fn repeat(name: &str, pace: Pace, mut once: impl FnMut() -> Result<u64>) -> Result<Floor> {
    let mut took = histogram();
    let (start, mut done) = (Instant::now(), 0);
    while start.elapsed() < pace.length {
        thread::park_timeout(pace.pause);
        let began = Instant::now();
        done += once()?;
        took.saturating_record(began.elapsed().as_micros() as u64);
    }
    Ok(Floor {
        name: name.to_owned(),
        took,
        per_second: done as f64 / start.elapsed().as_secs_f64(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floors_that_need_no_server_are_measured() {
        let folder = tempfile::tempdir().unwrap();
        let pace = Pace {
            length: Duration::from_millis(20),
            pause: Duration::from_millis(1),
        };
        let floors = measure(pace, 64, None, folder.path(), &[], None).unwrap();
        assert_eq!(floors.len(), 3);
        assert!(floors.iter().all(|floor| floor.per_second > 0.0));
    }
}
