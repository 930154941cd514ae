//! One second of a run.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// Milliseconds at some quantiles.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Quantiles {
    /// Half of them are faster.
    pub p50: f64,
    /// One in ten is slower.
    pub p90: f64,
    /// One in a hundred is slower.
    pub p99: f64,
    /// One in a thousand is slower.
    pub p999: f64,
    /// The slowest.
    pub max: f64,
}

impl Quantiles {
    /// Of microseconds.
    pub fn of(histogram: &Histogram<u64>) -> Self {
        let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1e3;
        Self {
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: histogram.max() as f64 / 1e3,
        }
    }
}

/// What happened in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Second {
    /// Its end, in seconds since the load began.
    pub at: f64,
    /// How long it was: about 1.
    pub length: f64,
    /// Messages sent.
    pub sent: u64,
    /// Messages answered.
    pub answered: u64,
    /// Events that members got.
    pub delivered: u64,
    /// Sessions that were let in.
    pub connected: u64,
    /// Whatever went wrong.
    pub errors: u64,
    /// From when a message was due to its answer.
    pub answer: Option<Quantiles>,
    /// The same to each member.
    pub delivery: Option<Quantiles>,
    /// The same to the last member.
    pub last: Option<Quantiles>,
    /// CPU of the servers.
    pub server_cores: f64,
    /// Memory of the servers (RSS).
    pub server_kib: u64,
    /// CPU of this generator's thread, but for asking in vain whether something has arrived.
    pub own_cores: f64,
}
