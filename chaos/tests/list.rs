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

#[test]
fn the_next_version_can_be_made_of_this_one() {
    let checked = Command::new("git")
        .args(["apply", "--check", "chaos/next.patch"])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .output()
        .unwrap();
    let why = String::from_utf8_lossy(&checked.stderr);
    assert!(
        checked.status.success(),
        "make chaos/next.patch anew: {why}"
    );
}
