//! What checks the OpenAPI document of the internal port: a validator, and schemathesis, which asks
//! a node whether the document is true.

use std::path::PathBuf;

use anyhow::{Context, Result};

use super::{cache, pip};
use crate::interrupt::Interrupt;

/// The packages, all that they need, and hashes of their wheels for all platforms.
const REQUIREMENTS: &str = include_str!("../../templates/openapi-requirements.txt");

/// The folder of Python packages with the modules `schemathesis` and `openapi_spec_validator`.
pub(crate) fn checkers(interrupt: &Interrupt) -> Result<PathBuf> {
    cache::kept("schemathesis-4.32.5", |slot, step| {
        let dir = slot.scratch()?;
        pip::install(REQUIREMENTS, &dir, interrupt, step)?;
        slot.keep(&dir)
    })
    .context("schemathesis cannot be had: it needs Python 3.11 or later with pip, and its index")
}
