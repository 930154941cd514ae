//! A token bucket: so many per second or hour, and a burst. The arithmetic (GCRA) is `governor`'s; the
//! clock is tokio's, so that tests run in virtual time.

use super::keyed::Idle;
use governor::{
    Quota, RateLimiter,
    clock::Clock,
    middleware::NoOpMiddleware,
    nanos::Nanos,
    state::{InMemoryState, NotKeyed},
};
use std::{
    num::NonZeroU32,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};
use tokio::time::Instant;

/// How much is let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rate {
    /// In each such time; 0: everything.
    pub(super) count: u32,
    pub(super) per: Per,
    /// At once, after a pause.
    pub(super) burst: u32,
}

/// A time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Per {
    Second,
    Hour,
}

/// Nanoseconds since the bucket was made.
#[derive(Debug, Clone)]
struct Since(Instant);

impl Clock for Since {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        self.0.elapsed().into()
    }
}

/// A token bucket, full at first.
pub(in crate::gateway) struct Bucket(Option<Limiter>, u32);

struct Limiter {
    limiter: RateLimiter<NotKeyed, InMemoryState, Since, NoOpMiddleware<Nanos>>,
    /// Nanoseconds in which a token comes back.
    each: u64,
    /// When all will have come back: `governor` cannot be asked without taking a token, and whoever
    /// looks every few seconds would take all of a bucket that is filled by the hour.
    full_at: AtomicU64,
}

impl Bucket {
    pub(super) fn new(rate: Rate) -> Self {
        let quota = NonZeroU32::new(rate.count);
        let quota = quota.map(|count| {
            let burst = NonZeroU32::new(rate.burst).unwrap_or(count);
            let quota = match rate.per {
                Per::Second => Quota::per_second(count),
                Per::Hour => Quota::per_hour(count),
            };
            quota.allow_burst(burst)
        });
        let limiter = quota.map(|quota| Limiter {
            limiter: RateLimiter::direct_with_clock(quota, Since(Instant::now())),
            each: u64::try_from(quota.replenish_interval().as_nanos()).unwrap_or(u64::MAX),
            full_at: AtomicU64::new(0),
        });
        Self(limiter, rate.burst)
    }

    /// Takes so many tokens, at most a burst, or none: then says how long it takes until they are
    /// there.
    pub(super) fn take(&self, count: u32) -> Result<(), Duration> {
        let (Some(bucket), Some(count)) = (&self.0, NonZeroU32::new(count.min(self.1))) else {
            return Ok(());
        };
        let now = bucket.limiter.clock().now();
        let taken = bucket.limiter.check_n(count);
        let taken = taken.expect("never more than a burst");
        taken.map_err(|until| until.wait_time_from(now))?;
        let longer = bucket.each.saturating_mul(count.get().into());
        let full_at = |at: u64| Some(at.max(now.as_u64()).saturating_add(longer));
        let noted = (Ordering::Relaxed, Ordering::Relaxed);
        let _ = bucket.full_at.fetch_update(noted.0, noted.1, full_at);
        Ok(())
    }

    /// The same without taking any.
    pub(super) fn has(&self, count: u32) -> Result<(), Duration> {
        let Some(bucket) = &self.0 else {
            return Ok(());
        };
        let full_at = bucket.full_at.load(Ordering::Relaxed);
        let missing = full_at.saturating_sub(bucket.limiter.clock().now().as_u64());
        let spare = u64::from(self.1.saturating_sub(count)).saturating_mul(bucket.each);
        match missing.saturating_sub(spare) {
            0 => Ok(()),
            wait => Err(Duration::from_nanos(wait)),
        }
    }

    /// Whether it is as it was made, and can be made again instead of being kept.
    pub(super) fn is_full(&self) -> bool {
        self.0.as_ref().is_none_or(|bucket| {
            bucket.full_at.load(Ordering::Relaxed) <= bucket.limiter.clock().now().as_u64()
        })
    }
}

impl Idle for Bucket {
    fn is_idle(&self) -> bool {
        self.is_full()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::{advance, sleep};

    #[tokio::test(start_paused = true)]
    async fn a_burst_then_a_rate() {
        let bucket = Bucket::new(Rate {
            count: 10,
            per: Per::Second,
            burst: 3,
        });
        assert_eq!((0..5).filter(|_| bucket.take(1).is_ok()).count(), 3);
        let wait = bucket.take(2).unwrap_err();
        assert!(
            (Duration::from_millis(190)..=Duration::from_millis(210)).contains(&wait),
            "{wait:?}"
        );
        sleep(wait).await;
        assert_eq!(
            (bucket.take(2).is_ok(), bucket.take(1).is_ok()),
            (true, false)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_full_again_after_a_pause_and_not_before() {
        let full = || {
            Bucket::new(Rate {
                count: 10,
                per: Per::Second,
                burst: 3,
            })
        };
        assert!(full().is_full());
        for (ms, expected) in [(199, false), (201, true)] {
            let bucket = full();
            bucket.take(2).unwrap();
            advance(Duration::from_millis(ms)).await;
            assert_eq!(bucket.is_full(), expected, "after {ms} ms");
            assert!(bucket.take(1).is_ok(), "asking does not empty it");
        }
        let bucket = full();
        bucket.take(1).unwrap();
        assert!((0..100).all(|_| !bucket.is_full()), "it takes 100 ms");
        assert!(bucket.take(2).is_ok(), "nor does asking often");
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_only_asks_hears_what_taking_would_say() {
        let bucket = Bucket::new(Rate {
            count: 10,
            per: Per::Second,
            burst: 3,
        });
        for taken in [true, true, true, false] {
            assert!((0..100).all(|_| bucket.has(1).is_ok() == taken));
            assert_eq!(bucket.take(1).is_ok(), taken);
        }
        let (wait, asked) = (bucket.take(2).unwrap_err(), bucket.has(2).unwrap_err());
        assert!(
            wait.abs_diff(asked) < Duration::from_millis(2),
            "{wait:?} {asked:?}"
        );
        advance(asked).await;
        assert!(bucket.has(2).is_ok() && bucket.take(2).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn zero_is_no_limit() {
        let bucket = Bucket::new(Rate {
            count: 0,
            per: Per::Second,
            burst: 1,
        });
        assert!((0..10_000).all(|_| bucket.has(1).is_ok() && bucket.take(1).is_ok()));
    }
}
