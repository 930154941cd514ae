//! What must hold for whatever comes from outside (`fuzz/src`), for the inputs that are kept in
//! `fuzz/corpus`: as they are, and cut or damaged at every byte. So these checks run in every test
//! run; `cargo xtask fuzz` looks for inputs that nobody has thought of.

#[allow(missing_docs, unreachable_pub)] // It is a library there.
#[path = "../fuzz/src/lib.rs"]
mod fuzz;

use std::{
    fs,
    panic::catch_unwind,
    path::{Path, PathBuf},
};

/// Larger ones are found again, but not kept in the project.
const MOST_BYTES: usize = 1024;
const MOST_FILES: usize = 60;

fn corpus(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(target);
    let files =
        fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    paths.sort();
    paths
        .into_iter()
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect()
}

fn holds(check: fuzz::Check, bytes: &[u8], what: &str, path: &Path) {
    let held = catch_unwind(|| check(bytes));
    assert!(held.is_ok(), "{}, {what}: see above", path.display());
}

#[test]
fn what_must_hold_holds_for_every_kept_input() {
    for (target, check) in fuzz::TARGETS {
        for (path, bytes) in corpus(target) {
            holds(check, &bytes, "as it is", &path);
        }
    }
}

#[test]
fn it_holds_for_every_kept_input_that_is_cut_or_damaged_anywhere() {
    for (target, check) in fuzz::TARGETS {
        for (path, bytes) in corpus(target) {
            for at in 0..bytes.len() {
                holds(check, &bytes[..at], &format!("cut at byte {at}"), &path);
                let mut damaged = bytes.clone();
                damaged[at] = bytes[at].wrapping_add(1);
                holds(check, &damaged, &format!("with another byte {at}"), &path);
                damaged[at] = 0xff;
                holds(check, &damaged, &format!("with byte {at} 255"), &path);
                damaged.remove(at);
                holds(check, &damaged, &format!("without byte {at}"), &path);
            }
        }
    }
}

#[test]
fn every_target_has_a_program_and_a_small_corpus() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap();
    for (target, _) in fuzz::TARGETS {
        let program = fs::read_to_string(folder.join(format!("fuzz_targets/{target}.rs"))).unwrap();
        assert!(
            program.contains(&format!("safe_chat_fuzz::{target}::check")),
            "{target}"
        );
        assert!(
            manifest.contains(&format!("[[bin]]\nname = \"{target}\"\n")),
            "{target}"
        );
        let files = corpus(target);
        assert!(
            (5..=MOST_FILES).contains(&files.len()),
            "{target} has {} files",
            files.len()
        );
        assert!(
            files.iter().all(|(_, bytes)| bytes.len() <= MOST_BYTES),
            "{target} has a file of more than {MOST_BYTES} bytes"
        );
    }
    for folder in [folder.join("fuzz_targets"), folder.join("corpus")] {
        assert_eq!(
            fs::read_dir(&folder).unwrap().count(),
            fuzz::TARGETS.len(),
            "{}",
            folder.display()
        );
    }
}
