//! Something that strangers can make happen over and over is told once in a while.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// So long without another one, and an episode is over.
const QUIET: Duration = Duration::from_secs(60);

/// When it happened last.
#[derive(Default)]
pub(super) struct Episode(Mutex<Option<Instant>>);

impl Episode {
    /// It happens; whether an episode of it begins.
    pub(super) fn begins(&self) -> bool {
        let now = Instant::now();
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = last.replace(now);
        before.is_none_or(|before| now.duration_since(before) >= QUIET)
    }
}
