//! What costs nothing when nothing goes wrong. Redundant ways out of a fault would hide that the first way does not work; here none may be taken.

use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use simulation::run::{Conditions, run_in};
use std::time::Duration;

/// The sum of a counter in a run.
fn counted(counter: &str, conditions: Conditions, seed: u64) -> u64 {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let outcome = metrics::with_local_recorder(&recorder, || run_in(conditions, seed));
    assert_eq!(outcome.violations, [""; 0], "seed {seed}");
    let all = snapshotter.snapshot().into_vec();
    let of_name = all
        .into_iter()
        .filter(|(key, ..)| key.key().name() == counter);
    of_name
        .map(|(.., value)| {
            if let DebugValue::Counter(count) = value {
                count
            } else {
                0
            }
        })
        .sum()
}

#[test]
fn in_calm_weather_no_event_has_to_be_read_again() {
    for seed in 0..30 {
        assert_eq!(
            counted("safechat_repaired_events_total", Conditions::Calm, seed),
            0,
            "seed {seed}"
        );
    }
}

#[test]
fn a_rolling_restart_holds_no_message_up() {
    for seed in 0..10 {
        let outcome = run_in(Conditions::RollingRestart, seed);
        assert_eq!(outcome.violations, [""; 0], "seed {seed}");
        assert!(
            outcome.slowest < Duration::from_millis(500),
            "seed {seed}: a message was answered after {:?}",
            outcome.slowest
        );
    }
}
