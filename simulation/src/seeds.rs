//! Many seeds, on all cores.

use crate::{
    count::Count,
    run::{Conditions, Outcome, run_in},
};
use std::{
    ops::Range,
    panic::catch_unwind,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

/// What became of many seeds.
#[derive(Debug, Default)]
pub struct Summary {
    /// How many were run.
    pub runs: u64,
    /// Those that broke a promise, in the order of their seeds.
    pub failed: Vec<Outcome>,
    /// What happened in all of them together.
    pub count: Count,
}

/// Runs seeds on `jobs` threads; stops early when `most` of them have failed.
pub fn all(conditions: Conditions, seeds: Range<u64>, jobs: usize, most: usize) -> Summary {
    let (next, stop, summary) = (
        AtomicU64::new(seeds.start),
        AtomicBool::new(false),
        Mutex::new(Summary::default()),
    );
    thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(|| {
                while !stop.load(Relaxed) {
                    let seed = next.fetch_add(1, Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    let outcome = caught(conditions, seed);
                    let mut summary = summary.lock().expect("nobody panics with it");
                    summary.runs += 1;
                    summary.count.merge(&outcome.count);
                    if !outcome.violations.is_empty() {
                        summary.failed.push(outcome);
                        stop.store(summary.failed.len() >= most, Relaxed);
                    }
                }
            });
        }
    });
    let mut summary = summary.into_inner().expect("nobody panics with it");
    summary.failed.sort_by_key(|outcome| outcome.seed);
    summary
}

/// A panic is a violation too: an invariant that is asserted in the code did not hold.
fn caught(conditions: Conditions, seed: u64) -> Outcome {
    catch_unwind(|| run_in(conditions, seed)).unwrap_or_else(|panic| {
        let words = panic
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
        let violations = vec![format!("panicked: {}", words.unwrap_or_default())];
        Outcome {
            seed,
            violations,
            count: Count::default(),
            slowest: Duration::ZERO,
            digest: 0,
        }
    })
}
