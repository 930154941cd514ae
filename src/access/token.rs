//! Tokens: what one must be to be believed, and what it says then.

use super::{
    Pattern, Right,
    keys::{KeySet, secret},
};
use crate::room::{Reason, Rejection, Token, UserId};
use jsonwebtoken::{
    Algorithm, EncodingKey, Header, Validation, decode, decode_header, encode, errors::ErrorKind,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Keys of one source and kind (those with the token's name; others) that are tried at most for one
/// token.
const TRIES: usize = 8;
/// Patterns of rooms in one token, at most.
const ROOMS: usize = 256;

/// What a token may be used for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rights {
    /// Whether its bearer may read.
    pub read: bool,
    /// Whether its bearer may say something.
    pub write: bool,
}

impl Rights {
    /// Whether one of them is there.
    pub fn has(self, right: Right) -> bool {
        match right {
            Right::Read => self.read,
            Right::Write => self.write,
        }
    }
}

/// What a token says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Grant {
    pub(super) user: UserId,
    pub(super) rooms: Vec<Pattern>,
    pub(super) rights: Rights,
    pub(super) until: SystemTime,
}

/// What is checked of every token besides its signature.
#[derive(Debug, Clone, Default)]
pub(super) struct Checks {
    pub(super) audience: Vec<String>,
    pub(super) issuer: Vec<String>,
    pub(super) leeway: Duration,
}

/// Why a token is not believed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// No key is known that it could be signed with.
    UnknownKey,
    /// It is no token, or its signature does not fit. Whoever made it is told no more.
    Unsigned,
    /// It was good, until it expired.
    Expired,
    /// It is signed, and says something that it must not.
    Says(String),
}

impl From<Failure> for Rejection {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::UnknownKey | Failure::Unsigned => Self::new(
                Reason::TokenInvalid,
                "this is no token that is signed with a key that is known here",
            ),
            Failure::Expired => Self::new(
                Reason::TokenExpired,
                "the token has expired: come with a new one",
            ),
            Failure::Says(what) => Self::new(Reason::TokenInvalid, what),
        }
    }
}

/// What a token grants, if one of the keys has signed it. Those with the name that the token gives
/// are tried first. When there is none, a signature that fits no other key is of a key that is not
/// known, maybe not yet.
pub(super) fn verify(token: &Token, keys: [&KeySet; 2], checks: &Checks) -> Result<Grant, Failure> {
    let text = token.as_str();
    if text.len() > Token::MAX {
        let most = Token::MAX;
        return Err(Failure::Says(format!(
            "the token has more than {most} bytes: name fewer rooms in it, by patterns"
        )));
    }
    let header = decode_header(text).map_err(|_| Failure::Unsigned)?;
    // What a header calls critical must be understood (RFC 7515, 4.1.11), and nothing is here.
    if header.crit.is_some() {
        return Err(Failure::Unsigned);
    }
    let named = keys.iter().flat_map(|keys| keys.named(&header).take(TRIES));
    let others = keys
        .iter()
        .flat_map(|keys| keys.nameless(&header).take(TRIES));
    let is_known = header.kid.is_none() || named.clone().next().is_some();
    let mut found = Err(Failure::UnknownKey);
    for candidate in named.chain(others) {
        let validation = checks.validation(candidate.algorithm);
        match decode::<Map<String, Value>>(text, &candidate.key, &validation) {
            // The library counts the second of the expiry itself, which is too long.
            Ok(data) => {
                let grant = checks.grant(&data.claims)?;
                let counts = grant.until > SystemTime::now();
                return counts.then_some(grant).ok_or(Failure::Expired);
            }
            Err(error) => found = Err(failure(error.kind())),
        }
        if found != Err(Failure::Unsigned) {
            return found;
        }
    }
    match found {
        Err(Failure::Unsigned) if !is_known => Err(Failure::UnknownKey),
        found => found,
    }
}

fn failure(kind: &ErrorKind) -> Failure {
    let says = |what: &str| Failure::Says(what.into());
    match kind {
        ErrorKind::ExpiredSignature => Failure::Expired,
        ErrorKind::ImmatureSignature => says("the token is not valid yet (nbf)"),
        ErrorKind::InvalidIssuer => says("the token is of another issuer (iss)"),
        ErrorKind::InvalidAudience => says("the token is not for this service (aud)"),
        ErrorKind::MissingRequiredClaim(claim) | ErrorKind::InvalidClaimFormat(claim) => {
            Failure::Says(format!("the token needs {claim}, in the form of RFC 7519"))
        }
        _ => Failure::Unsigned,
    }
}

