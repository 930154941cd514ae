//! How this program connects to others: whom it trusts, and what it shows when they ask.

use super::{Error, Identity, pem, provider};
use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        ResolvesClientCert, WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// What the servers of a connection must show, and what is shown to them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trust {
    /// The authorities that are trusted, instead of those of the system.
    pub ca: Option<PathBuf>,
    /// The own certificate and its key.
    pub pair: Option<(PathBuf, PathBuf)>,
    /// The name that every server's certificate must carry, instead of the one it is reached by.
    pub name: Option<String>,
}

/// The settings of connections. The own certificate is read again for each when it has changed; the
/// authorities are not.
pub fn client(trust: &Trust) -> Result<ClientConfig, Error> {
    let roots = match &trust.ca {
        Some(path) => of_file(path)?,
        None => of_system()?,
    };
    let verifier = WebPkiServerVerifier::builder_with_provider(roots.into(), provider())
        .build()
        .map_err(|error| {
            Error::new(
                trust.ca.as_deref().unwrap_or(SYSTEM.as_ref()),
                error.to_string(),
            )
        })?;
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("the provider has ciphers for TLS 1.2 and 1.3");
    let builder = match &trust.name {
        None => builder.with_webpki_verifier(verifier),
        Some(name) => {
            let name = ServerName::try_from(name.clone())
                .map_err(|_| Error::new(name.as_ref(), "it is no name of a server"))?;
            builder
                .dangerous() // Nothing is left out: see `Named`.
                .with_custom_certificate_verifier(Arc::new(Named { name, verifier }))
        }
    };
    Ok(match &trust.pair {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let identity: Arc<dyn ResolvesClientCert> = Identity::load(certificate, key)?;
            builder.with_client_cert_resolver(identity)
        }
    })
}

/// Stands for a path in an error that is about no file.
const SYSTEM: &str = "the system's list of authorities";

fn of_file(path: &Path) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    for certificate in pem::certificates(path, &pem::read(path)?)? {
        roots
            .add(certificate)
            .map_err(|error| Error::new(path, error.to_string()))?;
    }
    Ok(roots)
}

fn of_system() -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    let (usable, _) = roots.add_parsable_certificates(found.certs);
    if usable == 0 {
        return Err(Error::new(
            SYSTEM.as_ref(),
            "there is none (install ca-certificates), or name the authority of the servers",
        ));
    }
    Ok(roots)
}

/// Verifies as usual, but for one name whichever address the server is reached by.
#[derive(Debug)]
struct Named {
    name: ServerName<'static>,
    verifier: Arc<WebPkiServerVerifier>,
}

impl ServerCertVerifier for Named {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _reached_by: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.verifier
            .verify_server_cert(end_entity, intermediates, &self.name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier
            .verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier
            .verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}
