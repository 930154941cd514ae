//! What checks manifests for Kubernetes: kustomize, and kubernetes-validate, which brings the
//! schemas.

use std::path::PathBuf;

use anyhow::{Context, Result};

use super::{cache, go, pip};
use crate::interrupt::Interrupt;

const KUSTOMIZE: &str = "sigs.k8s.io/kustomize/kustomize/v5@v5.7.1";
/// The package, all that it needs, and hashes of their wheels for all platforms.
const VALIDATE: &str = include_str!("../../templates/kubernetes-validate-requirements.txt");

/// The program that renders.
pub(crate) fn kustomize(interrupt: &Interrupt) -> Result<PathBuf> {
    cache::kept("kustomize-5.7.1", |slot, step| {
        let dir = slot.scratch()?;
        go::install(KUSTOMIZE, &dir, interrupt, step)?;
        slot.keep(&dir.join("kustomize"))
    })
    .context("kustomize cannot be had: it is built by Go from the module proxy")
}

/// The folder of Python packages with the module `kubernetes_validate`.
pub(crate) fn validate(interrupt: &Interrupt) -> Result<PathBuf> {
    cache::kept("kubernetes-validate-1.37.0", |slot, step| {
        let dir = slot.scratch()?;
        pip::install(VALIDATE, &dir, interrupt, step)?;
        slot.keep(&dir)
    })
    .context("kubernetes-validate cannot be had: it needs Python with pip, and its index")
}
