//! Reads certificates and keys from PEM files. No error quotes a file: a key stands in it.

use super::Error;
use crate::secret;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use std::path::Path;

pub(super) fn read(path: &Path) -> Result<Vec<u8>, Error> {
    secret::read(path).map_err(|error| Error::new(path, error.to_string()))
}

/// All certificates of a file, at least one.
pub(super) fn certificates(
    path: &Path,
    text: &[u8],
) -> Result<Vec<CertificateDer<'static>>, Error> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(Error::new(path, "there is no certificate in it (PEM)")),
        Err(_) => Err(Error::new(
            path,
            "a certificate in it is cut off or damaged",
        )),
    }
}

/// The first private key of a file.
pub(super) fn key(path: &Path, text: &[u8]) -> Result<PrivateKeyDer<'static>, Error> {
    PrivateKeyDer::from_pem_slice(text)
        .map_err(|_| Error::new(path, "there is no private key in it (PEM, not encrypted)"))
}
