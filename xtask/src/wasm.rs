//! `cargo xtask wasm`: builds the page's part for sealed rooms out of `seal/wasm`, as `web/seal.js`
//! and `web/seal_bg.wasm.gz`. They are committed, so that nobody else needs this. The compiler is
//! pinned and no path of this machine reaches the module, so the same sources give the same bytes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use sha2::{Digest, Sha256};

use crate::binary::cargo;
use crate::console::{Step, say};
use crate::interrupt::Interrupt;
use crate::{paths, tool};

/// The toolchain of rustup that compiles it, and its standard library from source.
const TOOLCHAIN: &str = "1.95.0";
const TARGET: &str = "wasm32-unknown-unknown";
const LIMIT: Duration = Duration::from_secs(60 * 60);
/// Bytes that a browser fetches, at most.
const MOST: usize = 500_000;
/// What is committed.
const ARTEFACTS: [&str; 2] = ["seal.js", "seal_bg.wasm.gz"];
/// Beside them: what they were built from.
const BUILT_FROM: &str = "seal/wasm/BUILT_FROM";
/// What the module is made of. Not the writer's part, which is not in it, nor the lock file, which
/// changes with everything else: `--check` sees both.
const SOURCES: [&str; 5] = [
    "seal/Cargo.toml",
    "seal/src",
    "seal/wasm/Cargo.toml",
    "seal/wasm/src",
    "seal/wasm/pack/src",
];
const NOT_IN_IT: &str = "seal/src/delivery";

#[derive(Args)]
pub(crate) struct Options {
    /// Fail if what is committed is not what the sources give
    #[arg(long)]
    check: bool,
}

pub(crate) fn run(options: &Options, interrupt: &Interrupt) -> Result<()> {
    obtain(interrupt)?;
    let built = build(interrupt)?;
    let size = fs::read(built.join("seal_bg.wasm.gz"))?.len();
    ensure!(
        size <= MOST,
        "the module has {size} bytes, more than the {MOST} that a browser is to fetch"
    );
    let web = paths::root().join("web");
    if options.check {
        for name in ARTEFACTS {
            let is_same = fs::read(built.join(name))? == fs::read(web.join(name))?;
            ensure!(
                is_same,
                "web/{name} is not what the sources give: `cargo xtask wasm`"
            );
        }
        ensure!(
            is_current(&paths::root())?,
            "{BUILT_FROM} is not of these sources: `cargo xtask wasm`"
        );
        say(format!(
            "wasm: web/ has what the sources give ({size} bytes)"
        ));
        return Ok(());
    }
    for name in ARTEFACTS {
        fs::copy(built.join(name), web.join(name)).with_context(|| name.to_owned())?;
    }
    let digest = digest(&paths::root())?;
    fs::write(paths::root().join(BUILT_FROM), digest + "\n")?;
    say(format!("wasm: web/seal_bg.wasm.gz, {size} bytes"));
    Ok(())
}

/// Says so if what is committed was built from other sources. It goes on working, for the protocol
/// only grows; so this is no failure.
pub(crate) fn remind() -> Result<()> {
    if !is_current(&paths::root())? {
        say(
            "web/seal_bg.wasm.gz is of earlier sources of seal/: `cargo xtask wasm` builds it anew",
        );
    }
    Ok(())
}

fn is_current(root: &Path) -> Result<bool> {
    let known = fs::read_to_string(root.join(BUILT_FROM)).context(BUILT_FROM)?;
    Ok(known.trim() == digest(root)?)
}

/// A hash of the sources, by name and content.
fn digest(root: &Path) -> Result<String> {
    let mut files = Vec::new();
    for source in SOURCES {
        collect(&root.join(source), &mut files)?;
    }
    files.retain(|file| !file.starts_with(root.join(NOT_IN_IT)));
    files.retain(|file| *file != root.join(NOT_IN_IT).with_extension("rs"));
    files.sort();
    let mut hash = Sha256::new();
    for file in files {
        let name = file.strip_prefix(root)?.to_string_lossy().into_owned();
        let content = fs::read(&file)?;
        hash.update(format!("{name} {}\n", content.len()));
        hash.update(content);
    }
    let hex = hash
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    Ok(hex)
}

fn collect(from: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    if from.is_file() {
        files.push(from.to_owned());
        return Ok(());
    }
    for entry in fs::read_dir(from).with_context(|| from.display().to_string())? {
        collect(&entry?.path(), files)?;
    }
    Ok(())
}

