//! How often somebody may try to log in. Unlike the limiters of `governor`, which count by being
//! asked, it can be asked whether something is allowed without taking it; the arithmetic (GCRA) is
//! the same.

use crate::listener::Origin;
use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// Between two logins that are looked at, on average: too few to guess a password.
const EACH: Duration = Duration::from_secs(1);
/// Those that may come at once.
const AT_ONCE: u32 = 20;
/// Payers that are kept, until those that have all back are forgotten.
const KEPT: usize = 1024;

/// For whom a login counts.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Payer {
    /// The address that it comes from.
    Address(Origin),
    /// The passes of the operator with this name.
    Pass(Vec<u8>),
}

/// Logins that were looked at.
#[derive(Default)]
pub(super) struct Guesses {
    /// When each payer has all its logins back.
    full_at: Mutex<HashMap<Payer, Instant>>,
}

impl Guesses {
    /// Whether a login would be looked at; else how long it takes until it is.
    pub(super) fn may(&self, payer: &Payer) -> Result<(), Duration> {
        left(self.locked().get(payer).copied()).map(drop)
    }

    /// Takes one login that is looked at.
    pub(super) fn pay(&self, payer: &Payer) -> Result<(), Duration> {
        let mut full_at = self.locked();
        let full = left(full_at.get(payer).copied())?;
        if full_at.len() >= KEPT && !full_at.contains_key(payer) {
            let now = Instant::now();
            full_at.retain(|_, full| now < *full);
            if full_at.len() >= KEPT {
                // Whoever has that many addresses loses nothing by it, and the map stays small.
                let nearest = full_at.iter().min_by_key(|(_, full)| **full);
                let nearest = nearest.map(|(payer, _)| payer.clone());
                nearest.and_then(|payer| full_at.remove(&payer));
            }
        }
        full_at.insert(payer.clone(), full + EACH);
        Ok(())
    }

    fn locked(&self) -> MutexGuard<'_, HashMap<Payer, Instant>> {
        self.full_at.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// When all is back of what has one left; else how long it takes until it has.
fn left(full_at: Option<Instant>) -> Result<Instant, Duration> {
    let now = Instant::now();
    let full = full_at.map_or(now, |full| full.max(now));
    match (full - now).checked_sub(EACH * (AT_ONCE - 1)) {
        None | Some(Duration::ZERO) => Ok(full),
        Some(wait) => Err(wait),
    }
}
