//! Which of the things that clients send are traced: a share of them, and so many per second at
//! most. It is decided once, where a trace begins; every span after that follows its parent.

use super::{Config, Origin};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use std::{
    num::NonZeroU32,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

pub(super) struct Sampler {
    ratio: f64,
    cap: DefaultDirectRateLimiter,
    pub(super) begun: AtomicU64,
    pub(super) capped: AtomicU64,
}

impl Sampler {
    pub(super) fn new(config: &Config) -> Self {
        let per_second = NonZeroU32::new(config.per_second).unwrap_or(NonZeroU32::MIN);
        Self {
            ratio: config.ratio,
            cap: RateLimiter::direct(Quota::per_second(per_second)),
            begun: AtomicU64::new(0),
            capped: AtomicU64::new(0),
        }
    }

    /// Whether a trace begins. A client can only ask for less: what it has not sampled itself is
    /// not traced here.
    pub(super) fn begins(&self, origin: &Origin) -> bool {
        if matches!(&origin.0, Some(context) if !context.is_sampled()) {
            return false;
        }
        // Without a random number where all are wanted.
        if self.ratio < 1.0 && rand::random::<f64>() >= self.ratio {
            return false;
        }
        let begins = self.cap.check().is_ok();
        let count = if begins { &self.begun } else { &self.capped };
        count.fetch_add(1, Relaxed);
        begins
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::trace::parse;

    fn sampler(ratio: f64, per_second: u32) -> Sampler {
        Sampler::new(&Config {
            ratio,
            per_second,
            ..Config::default()
        })
    }

    fn begun(sampler: &Sampler, origin: &Origin, tries: usize) -> usize {
        (0..tries).filter(|_| sampler.begins(origin)).count()
    }

    #[test]
    fn the_cap_holds_whatever_the_ratio_and_the_client_say() {
        let client = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let sampled = Origin(parse(client).map(Box::new));
        // So slow that nothing is added meanwhile.
        let capped = sampler(1.0, 3);
        assert!((3..=4).contains(&begun(&capped, &sampled, 10_000)));
        assert!(capped.capped.load(Relaxed) >= 9_996);
        assert_eq!(begun(&sampler(0.0, 10_000), &sampled, 10_000), 0);
    }

    #[test]
    fn a_share_is_traced_and_nothing_that_its_client_does_not_trace() {
        let half = begun(&sampler(0.5, 10_000), &Origin::default(), 2_000);
        assert!((800..1_200).contains(&half), "{half}");
        let client = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
        let unsampled = Origin(parse(client).map(Box::new));
        assert_eq!(begun(&sampler(1.0, 10_000), &unsampled, 10), 0);
    }
}
