//! Keys that tokens may be signed with. Each belongs to one algorithm, by its type: what a token
//! says of its algorithm only chooses among keys, and never how one is used.

use jsonwebtoken::{
    Algorithm, AlgorithmFamily, DecodingKey, DecodingKeyKind, Header,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, PublicKeyUse},
};
use serde::Deserialize;
use serde_json::Value;

/// The most keys of a set.
const MOST: usize = 100;
/// Bytes of the shortest secret: as many as the hash has (RFC 7518, 3.2).
const SECRET: usize = 32;
/// Bytes of the shortest modulus of RSA (RFC 7518, 3.3).
const MODULUS: usize = 256;
/// Bytes of an uncompressed point of P-256.
const POINT: usize = 65;

/// A key, and what it may be used for.
#[derive(Clone)]
pub(super) struct VerifyingKey {
    kid: Option<String>,
    pub(super) algorithm: Algorithm,
    pub(super) key: DecodingKey,
}

/// Keys of one source.
#[derive(Clone, Default)]
pub(super) struct KeySet(Vec<VerifyingKey>);

impl KeySet {
    /// The keys of a token's algorithm that have the name that it gives.
    pub(super) fn named<'a>(
        &'a self,
        header: &'a Header,
    ) -> impl Iterator<Item = &'a VerifyingKey> + Clone {
        let keys = self.0.iter().filter(|key| key.algorithm == header.alg);
        keys.filter(|key| key.kid.is_some() && key.kid == header.kid)
    }

    /// Others of its algorithm that it may be signed with: those without a name, and all when the
    /// token names none.
    pub(super) fn nameless<'a>(
        &'a self,
        header: &'a Header,
    ) -> impl Iterator<Item = &'a VerifyingKey> + Clone {
        let keys = self.0.iter().filter(|key| key.algorithm == header.alg);
        keys.filter(|key| key.kid.is_none() || header.kid.is_none())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// The keys of a file: a public key in PEM, or a set in JSON.
    pub(super) fn of_file(bytes: &[u8]) -> Result<Self, String> {
        match bytes.trim_ascii_start().starts_with(b"{") {
            true => Self::of_json(bytes, true),
            false => Self::of_pem(bytes),
        }
    }

    fn of_pem(pem: &[u8]) -> Result<Self, String> {
        let has = |words: &str| {
            pem.windows(words.len())
                .any(|part| part == words.as_bytes())
        };
        if has("PRIVATE KEY-----") {
            return Err("it holds a private key: give the public one, which checks tokens".into());
        }
        let readers = [
            DecodingKey::from_rsa_pem,
            DecodingKey::from_ec_pem,
            DecodingKey::from_ed_pem,
        ];
        let key = readers.into_iter().find_map(|read| read(pem).ok());
        let key = key.ok_or("there is no public key in it (PEM: RSA, P-256 or Ed25519)")?;
        Ok(Self(vec![VerifyingKey::new(None, key)?]))
    }

    /// A secret. Editors and `echo` end a line, which is not part of it.
    pub(super) fn of_secret(bytes: &[u8]) -> Result<Self, String> {
        if bytes.starts_with(b"-----BEGIN") {
            return Err("it is a key in PEM and no secret: name it in access.keys".into());
        }
        let key = DecodingKey::from_secret(secret(bytes)?);
        Ok(Self(vec![VerifyingKey::new(None, key)?]))
    }

    /// A set of keys in JSON (RFC 7517). Keys of other kinds, and for other purposes, are left out:
    /// an issuer may publish them for others. Secrets only where they are not published.
    pub(super) fn of_json(json: &[u8], takes_secrets: bool) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Document {
            keys: Vec<Value>,
        }
        let document: Document =
            serde_json::from_slice(json).map_err(|_| "it is no set of keys (JWKS)")?;
        if document.keys.len() > MOST {
            return Err(format!("it has more than {MOST} keys"));
        }
        let keys = document.keys.into_iter();
        let keys = keys.filter_map(|key| VerifyingKey::of_jwk(key, takes_secrets));
        Ok(Self(keys.collect()))
    }
}

/// The secret of a file.
pub(super) fn secret(bytes: &[u8]) -> Result<&[u8], String> {
    let end = bytes.iter().rposition(|byte| !b"\r\n".contains(byte));
    let secret = &bytes[..end.map_or(0, |last| last + 1)];
    match secret.len() {
        SECRET.. => Ok(secret),
        _ => Err(format!("a secret must have {SECRET} bytes or more")),
    }
}

impl VerifyingKey {
    fn new(kid: Option<String>, key: DecodingKey) -> Result<Self, String> {
        let bytes = match key.kind() {
            DecodingKeyKind::SecretOrDer(bytes) => bytes,
            DecodingKeyKind::RsaModulusExponent { n, .. } => n,
        };
        let length = bytes.len();
        let (algorithm, fits, needed) = match key.family() {
            AlgorithmFamily::Hmac => (Algorithm::HS256, length >= SECRET, "32 bytes or more"),
            AlgorithmFamily::Rsa => (Algorithm::RS256, length >= MODULUS, "2048 bits or more"),
            AlgorithmFamily::Ec => (Algorithm::ES256, length == POINT, "the curve P-256"),
            AlgorithmFamily::Ed => (Algorithm::EdDSA, length == 32, "the curve Ed25519"),
        };
        match fits {
            true => Ok(Self {
                kid,
                algorithm,
                key,
            }),
            false => Err(format!("a key for {algorithm:?} must have {needed}")),
        }
    }

    /// `None`: it is not for signing tokens that are understood here.
    fn of_jwk(json: Value, takes_secrets: bool) -> Option<Self> {
        let jwk: Jwk = serde_json::from_value(json).ok()?;
        let is_known = match &jwk.algorithm {
            AlgorithmParameters::RSA(_) => true,
            AlgorithmParameters::EllipticCurve(key) => key.curve == EllipticCurve::P256,
            AlgorithmParameters::OctetKeyPair(key) => key.curve == EllipticCurve::Ed25519,
            AlgorithmParameters::OctetKey(_) => takes_secrets,
            _ => false,
        };
        let common = &jwk.common;
        let is_for_signing = matches!(common.public_key_use, None | Some(PublicKeyUse::Signature));
        if !is_known || !is_for_signing {
            return None;
        }
        let key = Self::new(common.key_id.clone(), DecodingKey::from_jwk(&jwk).ok()?).ok()?;
        let named = common.key_algorithm.map(Algorithm::try_from);
        let agrees = named.is_none_or(|named| named.ok() == Some(key.algorithm));
        agrees.then_some(key)
    }
}
