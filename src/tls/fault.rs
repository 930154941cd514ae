//! What is wrong when TLS with a server fails, and what to do.

use rustls::{CertificateError, Error};
use std::{error::Error as Any, io};

/// What TLS says in an error, if it is about TLS.
pub(crate) fn fault<'a>(error: &'a (dyn Any + 'static)) -> Option<&'a Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        // An error of input and output does not count what it carries as its source.
        let carried = error
            .downcast_ref::<io::Error>()
            .and_then(|it| it.get_ref());
        let fault = carried.and_then(|carried| carried.downcast_ref());
        if let Some(fault) = fault.or_else(|| error.downcast_ref()) {
            return Some(fault);
        }
        next = error.source();
    }
    None
}

/// What to do about it, with servers of a section of the configuration.
pub(crate) fn advice(fault: &Error, section: &str) -> String {
    match fault {
        // The second: an authority of the same name with another key.
        Error::InvalidCertificate(
            CertificateError::UnknownIssuer | CertificateError::BadSignature,
        ) => {
            format!("name the file of the authority that vouches for it in {section}.tls_ca")
        }
        Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => "reach it by a name that is in its certificate".into(),
        Error::InvalidCertificate(_) => "its certificate must be replaced".into(),
        Error::AlertReceived(_) => format!(
            "it does not take this node's certificate, or wants one: {section}.tls_certificate, \
             {section}.tls_key"
        ),
        _ => format!("does it speak TLS as {section}.tls says?"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_tls_says_is_found_in_what_carries_it() {
        let unknown = || Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let carried = io::Error::new(io::ErrorKind::InvalidData, unknown());
        for error in [&carried as &(dyn Any + 'static), &unknown()] {
            let found = fault(error).expect("it is about TLS");
            assert!(advice(found, "bus").contains("bus.tls_ca"));
        }
        let plain = io::Error::from(io::ErrorKind::ConnectionRefused);
        assert!(fault(&plain).is_none());
    }
}
