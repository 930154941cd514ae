//! The patches of `simulation/mutations/` still fit the code: one that does not would be left out
//! unseen.

use std::{fs, process::Command};

#[test]
fn every_mutation_applies_and_says_what_it_breaks() {
    let mut count = 0;
    for entry in fs::read_dir("simulation/mutations").unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let says = text
            .lines()
            .next()
            .is_some_and(|line| line.ends_with('.') && !line.starts_with("---"));
        assert!(
            says,
            "{}: the first line says what is broken",
            path.display()
        );
        let applies = Command::new("git")
            .args(["apply", "--check"])
            .arg(&path)
            .output()
            .unwrap();
        assert!(
            applies.status.success(),
            "{}: {}",
            path.display(),
            String::from_utf8_lossy(&applies.stderr)
        );
        count += 1;
    }
    assert!(count >= 10, "{count} mutations");
}
