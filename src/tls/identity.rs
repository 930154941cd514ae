//! A certificate with its key, as they stand in files now. What replaces them is looked at before
//! it is used; a certificate that is not fit for use changes nothing.

use super::{Error, pem, provider};
use rustls::{
    CertificateError, RootCertStore, SignatureScheme,
    client::ResolvesClientCert,
    pki_types::{CertificateDer, UnixTime},
    server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier},
    sign::CertifiedKey,
};
use std::{
    hash::{DefaultHasher, Hash, Hasher},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::Duration,
};

/// How long before its end a certificate is warned of: time for a person to do what was meant to
/// happen by itself.
const SOON: Duration = Duration::from_secs(7 * 24 * 3600);

/// A certificate with its key. Handshakes show what was read last.
#[derive(Debug)]
pub struct Identity {
    certificate: PathBuf,
    key: PathBuf,
    current: RwLock<Current>,
    /// Held from the reading of the files to the taking over: of two looks at the same time the
    /// one that read first must not win.
    looking: Mutex<()>,
}

#[derive(Debug)]
struct Current {
    pair: Arc<CertifiedKey>,
    validity: Validity,
    /// What was read last, fit for use or not.
    seen: u64,
    refused: Option<Error>,
}

/// What became of the files.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// Nothing new.
    Same,
    /// They are used from now on.
    Taken,
    /// They are new and cannot be used; what was used before still is.
    Refused(Error),
}

impl Identity {
    /// Reads the files. A certificate that has expired is used, and warned of: clients may still
    /// accept it, and a node that does not start helps nobody.
    pub fn load(certificate: &Path, key: &Path) -> Result<Arc<Self>, Error> {
        let (seen, read) = read(certificate, key);
        let (pair, validity) = read?;
        Ok(Arc::new(Self {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            current: RwLock::new(Current {
                pair,
                validity,
                seen,
                refused: None,
            }),
            looking: Mutex::default(),
        }))
    }

    /// The file of the certificate.
    pub(super) fn path(&self) -> &Path {
        &self.certificate
    }

    /// Reads the files again, and takes over what is in them if it is new and fit for use.
    pub(super) fn look(&self) -> Look {
        let _alone = self.looking.lock().unwrap_or_else(PoisonError::into_inner);
        let (seen, read) = read(&self.certificate, &self.key);
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        if seen == current.seen {
            return Look::Same;
        }
        current.seen = seen;
        let now = UnixTime::now();
        let fit = read.and_then(|(pair, validity)| {
            let better = validity.says(now).is_ok() || current.validity.says(now).is_err();
            let why = || validity.says(now).err().unwrap_or_default();
            better
                .then_some((pair, validity))
                .ok_or_else(|| Error::new(&self.certificate, why()))
        });
        match fit {
            Ok((pair, validity)) => {
                (current.pair, current.validity, current.refused) = (pair, validity, None);
                Look::Taken
            }
            Err(why) => {
                current.refused = Some(why.clone());
                Look::Refused(why)
            }
        }
    }

    /// What somebody should look after.
    pub(super) fn warnings(&self) -> Vec<String> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        let refused = current
            .refused
            .as_ref()
            .map(|why| format!("a new certificate is not used, the one before still is: {why}"));
        let ends = current.validity.says(UnixTime::now()).err().or_else(|| {
            let soon =
                UnixTime::since_unix_epoch(Duration::from_secs(UnixTime::now().as_secs()) + SOON);
            current
                .validity
                .says(soon)
                .is_err()
                .then(|| "it expires within 7 days".into())
        });
        let ends = ends.map(|why| {
            format!(
                "the certificate of {}: {why}; renew it",
                self.certificate.display()
            )
        });
        refused.into_iter().chain(ends).collect()
    }

    /// When what is shown stops counting, in seconds since 1970.
    pub(super) fn ends(&self) -> u64 {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        current.validity.until
    }

    fn pair(&self) -> Arc<CertifiedKey> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        current.pair.clone()
    }
}

impl ResolvesServerCert for Identity {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.pair())
    }
}

/// A client connects seldom, so it looks each time whether its files have changed.
impl ResolvesClientCert for Identity {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        if let Look::Refused(why) = self.look() {
            tracing::warn!("a new certificate is not used, the one before still is: {why}");
        }
        Some(self.pair())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// What the files hold, and by what it is known again.
fn read(certificate: &Path, key: &Path) -> (u64, Result<(Arc<CertifiedKey>, Validity), Error>) {
    let texts = (pem::read(certificate), pem::read(key));
    let mut hasher = DefaultHasher::new();
    for text in [&texts.0, &texts.1] {
        text.as_ref().map_err(ToString::to_string).hash(&mut hasher);
    }
    let pair = || {
        let (chain, secret) = (texts.0?, texts.1?);
        let chain = pem::certificates(certificate, &chain)?;
        let secret = pem::key(key, &secret)?;
        let validity = Validity::of_all(&chain);
        let pair = CertifiedKey::from_der(chain, secret, &provider()).map_err(|error| {
            let why = match error {
                rustls::Error::InconsistentKeys(_) => "it is not the key of the certificate".into(),
                other => other.to_string(),
            };
            Error::new(key, why)
        })?;
        Ok((Arc::new(pair), validity))
    };
    (hasher.finish(), pair())
}

/// From when to when a certificate counts, in seconds since 1970.
#[derive(Debug, Clone, Copy)]
struct Validity {
    from: u64,
    until: u64,
}

impl Validity {
    /// From when to when all of a chain counts: clients refuse the rest without it.
    fn of_all(chain: &[CertificateDer<'_>]) -> Self {
        let always = Self {
            from: 0,
            until: u64::MAX,
        };
        chain.iter().map(Self::of).fold(always, |all, one| Self {
            from: all.from.max(one.from),
            until: all.until.min(one.until),
        })
    }

    /// A verifier says both when it is asked at the beginning and at the end of time.
    fn of(certificate: &CertificateDer<'_>) -> Self {
        let mut roots = RootCertStore::empty();
        let verifier = roots
            .add(certificate.clone().into_owned())
            .ok()
            .and_then(|()| {
                WebPkiClientVerifier::builder_with_provider(roots.into(), provider())
                    .build()
                    .ok()
            });
        let ask = |seconds| {
            let at = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
            verifier
                .as_ref()
                .and_then(|verifier| verifier.verify_client_cert(certificate, &[], at).err())
        };
        let from = match ask(0) {
            Some(rustls::Error::InvalidCertificate(CertificateError::NotValidYetContext {
                not_before,
                ..
            })) => not_before.as_secs(),
            _ => 0,
        };
        let until = match ask(u64::MAX) {
            Some(rustls::Error::InvalidCertificate(CertificateError::ExpiredContext {
                not_after,
                ..
            })) => not_after.as_secs(),
            _ => u64::MAX,
        };
        Self { from, until }
    }

    fn says(&self, at: UnixTime) -> Result<(), String> {
        match at.as_secs() {
            at if at < self.from => Err("it is not valid yet".into()),
            at if at > self.until => Err("it has expired".into()),
            _ => Ok(()),
        }
    }
}
