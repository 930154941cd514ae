//! Who may manage a node: HTTP Basic authentication (RFC 7617), compared in constant time, and no
//! faster than anybody may guess. Who guesses keeps nobody else out: wrong logins count for the
//! address that they come from, and a request without a login is no guess.

use super::{Config, manage::ApiError};
use crate::listener::Origin;
use axum::http::{HeaderMap, Method, StatusCode, header, uri::Authority};
use base64::{Engine, prelude::BASE64_STANDARD};
use governor::{
    DefaultDirectRateLimiter, DefaultKeyedRateLimiter, Quota, RateLimiter, clock::Clock,
};
use std::{
    collections::HashMap,
    net::IpAddr,
    num::NonZeroU32,
    sync::{Mutex, PoisonError},
    time::Duration,
};
use subtle::ConstantTimeEq;
use tokio::time::Instant;

/// Requests per second of those who log in right: more than an operator's scripts need.
const RATE: NonZeroU32 = NonZeroU32::new(20).expect("above 0");
const BURST: NonZeroU32 = NonZeroU32::new(100).expect("above 0");
/// Wrong logins per second from one address: too few to guess a password.
const GUESSES: NonZeroU32 = NonZeroU32::new(1).expect("above 0");
const GUESSES_AT_ONCE: NonZeroU32 = NonZeroU32::new(20).expect("above 0");
/// Addresses that guess and are kept, until those that stopped are forgotten.
const GUESSERS: usize = 1024;

/// The guard of the management.
pub(super) struct Guard {
    user: String,
    /// Empty: there is no management.
    password: String,
    /// The names by which it may be asked, beside addresses; `None`: any.
    names: Option<Vec<String>>,
    requests: DefaultDirectRateLimiter,
    guesses: Guesses,
}

/// How a request logs in.
enum Login {
    Right,
    Wrong,
    /// It does not try to. What a web page can have a browser send is of this kind.
    None,
}

