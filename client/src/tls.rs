//! How gateways that are reached with TLS are known.

use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject},
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// Whom to trust.
#[derive(Debug, Clone, Default)]
pub enum Tls {
    /// The authorities of the system.
    #[default]
    System,
    /// Those in a PEM file, and no others.
    Authorities(PathBuf),
    /// What rustls is told to.
    Config(Arc<ClientConfig>),
}

impl Tls {
    pub(crate) fn build(&self) -> Result<Arc<ClientConfig>, String> {
        let roots = match self {
            Self::Config(config) => return Ok(config.clone()),
            Self::Authorities(path) => of_file(path)?,
            Self::System => of_system()?,
        };
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Arc::new(config))
    }
}

fn of_file(path: &Path) -> Result<RootCertStore, String> {
    let unusable = |why: String| format!("{} cannot be used: {why}", path.display());
    let mut roots = RootCertStore::empty();
    let found = CertificateDer::pem_file_iter(path).map_err(|error| unusable(error.to_string()))?;
    for certificate in found {
        let added = certificate
            .map_err(|error| error.to_string())
            .and_then(|it| roots.add(it).map_err(|error| error.to_string()));
        added.map_err(unusable)?;
    }
    if roots.is_empty() {
        return Err(unusable("there is no certificate in it".into()));
    }
    Ok(roots)
}

fn of_system() -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    let (usable, _) = roots.add_parsable_certificates(found.certs);
    if usable == 0 {
        return Err(
            "the system trusts no authority (install ca-certificates): name that of the gateway"
                .into(),
        );
    }
    Ok(roots)
}
