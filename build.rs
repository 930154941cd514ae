//! Notes the facts of the build, for `--version`.

use std::{env, error::Error, process::Command};

/// `SAFE_CHAT_COMMIT` may be given from outside, where there is no git (an image, a source
/// archive).
fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-env-changed=SAFE_CHAT_COMMIT");
    let given = env::var("SAFE_CHAT_COMMIT").ok();
    let commit = given.map_or_else(commit, Ok)?;
    let rustc = says(&env::var("RUSTC")?, &["--version"]);
    println!("cargo:rustc-env=SAFE_CHAT_COMMIT={}", commit);
    println!(
        "cargo:rustc-env=SAFE_CHAT_RUSTC={}",
        rustc.as_deref().unwrap_or("unknown")
    );
    println!("cargo:rustc-env=SAFE_CHAT_PROFILE={}", env::var("PROFILE")?);
    println!("cargo:rustc-env=SAFE_CHAT_TARGET={}", env::var("TARGET")?);
    println!("cargo:rustc-env=SAFE_CHAT_FEATURES={}", features());
    Ok(())
}

/// The features that are on, as the manifest names them.
fn features() -> String {
    let set = env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    let mut on: Vec<_> = set
        .filter_map(|name| Some(name.strip_prefix("CARGO_FEATURE_")?.to_lowercase()))
        .filter(|feature| feature != "default")
        .map(|feature| feature.replace('_', "-"))
        .collect();
    on.sort();
    match on.is_empty() {
        true => "none".into(),
        false => on.join(", "),
    }
}

/// The commit that git has checked out. Only what is built to be released asks: otherwise each
/// commit of a working day would compile everything again.
fn commit() -> Result<String, Box<dyn Error>> {
    if env::var("OPT_LEVEL")? != "3" {
        return Ok("not noted".into());
    }
    // Where git notes every change of the commit that is checked out; in a worktree this is not
    // .git/logs/HEAD.
    if let Some(log) = says("git", &["rev-parse", "--git-path", "logs/HEAD"]) {
        println!("cargo:rerun-if-changed={log}");
    }
    let commit = says("git", &["rev-parse", "--short=12", "HEAD"]);
    Ok(commit.unwrap_or_else(|| "unknown".into()))
}

/// The output of a command, if it succeeds.
fn says(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program)
        .args(args)
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}