impl Guard {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            user: config.user.clone(),
            password: config.password().to_owned(),
            names: config.is_loopback().then(|| {
                let names = ["localhost", &config.host].into_iter();
                let names = names.chain(config.advertise.as_deref());
                names.map(str::to_owned).collect()
            }),
            requests: RateLimiter::direct(Quota::per_second(RATE).allow_burst(BURST)),
            guesses: Guesses::default(),
        }
    }

    /// Who may manage the node.
    pub(super) fn user(&self) -> &str {
        &self.user
    }

    /// Whether a request may be looked at.
    pub(super) fn check(
        &self,
        from: IpAddr,
        method: &Method,
        headers: &HeaderMap,
    ) -> Result<(), ApiError> {
        if self.password.is_empty() {
            return Err(ApiError::new(
                StatusCode::NOT_FOUND,
                "not_found",
                "this node is not managed over HTTP: its ops.password is empty",
            ));
        }
        if !self.is_asked_by_its_name(headers) {
            return Err(ApiError::new(
                StatusCode::FORBIDDEN,
                "forbidden",
                "this node is managed from its own machine: ask it as localhost or by its address, \
                 or set ops.advertise to the name that you ask",
            ));
        }
        let origin = Origin::of(from);
        match self.login(headers) {
            // Right or wrong is not told to who guesses too fast.
            Login::Right | Login::Wrong if self.guesses.is_blocked(origin) => {
                Err(too_many(Duration::from_secs(1)))
            }
            Login::Right => self.admit(method, headers),
            Login::Wrong => {
                self.guesses.note(origin);
                tracing::warn!(%from, "a login to the management was wrong");
                Err(unauthorized())
            }
            Login::None => Err(unauthorized()),
        }
    }

    /// Whether a request with the right login may be looked at.
    fn admit(&self, method: &Method, headers: &HeaderMap) -> Result<(), ApiError> {
        self.requests
            .check()
            .map_err(|until| too_many(until.wait_time_from(self.requests.clock().now())))?;
        // A browser that an operator has logged in with sends the password for every page; what
        // changes something must not come from one, and what it shows is not for other pages.
        let is_of_another = headers
            .get("sec-fetch-site")
            .is_some_and(|site| site == "cross-site" || site == "same-site");
        let is_page_itself = headers
            .get("sec-fetch-mode")
            .is_some_and(|mode| mode == "navigate");
        let is_read = method == Method::GET;
        if headers.contains_key(header::ORIGIN) || is_of_another && !(is_read && is_page_itself) {
            return Err(ApiError::new(
                StatusCode::FORBIDDEN,
                "forbidden",
                "a web page may not manage a node: use curl",
            ));
        }
        Ok(())
    }

    /// On loopback the default password is allowed. A web page can have its own name point there
    /// (DNS rebinding) and then ask as the same site; its name shows it.
    fn is_asked_by_its_name(&self, headers: &HeaderMap) -> bool {
        let (Some(names), Some(host)) = (&self.names, headers.get(header::HOST)) else {
            return true;
        };
        let host = host.to_str().ok().and_then(|host| host.parse().ok());
        host.is_some_and(|host: Authority| {
            let name = host.host().trim_matches(['[', ']']);
            name.parse::<IpAddr>().is_ok()
                || name.ends_with(".localhost")
                || names.iter().any(|own| own.eq_ignore_ascii_case(name))
        })
    }

    fn login(&self, headers: &HeaderMap) -> Login {
        let Some(value) = headers.get(header::AUTHORIZATION) else {
            return Login::None;
        };
        match self.knows(value.to_str().unwrap_or_default()) {
            true => Login::Right,
            false => Login::Wrong,
        }
    }

    fn knows(&self, value: &str) -> bool {
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

fn unauthorized() -> ApiError {
    ApiError::new(
        StatusCode::UNAUTHORIZED,
        "unauthorized",
        "no login, or a wrong one: log in as ops.user with ops.password (HTTP Basic authentication)",
    )
}

fn too_many(wait: Duration) -> ApiError {
    ApiError {
        retry_after: Some(wait.as_secs() + 1),
        ..ApiError::new(
            StatusCode::TOO_MANY_REQUESTS,
            "rate_limited",
            "too many requests: try again later",
        )
    }
}

/// How often addresses logged in wrong, and until when those that did so too often are not heard.
struct Guesses {
    allowed: DefaultKeyedRateLimiter<Origin>,
    blocked: Mutex<HashMap<Origin, Instant>>,
}

impl Default for Guesses {
    fn default() -> Self {
        let quota = Quota::per_second(GUESSES).allow_burst(GUESSES_AT_ONCE);
        Self {
            allowed: RateLimiter::keyed(quota),
            blocked: Mutex::default(),
        }
    }
}

impl Guesses {
    fn is_blocked(&self, origin: Origin) -> bool {
        let blocked = self.blocked.lock().unwrap_or_else(PoisonError::into_inner);
        blocked
            .get(&origin)
            .is_some_and(|until| Instant::now() < *until)
    }

    fn note(&self, origin: Origin) {
        if self.allowed.len() >= GUESSERS {
            self.allowed.retain_recent();
        }
        let Err(until) = self.allowed.check_key(&origin) else {
            return;
        };
        let now = Instant::now();
        let mut blocked = self.blocked.lock().unwrap_or_else(PoisonError::into_inner);
        if blocked.len() >= GUESSERS {
            blocked.retain(|_, until| now < *until);
        }
        blocked.insert(
            origin,
            now + until.wait_time_from(self.allowed.clock().now()),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const ELSEWHERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

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
                .check(HERE, &Method::GET, &login("Basic", "me:pass:word"))
                .is_ok()
                && guard
                    .check(HERE, &Method::POST, &login("basic", "me:pass:word"))
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
                    .check(HERE, &Method::GET, &login("Basic", wrong))
                    .unwrap_err()
                    .status,
                StatusCode::UNAUTHORIZED,
                "{wrong}"
            );
        }
        assert!(
            guard
                .check(HERE, &Method::GET, &login("Bearer", "me:pass:word"))
                .is_err()
        );
        assert!(guard.check(HERE, &Method::GET, &HeaderMap::new()).is_err());
    }

    #[test]
    fn a_web_page_changes_nothing() {
        let mut headers = login("Basic", "me:pass:word");
        headers.insert(
            header::ORIGIN,
            HeaderValue::from_static("https://evil.example"),
        );
        assert_eq!(
            guard()
                .check(HERE, &Method::POST, &headers)
                .unwrap_err()
                .status,
            StatusCode::FORBIDDEN
        );
    }

    #[test]
    fn another_page_reads_nothing_and_a_link_to_this_one_works() {
        let read = |fetched: &[(&'static str, &'static str)]| {
            let mut headers = login("Basic", "me:pass:word");
            for (name, value) in fetched {
                headers.insert(*name, HeaderValue::from_static(value));
            }
            guard().check(HERE, &Method::GET, &headers).is_ok()
        };
        let cross = ("sec-fetch-site", "cross-site");
        assert!(!read(&[("origin", "https://evil.example")]));
        assert!(!read(&[cross, ("sec-fetch-mode", "no-cors")]));
        assert!(read(&[cross, ("sec-fetch-mode", "navigate")]));
        assert!(read(&[
            ("sec-fetch-site", "same-origin"),
            ("sec-fetch-mode", "cors")
        ]));
        assert!(read(&[("sec-fetch-site", "none")]));
    }

    #[test]
    fn on_loopback_no_other_name_leads_to_it() {
        let asked = |listens: &str, as_host: &'static str| {
            let guard = Guard::new(&Config {
                host: listens.into(),
                advertise: Some("node-1.example".into()),
                password: Some("pass:word".into()),
                user: "me".into(),
                ..Config::default()
            });
            let mut headers = login("Basic", "me:pass:word");
            headers.insert(header::HOST, HeaderValue::from_static(as_host));
            guard.check(HERE, &Method::GET, &headers).is_ok()
        };
        for own in [
            "127.0.0.1:8558",
            "127.0.0.2",
            "[::1]:8558",
            "localhost:1",
            "Node-1.example",
        ] {
            assert!(asked("127.0.0.1", own), "{own}");
        }
        assert!(!asked("127.0.0.1", "evil.example:8558"));
        // There the default password is not allowed.
        assert!(asked("0.0.0.0", "node-1.internal:8558"));
    }

    /// What a login gets.
    fn status(guard: &Guard, from: IpAddr, headers: &HeaderMap) -> StatusCode {
        let checked = guard.check(from, &Method::GET, headers);
        checked.map_or_else(|error| error.status, |()| StatusCode::OK)
    }

    #[test]
    fn guessing_is_slow_and_keeps_only_its_own_address_out() {
        let (guard, right) = (guard(), login("Basic", "me:pass:word"));
        let wrong = login("Basic", "me:guess");
        let answers = (0..1000).map(|_| status(&guard, ELSEWHERE, &wrong));
        let tried = answers.filter(|status| *status == StatusCode::UNAUTHORIZED);
        assert!((21..50).contains(&tried.count()));
        assert_eq!(
            status(&guard, ELSEWHERE, &right),
            StatusCode::TOO_MANY_REQUESTS
        );
        assert_eq!(status(&guard, HERE, &right), StatusCode::OK);
    }

    #[test]
    fn requests_without_a_login_keep_nobody_out() {
        let guard = guard();
        let none = HeaderMap::new();
        let answers = (0..1000).map(|_| status(&guard, HERE, &none));
        let refused = answers.filter(|status| *status == StatusCode::UNAUTHORIZED);
        assert_eq!(refused.count(), 1000);
        assert_eq!(
            status(&guard, HERE, &login("Basic", "me:pass:word")),
            StatusCode::OK
        );
    }

    #[test]
    fn who_logs_in_right_has_a_rate_of_its_own() {
        let (guard, right) = (guard(), login("Basic", "me:pass:word"));
        let answers = (0..1000).map(|_| status(&guard, HERE, &right));
        let heard = answers.filter(|status| *status == StatusCode::OK).count();
        assert!((100..150).contains(&heard), "{heard}");
    }

    #[test]
    fn without_a_password_there_is_no_management() {
        let guard = Guard::new(&Config {
            password: Some(String::new()),
            ..Config::default()
        });
        assert_eq!(
            guard
                .check(HERE, &Method::GET, &login("Basic", "admin:"))
                .unwrap_err()
                .status,
            StatusCode::NOT_FOUND
        );
    }
}