/// The compiler and the sources of its library, by rustup.
fn obtain(interrupt: &Interrupt) -> Result<()> {
    let Some(rustup) = paths::on_path("rustup") else {
        bail!(
            "rustup is not on the PATH: it brings the compiler {TOOLCHAIN} that this is built with"
        );
    };
    let mut step = Step::start(format!("wasm: rust {TOOLCHAIN} by rustup"));
    let mut list = Command::new(&rustup);
    list.args(["component", "list", "--installed", "--toolchain", TOOLCHAIN]);
    let installed = tool::quiet(&mut list, LIMIT, interrupt, &mut step);
    if !installed.is_ok_and(|list| list.lines().any(|line| line == "rust-src")) {
        let mut install = Command::new(rustup);
        install.args(["toolchain", "install", TOOLCHAIN, "--profile", "minimal"]);
        install.args(["--component", "rust-src"]);
        tool::quiet(&mut install, LIMIT, interrupt, &mut step)?;
    }
    step.done("there");
    Ok(())
}

/// The folder with what was built.
fn build(interrupt: &Interrupt) -> Result<PathBuf> {
    let target = paths::root().join("target/wasm");
    say("wasm: compiling (minutes, the first time)");
    let mut compile = of_toolchain();
    compile.args(["build", "--package", "seal-wasm", "--profile", "wasm"]);
    compile.args(["--locked", "--target", TARGET]);
    compile.arg("--target-dir").arg(&target);
    // Its own library, so that panics and places of the source take no space.
    compile.args(["-Z", "build-std=std,panic_abort"]);
    compile.args(["-Z", "build-std-features=optimize_for_size"]);
    compile.env("RUSTC_BOOTSTRAP", "1");
    compile.env("CARGO_ENCODED_RUSTFLAGS", flags()?.join("\x1f"));
    let status = tool::shown(&mut compile, interrupt)?;
    ensure!(status.success(), "seal/wasm does not compile");

    let packed = target.join("packed");
    fs::create_dir_all(&packed)?;
    let mut pack = of_toolchain();
    pack.args([
        "run",
        "--locked",
        "--manifest-path",
        "seal/wasm/pack/Cargo.toml",
    ]);
    pack.arg("--target-dir").arg(target.join("pack")).arg("--");
    let module = target.join(TARGET).join("wasm/seal_wasm.wasm");
    pack.args([module, packed.clone()]);
    let status = tool::shown(&mut pack, interrupt)?;
    ensure!(status.success(), "seal/wasm/pack failed");
    Ok(packed)
}

/// A cargo of that toolchain, whatever runs this one.
fn of_toolchain() -> Command {
    let mut command = Command::new("rustup");
    command.args(["run", TOOLCHAIN, "cargo"]);
    command.current_dir(paths::root());
    // `cargo xtask` sets them, for itself and its own toolchain.
    for (name, _) in cargo().get_envs() {
        command.env_remove(name);
    }
    for name in ["CARGO", "RUSTC", "RUSTUP_TOOLCHAIN", "RUSTFLAGS"] {
        command.env_remove(name);
    }
    command
}

fn flags() -> Result<Vec<String>> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")));
    let home = home.context("neither CARGO_HOME nor HOME is set")?;
    let remap = |from: &Path, to| format!("--remap-path-prefix={}={to}", from.display());
    Ok(vec![
        "--cfg".into(),
        "getrandom_backend=\"wasm_js\"".into(),
        "-Zunstable-options".into(),
        "-Cpanic=immediate-abort".into(),
        "-Zlocation-detail=none".into(),
        "-Zfmt-debug=none".into(),
        remap(&paths::root(), "/checkout"),
        remap(&home, "/cargo"),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for source in SOURCES {
            let file = root.path().join(source);
            let file = match file.extension() {
                Some(_) => file,
                None => file.join("lib.rs"),
            };
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, source).unwrap();
        }
        let digest = digest(root.path()).unwrap();
        fs::write(root.path().join(BUILT_FROM), digest).unwrap();
        root
    }

    #[test]
    fn a_change_of_the_sources_is_seen() {
        let root = tree();
        assert!(is_current(root.path()).unwrap());
        fs::write(root.path().join("seal/src/lib.rs"), "changed").unwrap();
        assert!(!is_current(root.path()).unwrap());
    }

    #[test]
    fn what_is_not_in_the_module_does_not_matter() {
        let root = tree();
        fs::write(root.path().join("seal/src/delivery.rs"), "new").unwrap();
        assert!(is_current(root.path()).unwrap());
        fs::write(root.path().join("seal/src/new.rs"), "new").unwrap();
        assert!(!is_current(root.path()).unwrap());
    }
}
