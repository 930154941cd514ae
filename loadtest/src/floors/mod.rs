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

/// Measures all that can be measured, each for a while.
///
/// # Errors
/// A server that was named does not do what it is asked.
pub fn measure(
    length: Duration,
    bytes: usize,
    disk: &Path,
    nats: &[String],
    cassandra: Option<&str>,
) -> Result<Vec<Floor>> {
    let mut floors = vec![
        sockets::round_trip(length, bytes)?,
        sockets::writes(length, bytes, 1000)?,
        disk::sync(length, bytes, disk)?,
    ];
    let runtime = tokio::runtime::Runtime::new()?;
    for url in nats {
        floors.extend(runtime.block_on(servers::nats(length, bytes, url))?);
    }
    if let Some(at) = cassandra {
        floors.extend(runtime.block_on(servers::cassandra(length, bytes, at))?);
    }
    Ok(floors)
}

/// Does something again and again.
fn repeat(name: &str, length: Duration, mut once: impl FnMut() -> Result<u64>) -> Result<Floor> {
    let mut took = histogram();
    let (start, mut done) = (Instant::now(), 0);
    while start.elapsed() < length {
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
        let length = Duration::from_millis(20);
        let floors = measure(length, 64, folder.path(), &[], None).unwrap();
        assert_eq!(floors.len(), 3);
        assert!(floors.iter().all(|floor| floor.per_second > 0.0));
    }
}
