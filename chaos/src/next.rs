//! The version after this one: what is checked out, with one form more. `next.patch` has every
//! message stored as a command and as an event that this version does not know, from when all nodes
//! read them.

use anyhow::{Context, Result, ensure};
use std::{
    ffi::OsStr,
    fs,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    process::Command,
};
use xtask::{
    binary::{self, Build},
    interrupt::Interrupt,
    paths,
};

/// Below the checkout.
const SOURCE: &str = "target/next/source";
const PROGRAM: &str = "target/next/safe-chat";
const PATCH: &str = "chaos/next.patch";

/// Builds it; where it is.
pub fn build(debug: bool, interrupt: &Interrupt) -> Result<PathBuf> {
    let root = paths::root();
    let source = root.join(SOURCE);
    // What a former one has changed is not to stay.
    if source.exists() {
        fs::remove_dir_all(&source).with_context(|| source.display().to_string())?;
    }
    copy(&root, &source)?;
    git(&root, &["apply", &format!("--directory={SOURCE}"), PATCH])?;
    let built = binary::build_copy(&source, Build::whole(debug), interrupt)?;
    let program = root.join(PROGRAM);
    fs::copy(&built, &program).with_context(|| built.display().to_string())?;
    Ok(program)
}

/// Copies what git knows, as it is now.
fn copy(root: &Path, source: &Path) -> Result<()> {
    let known = git(root, &["ls-files", "-z"])?;
    let names = known
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty());
    for name in names.map(OsStr::from_bytes) {
        let (from, to) = (root.join(name), source.join(name));
        // Deleted, and not yet committed.
        if !from.exists() {
            continue;
        }
        let folder = to.parent().context("a file is in a folder")?;
        fs::create_dir_all(folder)
            .and_then(|()| fs::copy(&from, &to).map(drop))
            .with_context(|| format!("{} cannot be copied", from.display()))?;
    }
    Ok(())
}

fn git(root: &Path, args: &[&str]) -> Result<Vec<u8>> {
    let ran = Command::new("git").args(args).current_dir(root).output();
    let ran = ran.context("git cannot be run")?;
    let why = String::from_utf8_lossy(&ran.stderr);
    ensure!(ran.status.success(), "git {}: {why}", args.join(" "));
    Ok(ran.stdout)
}
