//! The logic of the page in `web/`, run by Node without a browser: `tests/page/` holds the tests.

use std::process::Command;

#[test]
fn the_logic_of_the_page_holds() {
    let output = Command::new("node")
        .args(["--test", "tests/page/"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("node (20.19 or later) on the PATH runs the tests of the page");
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}
