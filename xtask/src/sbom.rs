//! `cargo xtask sbom`: what the program contains, as CycloneDX (a software bill of materials), into
//! `target/sbom`. Not what only builds or tests it.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde_json::Value;

use crate::console::{Step, say};
use crate::interrupt::Interrupt;
use crate::{obtain, paths, tool};

/// The tool writes one file beside the manifest of every member of the workspace, under this name.
const NAME: &str = "safe-chat-sbom";
const LIMIT: Duration = Duration::from_secs(120);

#[derive(Args)]
pub(crate) struct Options {
    /// The platform that the program is built for
    #[arg(
        long,
        value_name = "TRIPLE",
        default_value = "x86_64-unknown-linux-gnu"
    )]
    target: String,
}

pub(crate) fn run(options: &Options, interrupt: &Interrupt) -> Result<()> {
    let tool = obtain::cargo_cyclonedx::cargo_cyclonedx(interrupt)?;
    let mut step = Step::start("sbom: listing what the program contains");
    let mut list = Command::new(tool);
    list.current_dir(paths::root());
    list.args(["cyclonedx", "--format", "json", "--spec-version", "1.5"]);
    list.args(["--no-build-deps", "--target", &options.target]);
    list.args(["--override-filename", NAME]);
    let listed = tool::quiet(&mut list, LIMIT, interrupt, &mut step);
    let kept = keep(&options.target);
    listed?;
    let (place, components) = kept?;
    step.done(format!("{components} components"));
    say(format!("sbom: {}", paths::short(&place)));
    Ok(())
}

/// Moves the program's list to its place and deletes those of the other members, which are not part
/// of it. How many components it has, all with a licence.
fn keep(target: &str) -> Result<(PathBuf, usize)> {
    let root = paths::root();
    let file = format!("{NAME}.json");
    let members = fs::read_dir(&root)?.flatten().map(|entry| entry.path());
    for other in members.map(|member| member.join(&file)) {
        if other.exists() {
            fs::remove_file(&other).with_context(|| other.display().to_string())?;
        }
    }
    let dir = root.join("target/sbom");
    fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
    let place = dir.join(format!("safe-chat-{target}.cdx.json"));
    fs::rename(root.join(&file), &place).context("no list was written")?;
    let list: Value = serde_json::from_slice(&fs::read(&place)?).context("the list is no JSON")?;
    let components = list["components"].as_array().context("no components")?;
    let unlicensed = |it: &&Value| it["licenses"].as_array().is_none_or(Vec::is_empty);
    let without: Vec<_> = components.iter().filter(unlicensed).collect();
    ensure!(
        without.is_empty(),
        "components without a licence: {without:?}"
    );
    Ok((place, components.len()))
}
