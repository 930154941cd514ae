//! Chance, all of it from the seed of the run.

use rand::{Rng, RngExt, SeedableRng, rngs::StdRng};
use std::time::Duration;

/// A source of chance. Each actor of a run has its own, so that one that draws more does not change
/// the others.
pub(crate) struct Random(StdRng);

impl Random {
    /// The source of `actor` in the run of a seed.
    pub(crate) fn of(seed: u64, actor: &str) -> Self {
        // FNV-1a-64 over the name, mixed with the seed. Source: Fowler, Noll, Vo;
        // draft-eastlake-fnv.
        let name = actor.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Self(StdRng::seed_from_u64(seed ^ name))
    }

    /// 0 to `bound` - 1.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0.random_range(0..bound)
    }

    /// Whether something happens that happens `permille` times in a thousand.
    pub(crate) fn chance(&mut self, permille: u64) -> bool {
        permille > 0 && self.below(1000) < permille
    }

    /// Below `most`; mostly short, sometimes long: the logarithm is uniform over three decades.
    pub(crate) fn skewed(&mut self, most: Duration) -> Duration {
        most.mul_f64(10_f64.powf(-3.0 * self.0.random_range(0.0..1.0)))
    }

    /// Below `most`, in whole microseconds.
    pub(crate) fn time(&mut self, most: Duration) -> Duration {
        let micros = most.as_micros() as u64;
        Duration::from_micros(if micros == 0 { 0 } else { self.below(micros) })
    }

    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len() as u64) as usize]
    }

    pub(crate) fn seed(&mut self) -> u64 {
        self.0.next_u64()
    }
}
