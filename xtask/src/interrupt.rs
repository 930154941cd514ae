//! Ctrl-C, SIGTERM and a closed terminal, seen by every loop that waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use anyhow::{Context, Result};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// The error of a wait that was interrupted.
#[derive(Debug)]
pub struct Interrupted;

impl std::fmt::Display for Interrupted {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("interrupted")
    }
}

impl std::error::Error for Interrupted {}

/// Says whether to stop. Clones see the same signals.
#[derive(Clone, Default)]
pub struct Interrupt {
    signals: Arc<AtomicUsize>,
    cancelled: Arc<AtomicBool>,
}

impl Interrupt {
    /// From now on the signals no longer end this process; whoever waits must look.
    pub fn install() -> Result<Self> {
        let interrupt = Self::default();
        let seen = interrupt.signals.clone();
        let mut signals =
            Signals::new([SIGINT, SIGTERM, SIGHUP]).context("cannot watch for signals")?;
        thread::spawn(move || {
            for _ in signals.forever() {
                seen.fetch_add(1, Ordering::SeqCst);
            }
        });
        Ok(interrupt)
    }

    /// One that can also be cancelled on its own.
    pub fn part(&self) -> Self {
        Self {
            signals: self.signals.clone(),
            cancelled: Arc::default(),
        }
    }

    /// Stops those who look at this part.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::SeqCst);
    }

    /// Whether to stop.
    pub fn requested(&self) -> bool {
        self.signals.load(Ordering::SeqCst) > 0 || self.cancelled.load(Ordering::SeqCst)
    }

    /// How many signals came: one more during an orderly stop means "at once".
    pub fn signals(&self) -> usize {
        self.signals.load(Ordering::SeqCst)
    }

    /// An error when it is time to stop.
    pub fn check(&self) -> Result<()> {
        if self.requested() {
            Err(Interrupted.into())
        } else {
            Ok(())
        }
    }
}
