//! `cargo xtask kubernetes`: renders the overlays of `docker/k8s` as kubectl would, into
//! `target/k8s`, and checks them against the schemas of Kubernetes. What they promise beyond that
//! is checked by `tests/docker/`.

use std::ffi::OsStr;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::console::Step;
use crate::interrupt::Interrupt;
use crate::{obtain, paths, tool};

/// The oldest that has all that the manifests use (a sleep before a stop), and the newest.
const VERSIONS: [&str; 2] = ["1.30.0", "1.37.0"];
const LIMIT: Duration = Duration::from_secs(120);

pub(crate) fn check(interrupt: &Interrupt) -> Result<()> {
    let kustomize = obtain::kubernetes::kustomize(interrupt)?;
    let validate = obtain::kubernetes::validate(interrupt)?;
    let overlays = overlays()?;
    let rendered = paths::root().join("target/k8s");
    fs::create_dir_all(&rendered).with_context(|| rendered.display().to_string())?;
    let mut step = Step::start("kubernetes: rendering and checking the overlays");
    let mut files = Vec::new();
    for overlay in &overlays {
        let mut render = Command::new(&kustomize);
        render.arg("build").arg(overlay);
        let text = tool::quiet(&mut render, LIMIT, interrupt, &mut step)?;
        let name = overlay.file_name().unwrap_or(OsStr::new("overlay"));
        let file = rendered.join(name).with_added_extension("yaml");
        fs::write(&file, text).with_context(|| file.display().to_string())?;
        files.push(file);
    }
    for version in VERSIONS {
        let mut check = Command::new(obtain::pip::python()?);
        check
            .env("PYTHONPATH", &validate)
            .args(["-m", "kubernetes_validate"]);
        check.args(["--strict", "--quiet", "--kubernetes-version", version]);
        check.args(&files);
        tool::quiet(&mut check, LIMIT, interrupt, &mut step)
            .with_context(|| format!("for Kubernetes {version}"))?;
    }
    step.done(format!(
        "{} overlays are fine for {}",
        overlays.len(),
        VERSIONS.join(" and ")
    ));
    Ok(())
}

fn overlays() -> Result<Vec<PathBuf>> {
    let folder = paths::root().join("docker/k8s/overlays");
    let entries = fs::read_dir(&folder).with_context(|| folder.display().to_string())?;
    let mut overlays: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    overlays.sort();
    ensure!(
        !overlays.is_empty(),
        "there is no overlay in {}",
        folder.display()
    );
    Ok(overlays)
}
