//! What can be set about traces.

use crate::secret::HIDDEN;
use axum::http::{HeaderName, HeaderValue, Uri};
use percent_encoding::percent_decode_str;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};
use std::{collections::HashMap, fmt, time::Duration};

/// The path of traces at a collector.
const PATH: &str = "/v1/traces";

/// Where traces go, and how many.
#[derive(Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Config {
    /// A collector that takes OTLP over HTTP, such as `http://127.0.0.1:4318`. Default: empty, no
    /// traces.
    pub endpoint: String,
    /// Headers of each request to it, as `name=value`, the value percent-encoded. Their values are
    /// printed nowhere. Default: none.
    #[serde(serialize_with = "names_only")]
    pub headers: Vec<String>,
    /// Which share of what clients send this node traces, 0 to 1. Default 1.
    pub ratio: f64,
    /// How many traces this node begins per second at most, 1 to 10000. Default 10.
    pub per_second: u32,
    /// How many spans wait for the collector at most, 512 to 1000000; more are dropped and counted.
    /// Default 4096.
    pub queue: usize,
    /// How long a request to the collector may take, in milliseconds, 100 to 60000. Default 5000.
    pub timeout_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            endpoint: String::new(),
            headers: Vec::new(),
            ratio: 1.0,
            per_second: 10,
            queue: 4096,
            timeout_ms: 5_000,
        }
    }
}

impl fmt::Debug for Config {
    /// Without the headers.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("endpoint", &self.endpoint)
            .field("ratio", &self.ratio)
            .field("per_second", &self.per_second)
            .field("queue", &self.queue)
            .field("timeout_ms", &self.timeout_ms)
            .finish_non_exhaustive()
    }
}

impl Config {
    /// Says what is wrong, if something is.
    pub fn validate(&self) -> Result<(), String> {
        if self.is_on() {
            self.url()?;
            self.headers()?;
        }
        if !(0.0..=1.0).contains(&self.ratio) {
            return Err(format!(
                "trace.ratio is {}; it must be from 0 to 1",
                self.ratio
            ));
        }
        let within = |name: &str, value: u64, least: u64, most: u64| {
            let fits = (least..=most).contains(&value);
            fits.then_some(()).ok_or_else(|| {
                format!("trace.{name} is {value}; it must be from {least} to {most}")
            })
        };
        within("per_second", self.per_second.into(), 1, 10_000)?;
        within("queue", self.queue as u64, 512, 1_000_000)?;
        within("timeout_ms", self.timeout_ms, 100, 60_000)
    }

    /// Whether there are traces.
    pub fn is_on(&self) -> bool {
        !self.endpoint.is_empty()
    }

    /// Where spans are sent: the endpoint, and the path of traces unless it has that already.
    pub(super) fn url(&self) -> Result<String, String> {
        // Not quoted: a password may stand in it.
        let bad = "trace.endpoint must be http://HOST:PORT or https://HOST:PORT of a collector, \
                   without a login: that goes into trace.headers";
        let uri: Uri = self.endpoint.parse().map_err(|_| bad.to_owned())?;
        let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        let host = uri.host().unwrap_or_default();
        if !is_http || host.is_empty() || authority.contains('@') || uri.query().is_some() {
            return Err(bad.to_owned());
        }
        let base = self.endpoint.trim_end_matches('/');
        Ok(match base.ends_with(PATH) {
            true => base.to_owned(),
            false => format!("{base}{PATH}"),
        })
    }

    /// The headers by name.
    pub(super) fn headers(&self) -> Result<HashMap<String, String>, String> {
        let read = |(n, header): (usize, &String)| {
            let (name, value) = header.split_once('=')?;
            let name: HeaderName = name.trim().parse().ok()?;
            let value = percent_decode_str(value.trim()).decode_utf8().ok()?;
            HeaderValue::from_str(&value).ok()?;
            Some((name.to_string(), value.into_owned())).filter(|_| n < 64)
        };
        let all = self.headers.iter().enumerate();
        all.map(|(n, header)| {
            // Not quoted: it may be a secret.
            read((n, header)).ok_or_else(|| {
                format!(
                    "trace.headers: header {} is not name=value with a percent-encoded value",
                    n + 1
                )
            })
        })
        .collect()
    }

    pub(super) fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }
}

fn names_only<S: Serializer>(headers: &[String], serializer: S) -> Result<S::Ok, S::Error> {
    let shown = headers.iter().map(|header| match header.split_once('=') {
        Some((name, _)) => format!("{name}={HIDDEN}"),
        None => HIDDEN.to_owned(),
    });
    serializer.collect_seq(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(endpoint: &str) -> Config {
        Config {
            endpoint: endpoint.into(),
            ..Config::default()
        }
    }

    #[test]
    fn an_endpoint_is_the_address_of_a_collector_without_a_login() {
        for (given, url) in [
            ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
            ("http://[::1]:4318/", "http://[::1]:4318/v1/traces"),
            ("https://otlp.example/x", "https://otlp.example/x/v1/traces"),
            ("http://c:4318/v1/traces", "http://c:4318/v1/traces"),
        ] {
            assert_eq!(at(given).url().as_deref(), Ok(url), "{given}");
            assert!(at(given).validate().is_ok(), "{given}");
        }
        for bad in [
            "127.0.0.1:4318",
            "grpc://c:4317",
            "http://",
            "http://somebody:geheim@c:4318",
            "http://c:4318/?key=geheim",
            "not an address",
        ] {
            let why = at(bad).validate().unwrap_err();
            assert!(why.contains("trace.endpoint"), "{why}");
            assert!(!why.contains("geheim"), "{why}");
        }
        assert!(Config::default().validate().is_ok());
        assert!(!Config::default().is_on());
    }

    #[test]
    fn headers_are_read_and_never_shown() {
        let mut config = at("http://c:4318");
        config.headers = vec![
            "Authorization=Basic%20geheim%3D".into(),
            "x-team = a".into(),
        ];
        let headers = config.headers().unwrap();
        assert_eq!(headers["authorization"], "Basic geheim=");
        assert_eq!(headers["x-team"], "a");
        let shown = format!("{config:?} {}", serde_json::to_string(&config).unwrap());
        assert!(!shown.contains("geheim"), "{shown}");
        assert!(shown.contains("Authorization=(hidden)"), "{shown}");
        for bad in ["geheim", "a b=geheim", "x=geheim%0a", "x=%ffgeheim"] {
            config.headers = vec![bad.into()];
            let why = config.validate().unwrap_err();
            assert!(why.contains("trace.headers"), "{why}");
            assert!(!why.contains("geheim"), "{why}");
        }
    }

    #[test]
    fn bounds_are_said() {
        let bad = [
            Config {
                ratio: 1.1,
                ..Config::default()
            },
            Config {
                ratio: f64::NAN,
                ..Config::default()
            },
            Config {
                per_second: 0,
                ..Config::default()
            },
            Config {
                queue: 1,
                ..Config::default()
            },
            Config {
                timeout_ms: 0,
                ..Config::default()
            },
        ];
        for config in bad {
            let why = config.validate().unwrap_err();
            assert!(why.contains("must be from"), "{why}");
        }
    }
}
