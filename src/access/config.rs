//! What can be set about who may come in, with defaults and bounds.

use super::{Policy, policy::Rules, token::Checks};
use hyper::Uri;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{net::IpAddr, path::PathBuf, time::Duration};

/// Who may come into which room. What keys and tokens are is in docs/access.md.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Config {
    /// What rooms ask of those who read them or say something in them, as PATTERN=POLICY: in a
    /// pattern * stands for any characters, and the first that fits the room counts. A policy is
    /// open (everybody; a name belongs to the first key that comes with it), token (whoever brings
    /// a token of an issuer whose keys are known) or proven (who proves possession of the key).
    /// Example: lobby=open,team-*=token. Default none.
    pub rooms: Vec<String>,
    /// The policy of all other rooms: open, token or proven. Default open.
    pub default: Policy,
    /// Files with keys that tokens may be signed with: a public key in PEM (RSA for RS256, P-256
    /// for ES256, Ed25519 for EdDSA), or a set of keys in JSON (JWKS). Read again when they change.
    /// Default none.
    pub keys: Vec<PathBuf>,
    /// Files with secrets that tokens may be signed with (HS256), each of 32 bytes or more. Whoever
    /// knows one can sign tokens. Default none.
    pub hs256_keys: Vec<PathBuf>,
    /// Where the issuer publishes its keys (JWKS): https://..., or http:// on loopback. Fetched at
    /// the start, from time to time, and when a token names a key that is not known. Default none.
    pub jwks: Option<String>,
    /// The file of the authority (PEM) that vouches for that server. Default: those of the system.
    pub jwks_ca: Option<PathBuf>,
    /// Milliseconds after which the keys are fetched again. 10000 to 86400000, default 300000.
    pub jwks_refresh_ms: u64,
    /// Milliseconds between two fetches at least, however many tokens name keys that are not known.
    /// 1000 to 3600000, default 10000.
    pub jwks_cooldown_ms: u64,
    /// Milliseconds that a fetch may take. 100 to 60000, default 5000.
    pub jwks_timeout_ms: u64,
    /// Names of this service: a token must name one of them in aud. Default none: then a token that
    /// names any in aud is refused.
    pub audience: Vec<String>,
    /// Issuers: a token must name one of them in iss. Default none: it may be anybody with a key.
    pub issuer: Vec<String>,
    /// Seconds that the clocks of issuers may be apart from this one. 0 to 600, default 30.
    pub leeway_s: u64,
    /// Whether a token may also come in an address, as ?token=...: the EventSource of browsers
    /// cannot send headers. Addresses stand in histories, and in logs of proxies. Default false.
    pub in_url: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            rooms: Vec::new(),
            default: Policy::Open,
            keys: Vec::new(),
            hs256_keys: Vec::new(),
            jwks: None,
            jwks_ca: None,
            jwks_refresh_ms: 300_000,
            jwks_cooldown_ms: 10_000,
            jwks_timeout_ms: 5_000,
            audience: Vec::new(),
            issuer: Vec::new(),
            leeway_s: 30,
            in_url: false,
        }
    }
}

impl Config {
    /// Says what is wrong, if something is.
    pub fn validate(&self) -> Result<(), String> {
        let rules = Rules::parse(&self.rooms, self.default);
        let rules = rules.map_err(|why| format!("access.rooms: {why}"))?;
        let has_keys = !self.keys.is_empty() || !self.hs256_keys.is_empty() || self.jwks.is_some();
        if rules.has(Policy::Token) && !has_keys {
            return Err(
                "access.rooms: rooms ask for tokens, and no key is known that would sign one: set \
                 access.keys, access.hs256_keys or access.jwks"
                    .into(),
            );
        }
        let within = |name: &str, value: u64, least: u64, most: u64| {
            let fits = (least..=most).contains(&value);
            fits.then_some(())
                .ok_or_else(|| format!("access.{name} must be {least} to {most}, not {value}"))
        };
        within("jwks_refresh_ms", self.jwks_refresh_ms, 10_000, 86_400_000)?;
        within("jwks_cooldown_ms", self.jwks_cooldown_ms, 1_000, 3_600_000)?;
        within("jwks_timeout_ms", self.jwks_timeout_ms, 100, 60_000)?;
        within("leeway_s", self.leeway_s, 0, 600)?;
        match (&self.jwks, self.address()) {
            (Some(_), None) => Err(
                "access.jwks must be https://HOST/PATH, or http:// on loopback, without a login: \
                 whoever could change the keys on their way could come into every room"
                    .into(),
            ),
            _ => Ok(()),
        }
    }

    /// Whether everybody may come into every room.
    pub fn is_open(&self) -> bool {
        self.rules().are_open()
    }

    pub(super) fn rules(&self) -> Rules {
        // What is no rule is refused when the configuration is loaded.
        Rules::parse(&self.rooms, self.default).unwrap_or_default()
    }

    pub(super) fn checks(&self) -> Checks {
        Checks {
            audience: self.audience.clone(),
            issuer: self.issuer.clone(),
            leeway: Duration::from_secs(self.leeway_s),
        }
    }

    /// Where keys are published, if that can be trusted.
    pub(super) fn address(&self) -> Option<Uri> {
        let uri: Uri = self.jwks.as_ref()?.parse().ok()?;
        let host = uri.host()?.trim_matches(['[', ']']).to_owned();
        let is_here = host == "localhost"
            || host
                .parse::<IpAddr>()
                .is_ok_and(|address| address.is_loopback());
        let is_safe = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => is_here,
            _ => false,
        };
        let plain = !uri.authority()?.as_str().contains('@') && !host.is_empty();
        (is_safe && plain).then_some(uri)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token_rooms() -> Config {
        Config {
            rooms: vec!["team-*=token".into()],
            hs256_keys: vec!["secret".into()],
            ..Config::default()
        }
    }

    #[test]
    fn rooms_are_open_unless_somebody_says_otherwise() {
        assert_eq!(Config::default().validate(), Ok(()));
        assert!(Config::default().is_open());
        assert_eq!(token_rooms().validate(), Ok(()));
        assert!(!token_rooms().is_open());
    }

    #[test]
    fn what_cannot_be_kept_is_refused_and_not_open() {
        let config = Config {
            hs256_keys: Vec::new(),
            ..token_rooms()
        };
        assert!(config.validate().unwrap_err().contains("no key is known"));
        let config = Config {
            default: Policy::Proven,
            ..Config::default()
        };
        assert_eq!((config.validate(), config.is_open()), (Ok(()), false));
        let config = Config {
            leeway_s: 601,
            ..Config::default()
        };
        assert!(
            config
                .validate()
                .unwrap_err()
                .starts_with("access.leeway_s must be 0 to 600")
        );
    }

    #[test]
    fn keys_are_fetched_only_over_ways_that_nobody_can_change() {
        for (address, may) in [
            ("https://issuer.example/keys", true),
            ("http://127.0.0.1:9000/keys", true),
            ("http://[::1]:9000/keys", true),
            ("http://localhost/keys", true),
            ("http://issuer.example/keys", false),
            ("https://somebody:geheim@issuer.example/keys", false),
            ("file:///keys.json", false),
            ("/keys.json", false),
            ("", false),
        ] {
            let config = Config {
                jwks: Some(address.into()),
                ..token_rooms()
            };
            let told = config.validate();
            assert_eq!(told.is_ok(), may, "{address}");
            assert!(!format!("{told:?}").contains("geheim"), "{told:?}");
        }
    }
}
