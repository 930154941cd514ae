//! Who may manage a node: HTTP Basic authentication (RFC 7617), compared in constant time, and no
//! faster than anybody may guess.

use super::{Config, manage::ApiError};
use axum::http::{HeaderMap, Method, StatusCode, header};
use base64::{Engine, prelude::BASE64_STANDARD};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter, clock::Clock};
use std::num::NonZeroU32;
use subtle::ConstantTimeEq;

/// Requests per second, right and wrong ones: more than an operator's scripts need, too few to
/// guess a password.
const RATE: NonZeroU32 = NonZeroU32::new(20).expect("above 0");
const BURST: NonZeroU32 = NonZeroU32::new(100).expect("above 0");

/// The guard of the management.
pub(super) struct Guard {
    user: String,
    /// Empty: there is no management.
    password: String,
    requests: DefaultDirectRateLimiter,
}

impl Guard {
    pub(super) fn new(config: &Config) -> Self {
        let requests = RateLimiter::direct(Quota::per_second(RATE).allow_burst(BURST));
        Self {
            user: config.user.clone(),
            password: config.password().to_owned(),
            requests,
        }
    }

    /// Whether a request may be looked at.
    pub(super) fn check(&self, method: &Method, headers: &HeaderMap) -> Result<(), ApiError> {
        self.requests.check().map_err(|until| {
            let wait = until.wait_time_from(self.requests.clock().now());
            ApiError {
                retry_after: Some(wait.as_secs() + 1),
                ..ApiError::new(
                    StatusCode::TOO_MANY_REQUESTS,
                    "rate_limited",
                    "too many requests: try again later",
                )
            }
        })?;
        if self.password.is_empty() {
            return Err(ApiError::new(
                StatusCode::NOT_FOUND,
                "not_found",
                "this node is not managed over HTTP: its ops.password is empty",
            ));
        }
        if !self.knows(headers) {
            return Err(ApiError::new(
                StatusCode::UNAUTHORIZED,
                "unauthorized",
                "log in as ops.user with ops.password (HTTP Basic authentication)",
            ));
        }
        // A browser that an operator has logged in with sends the password for every page; what
        // changes something must not come from one.
        if method != Method::GET && headers.contains_key(header::ORIGIN) {
            return Err(ApiError::new(
                StatusCode::FORBIDDEN,
                "forbidden",
                "a web page may not manage a node: use curl",
            ));
        }
        Ok(())
    }

    fn knows(&self, headers: &HeaderMap) -> bool {
        let Some(value) = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
        else {
            return false;
        };
        let Some((scheme, encoded)) = value.split_once(' ') else {
            return false;
        };
        let decoded = BASE64_STANDARD.decode(encoded.trim()).unwrap_or_default();
        let given = decoded
            .iter()
            .position(|byte| *byte == b':')
            .map(|colon| (&decoded[..colon], &decoded[colon + 1..]));
        let (user, password) = given.unwrap_or_default();
        // Both are always compared, so that the time tells nothing but lengths.
        let same = user.ct_eq(self.user.as_bytes()) & password.ct_eq(self.password.as_bytes());
        scheme.eq_ignore_ascii_case("basic") && bool::from(same)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn guard() -> Guard {
        Guard::new(&Config {
            user: "me".into(),
            password: Some("pass:word".into()),
            ..Config::default()
        })
    }

    fn login(scheme: &str, text: &str) -> HeaderMap {
        let value = format!("{scheme} {}", BASE64_STANDARD.encode(text));
        HeaderMap::from_iter([(
            header::AUTHORIZATION,
            HeaderValue::from_str(&value).unwrap(),
        )])
    }

    #[test]
    fn only_the_right_password_of_the_right_user_is_let_in() {
        let guard = guard();
        assert!(
            guard
                .check(&Method::GET, &login("Basic", "me:pass:word"))
                .is_ok()
                && guard
                    .check(&Method::POST, &login("basic", "me:pass:word"))
                    .is_ok()
        );
        for wrong in [
            "me:pass",
            "me:pass:word ",
            "you:pass:word",
            "me",
            "",
            ":",
            "me:",
            ":pass:word",
        ] {
            assert_eq!(
                guard
                    .check(&Method::GET, &login("Basic", wrong))
                    .unwrap_err()
                    .status,
                StatusCode::UNAUTHORIZED,
                "{wrong}"
            );
        }
        assert!(
            guard
                .check(&Method::GET, &login("Bearer", "me:pass:word"))
                .is_err()
        );
        assert!(guard.check(&Method::GET, &HeaderMap::new()).is_err());
    }

    #[test]
    fn a_web_page_changes_nothing() {
        let mut headers = login("Basic", "me:pass:word");
        headers.insert(
            header::ORIGIN,
            HeaderValue::from_static("https://evil.example"),
        );
        assert_eq!(
            guard().check(&Method::POST, &headers).unwrap_err().status,
            StatusCode::FORBIDDEN
        );
    }

    #[test]
    fn guessing_is_slow() {
        let guard = guard();
        let tried = (0..1000).filter(|_| {
            guard
                .check(&Method::GET, &login("Basic", "me:guess"))
                .unwrap_err()
                .status
                == StatusCode::UNAUTHORIZED
        });
        assert!((100..150).contains(&tried.count()));
        assert_eq!(
            guard
                .check(&Method::GET, &login("Basic", "me:pass:word"))
                .unwrap_err()
                .status,
            StatusCode::TOO_MANY_REQUESTS
        );
    }

    #[test]
    fn without_a_password_there_is_no_management() {
        let guard = Guard::new(&Config {
            password: Some(String::new()),
            ..Config::default()
        });
        assert_eq!(
            guard
                .check(&Method::GET, &login("Basic", "admin:"))
                .unwrap_err()
                .status,
            StatusCode::NOT_FOUND
        );
    }
}
