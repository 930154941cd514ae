//! Turns for checking signatures. A check takes a processor for some 50 to 200 us, so only some of
//! the processors do it at a time, however many clients want to come in; the rest goes on serving
//! who is in.

use std::{sync::Arc, thread::available_parallelism};
use tokio::sync::{Semaphore, SemaphorePermit};

/// Turns for checking signatures. Clones share them.
#[derive(Clone)]
pub struct Turns(Arc<Semaphore>);

impl Default for Turns {
    /// Half of the processors may be busy with it, and one at least.
    fn default() -> Self {
        let processors = available_parallelism().map_or(1, usize::from);
        Self(Arc::new(Semaphore::new((processors / 2).max(1))))
    }
}

impl Turns {
    /// Waits for a turn, which lasts until it is dropped. The caller's deadline ends the waiting.
    pub async fn next(&self) -> Option<SemaphorePermit<'_>> {
        // Never closed, so there is always one.
        self.0.acquire().await.ok()
    }
}
