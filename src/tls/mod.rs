//! TLS: what this node shows of itself, and whom it trusts. Certificates and keys are PEM files,
//! and are read again when they change: certificates live for weeks, nodes for months.

mod client;
mod fault;
mod identity;
mod pem;
mod server;
mod watch;

pub use client::{Trust, client};
pub(crate) use fault::{advice, fault};
pub use identity::Identity;
pub use server::server;
pub use watch::Watch;

use rustls::crypto::{CryptoProvider, ring};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// A file that cannot be used. Says nothing of what stands in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path} cannot be used: {why}")]
pub struct Error {
    path: PathBuf,
    why: String,
}

impl Error {
    fn new(path: &Path, why: impl Into<String>) -> Self {
        Self {
            path: path.to_owned(),
            why: why.into(),
        }
    }
}

/// A certificate and its key are set together, or not at all. Says which key is missing.
pub fn check_pair([certificate, key]: [&str; 2], is_set: [bool; 2]) -> Result<(), String> {
    match is_set {
        [true, false] => Err(format!(
            "{certificate} needs {key}: set the file of the private key, too"
        )),
        [false, true] => Err(format!(
            "{key} needs {certificate}: set the file of the certificate, too"
        )),
        _ => Ok(()),
    }
}

/// The implementation of ciphers and signatures, for this program and all libraries in it: some of
/// them bring another one along, and none may choose.
fn provider() -> Arc<CryptoProvider> {
    // An error says that it is installed already.
    let _ = ring::default_provider().install_default();
    CryptoProvider::get_default().map_or_else(|| Arc::new(ring::default_provider()), Arc::clone)
}

/// Says which implementation libraries use that are not told. Called before any of them connects.
pub fn install() {
    provider();
}

#[cfg(test)]
mod tests;
