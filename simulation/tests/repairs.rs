//! In calm weather no way out of a fault is taken. Alone in its program, whose counters are those
//! of the whole process.

use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use simulation::run::{Conditions, run_in};

#[test]
fn in_calm_weather_no_event_has_to_be_read_again() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    recorder.install().expect("the only recorder");
    let counted = |name: &str| -> u64 {
        let all = snapshotter.snapshot().into_vec();
        let of_name = all.into_iter().filter(|(key, ..)| key.key().name() == name);
        of_name
            .map(|(.., value)| match value {
                DebugValue::Counter(count) => count,
                DebugValue::Gauge(_) | DebugValue::Histogram(_) => 0,
            })
            .sum()
    };
    for seed in 0..30 {
        let outcome = run_in(Conditions::Calm, seed);
        assert_eq!(outcome.violations, [""; 0], "seed {seed}");
        // It does count: the run's own events.
        assert!(
            counted("safechat_events_journaled_total") > 0,
            "seed {seed}"
        );
        assert_eq!(counted("safechat_repaired_events_total"), 0, "seed {seed}");
    }
}
