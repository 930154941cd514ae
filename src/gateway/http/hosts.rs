//! What this server is called. A client signs the name by which it came, so that a server that it
//! never meant to prove anything to cannot pass the proof on as its own.

use crate::{gateway::Config, wire::proof};
use axum::http::{
    HeaderMap, Uri,
    header::{HOST, HeaderName, ORIGIN},
    request::Parts,
    uri::Authority,
};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// The names by which a request may have come: those that the operator says
/// (`gateway.public_hosts`), else what the request says.
pub(super) struct Hosts(Vec<String>);

impl Hosts {
    pub(super) fn of(config: &Config, request: &Parts) -> Self {
        if !config.public_hosts.is_empty() {
            let hosts = config.public_hosts.iter();
            return Self(hosts.filter_map(|host| proof::host(host)).collect());
        }
        let of_target = request.uri.authority().map(Authority::as_str);
        let of_header = || text(&request.headers, &HOST);
        // A page that was let in is one of this server's, or of a site that the operator names: a
        // proxy between may change Host, and not what the browser calls the server.
        let page = text(&request.headers, &ORIGIN).and_then(|page| page.parse::<Uri>().ok());
        let of_page = page.as_ref().and_then(Uri::authority);
        let said = [of_target.or_else(of_header), of_page.map(Authority::as_str)];
        Self(said.into_iter().flatten().filter_map(proof::host).collect())
    }

    /// Whether a client that calls its server so means this one. The log is told of the first that
    /// does not.
    pub(super) fn include(&self, host: &str) -> bool {
        static TOLD: AtomicBool = AtomicBool::new(false);
        let is_here = proof::host(host).is_some_and(|host| self.0.contains(&host));
        if !is_here && !TOLD.swap(true, Relaxed) {
            tracing::warn!(
                "a proof of a key was refused: it is for another host than this server is known by; \
                 let a proxy pass Host on, or name the hosts in gateway.public_hosts"
            );
        }
        is_here
    }

    #[cfg(test)]
    pub(super) fn none() -> Self {
        Self(Vec::new())
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn hosts(public: &[&str], host: &'static str, origin: &'static str) -> Hosts {
        let (mut parts, ()) = axum::http::Request::new(()).into_parts();
        parts.headers.insert(HOST, HeaderValue::from_static(host));
        if !origin.is_empty() {
            let origin = HeaderValue::from_static(origin);
            parts.headers.insert(ORIGIN, origin);
        }
        let config = Config {
            public_hosts: public.iter().map(ToString::to_string).collect(),
            ..Config::default()
        };
        Hosts::of(&config, &parts)
    }

    #[test]
    fn a_server_is_called_as_its_operator_says_else_as_the_request_says() {
        let page = "https://chat.example";
        for (public, header, origin, host, expected) in [
            (&[][..], "Chat.example:443", "", "chat.example", true),
            (&[], "chat.example:8443", "", "chat.example:8443", true),
            (&[], "chat.example:8443", "", "chat.example", false),
            (&[], "[::1]:80", "", "[::1]", true),
            (&[], "[::1]:8080", "", "[::1]:8080", true),
            (&[], "", "", "", false),
            (&[], "backend:8080", page, "chat.example", true),
            (&[], "backend:8080", "null", "chat.example", false),
            (&["a.example"], "backend:8080", "", "a.example", true),
            (&["a.example"], "b.example", page, "b.example", false),
            (&["a.example"], "b.example", page, "chat.example", false),
            (
                &["a.example", "b.example:81"],
                "x",
                "",
                "b.example:81",
                true,
            ),
        ] {
            let is = hosts(public, header, origin).include(host);
            assert_eq!(is, expected, "{public:?} {header} {origin} {host}");
        }
    }
}