impl Checks {
    fn validation(&self, algorithm: Algorithm) -> Validation {
        let mut validation = Validation::new(algorithm);
        let mut required = vec!["exp", "sub"];
        validation.leeway = self.leeway.as_secs();
        validation.validate_nbf = true;
        if !self.audience.is_empty() {
            validation.set_audience(&self.audience);
            required.push("aud");
        }
        if !self.issuer.is_empty() {
            validation.set_issuer(&self.issuer);
            required.push("iss");
        }
        validation.set_required_spec_claims(&required);
        validation
    }

    /// What the claims of a signed token mean.
    fn grant(&self, claims: &Map<String, Value>) -> Result<Grant, Failure> {
        let says = |what: &str| Failure::Says(what.into());
        // The library looks only at those that are text.
        if self.audience.is_empty() && claims.get("aud").is_some_and(|aud| !aud.is_null()) {
            return Err(says(
                "the token is for a service (aud), and none is named here",
            ));
        }
        let user = claims.get("sub").and_then(Value::as_str);
        let user = user.and_then(|user| UserId::parse(user).ok());
        let user = user.ok_or_else(|| {
            says("the token needs sub, a user: 1 to 64 characters of A-Z a-z 0-9 _ -")
        })?;
        let rooms = words(claims.get("rooms")).filter(|rooms| rooms.len() <= ROOMS);
        let rooms = rooms.and_then(|rooms| {
            let patterns = rooms.into_iter().map(|room| Pattern::parse(room).ok());
            patterns.collect::<Option<Vec<_>>>()
        });
        let rooms = rooms.ok_or_else(|| {
            says("the token needs rooms: up to 256 names, in which * stands for any characters")
        })?;
        let rights = match claims.get("rights") {
            None | Some(Value::Null) => Rights {
                read: true,
                write: true,
            },
            rights => {
                let rights = words(rights)
                    .ok_or_else(|| says("rights of a token are words, such as read and write"))?;
                Rights {
                    read: rights.contains(&"read"),
                    write: rights.contains(&"write"),
                }
            }
        };
        // It was checked already that there is one.
        let end = claims.get("exp").and_then(Value::as_f64).unwrap_or(0.0);
        let end = Duration::try_from_secs_f64(end).unwrap_or(Duration::MAX);
        let end = end.saturating_add(self.leeway);
        let far = UNIX_EPOCH + Duration::from_secs(u32::MAX.into());
        Ok(Grant {
            user,
            rooms,
            rights,
            until: UNIX_EPOCH.checked_add(end).unwrap_or(far),
        })
    }
}

/// One word, or a list of them. `None`: neither.
fn words(value: Option<&Value>) -> Option<Vec<&str>> {
    match value? {
        Value::String(word) => Some(vec![word]),
        Value::Array(items) => items.iter().map(Value::as_str).collect(),
        _ => None,
    }
}

/// What a token is made to say, for tries and tests.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Claims {
    /// The user.
    pub sub: String,
    /// Names of rooms, or patterns.
    pub rooms: Vec<String>,
    /// `read`, `write`.
    pub rights: Vec<String>,
    /// When it expires, in seconds since 1970.
    pub exp: u64,
    /// For which service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aud: Option<String>,
    /// By whom.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iss: Option<String>,
}

/// Signs a token with the private key, or the secret, of a file. The error says what is wrong with
/// that.
pub fn sign(claims: &Claims, kid: Option<String>, file: &[u8]) -> Result<String, String> {
    type Read = fn(&[u8]) -> jsonwebtoken::errors::Result<EncodingKey>;
    let readers: [(Algorithm, Read); 3] = [
        (Algorithm::RS256, EncodingKey::from_rsa_pem),
        (Algorithm::ES256, EncodingKey::from_ec_pem),
        (Algorithm::EdDSA, EncodingKey::from_ed_pem),
    ];
    let (algorithm, key) = if file.starts_with(b"-----BEGIN") {
        let mut found = readers
            .into_iter()
            .filter_map(|(algorithm, read)| Some((algorithm, read(file).ok()?)));
        found.next().ok_or(
            "there is no private key in it (PEM, PKCS #8: openssl genpkey makes one of RSA, P-256 \
             or Ed25519)",
        )?
    } else {
        (Algorithm::HS256, EncodingKey::from_secret(secret(file)?))
    };
    let header = Header {
        kid,
        ..Header::new(algorithm)
    };
    encode(&header, claims, &key).map_err(|why| format!("it cannot sign: {why}"))
}
