//! The program itself: what it can do to a cluster.

use std::process::Command;

#[test]
fn the_scenarios_are_told_without_a_cluster() {
    let told = Command::new(env!("CARGO_BIN_EXE_chaos"))
        .arg("--list")
        .output()
        .unwrap();
    let text = String::from_utf8(told.stdout).unwrap();
    assert!(told.status.success(), "{text}");
    assert!(text.lines().count() > 10, "{text}");
}
