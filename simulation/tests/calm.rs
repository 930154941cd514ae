//! What costs nothing when nothing goes wrong. Redundant ways out of a fault would hide that the
//! first way does not work; here none may be taken.

use simulation::run::{Conditions, run_in};
use std::time::Duration;

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
