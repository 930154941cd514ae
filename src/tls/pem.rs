//! Reads certificates and keys from PEM files. No error quotes a file: a key stands in it.

use super::Error;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use std::{fs, path::Path};

/// More than any chain of certificates has.
const MOST: u64 = 1024 * 1024;

pub(super) fn read(path: &Path) -> Result<Vec<u8>, Error> {
    let unreadable = |error: std::io::Error| Error::new(path, error.to_string());
    if fs::metadata(path).map_err(unreadable)?.len() > MOST {
        return Err(Error::new(path, "it is larger than 1 MiB"));
    }
    fs::read(path).map_err(unreadable)
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
