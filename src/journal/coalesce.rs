//! One read for all who wait: callers that wait at the same time share a read that starts after
//! each of them called.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio::sync::Semaphore;

/// Shares a read among its callers. At most one read runs at a time; a caller never gets the value
/// of a read that was running already when it called. A read that fails is shared like any other
/// value. Cancel safe: when the caller that reads goes away, the next one reads.
pub(super) struct Coalesce<T> {
    turn: Semaphore,
    started: AtomicU64,
    last: Mutex<Option<(u64, T)>>,
}

impl<T> Default for Coalesce<T> {
    fn default() -> Self {
        Self {
            turn: Semaphore::new(1),
            started: AtomicU64::new(0),
            last: Mutex::new(None),
        }
    }
}

impl<T: Clone> Coalesce<T> {
    /// The value of a read that started after this call: of `read`, or of another caller's.
    pub(super) async fn get<F: Future<Output = T>>(&self, read: impl FnOnce() -> F) -> T {
        let before = self.started.load(Ordering::SeqCst);
        let _turn = self
            .turn
            .acquire()
            .await
            .expect("the semaphore is never closed");
        if let Some((number, value)) = &*self.last.lock().unwrap_or_else(PoisonError::into_inner)
            && *number > before
        {
            return value.clone();
        }
        let number = self.started.fetch_add(1, Ordering::SeqCst) + 1;
        let value = read().await;
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some((number, value.clone()));
        value
    }
}

/// A [`Coalesce`] for each key. Keys stay: there are few, known before.
pub(super) struct CoalesceBy<K, T>(Mutex<HashMap<K, Arc<Coalesce<T>>>>);

impl<K, T> Default for CoalesceBy<K, T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash, T: Clone> CoalesceBy<K, T> {
    /// As [`Coalesce::get`], among those who ask for the same key.
    pub(super) async fn get<F: Future<Output = T>>(&self, key: K, read: impl FnOnce() -> F) -> T {
        let shared = self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .entry(key)
            .or_default()
            .clone();
        shared.get(read).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::future::join_all;
    use std::time::Duration;
    use tokio::time::{Instant, sleep, timeout};

    /// A read of 10 ms; its value is when it started.
    async fn read(reads: &AtomicU64) -> Instant {
        reads.fetch_add(1, Ordering::SeqCst);
        let started = Instant::now();
        sleep(Duration::from_millis(10)).await;
        started
    }

    #[tokio::test(start_paused = true)]
    async fn callers_that_wait_together_share_one_read() {
        let (shared, reads) = (Coalesce::default(), AtomicU64::new(0));
        let first = shared.get(|| read(&reads));
        let others = async {
            sleep(Duration::from_millis(1)).await;
            join_all((0..100).map(|_| shared.get(|| read(&reads)))).await
        };
        tokio::join!(first, others);
        assert_eq!(
            reads.into_inner(),
            2,
            "one for the first caller, one for the hundred that came while it ran"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_read_that_runs_already_is_not_good_enough() {
        let shared = Arc::new(Coalesce::default());
        let reads = Arc::new(AtomicU64::new(0));
        let callers = (0..200_u64).map(|i| {
            let (shared, reads) = (shared.clone(), reads.clone());
            async move {
                sleep(Duration::from_millis(i * 7 % 53)).await;
                let called = Instant::now();
                let started = shared.get(|| read(&reads)).await;
                assert!(
                    started >= called,
                    "the read started {:?} before the call",
                    called - started
                );
            }
        });
        join_all(callers).await;
        assert!(
            reads.load(Ordering::SeqCst) <= 7,
            "{reads:?} reads in 63 ms of 10 ms each"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn when_the_reader_goes_away_the_next_one_reads() {
        let (shared, reads) = (Coalesce::default(), AtomicU64::new(0));
        let gone = timeout(Duration::from_millis(5), shared.get(|| read(&reads)));
        let other = async {
            sleep(Duration::from_millis(1)).await;
            shared.get(|| read(&reads)).await
        };
        let (gone, _) = tokio::join!(gone, other);
        assert!(gone.is_err());
        assert_eq!(reads.into_inner(), 2);
    }
}
