//! Which web pages may open sessions and send messages here. A browser says with each WebSocket and
//! each POST which page asked for it, and asks nobody whether the page may: without this check any
//! page that a user visits could act with what the user's browser reaches (cross-site WebSocket
//! hijacking). Programs other than browsers send no Origin, or whichever they like: this protects
//! users, not the service.

use super::{answer::refuse, guard::Guard, upgrade};
use crate::{
    gateway::metrics,
    room::{Reason, Rejection},
};
use axum::{
    extract::{Request, State},
    http::{
        Method, Uri,
        header::{HOST, ORIGIN, REFERER},
        request::Parts,
        uri::Authority,
    },
    middleware::Next,
    response::Response,
};
use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// How often the same refused origin is told to the log.
const TELL_EVERY: Duration = Duration::from_secs(600);
/// Refused origins that are told in that time: who makes them up fills no log.
const TOLD: usize = 32;
/// Characters of an origin or a host in the log.
const SHOWN: usize = 100;

/// Whose pages may come in besides this server's own.
#[derive(Debug, Clone, Default)]
pub(in crate::gateway) struct Origins {
    any: bool,
    others: Vec<Site>,
}

/// Scheme, host and port: what the same-origin policy of browsers compares.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Site {
    scheme: String,
    host: String,
    port: u16,
}

impl Origins {
    /// Origins such as `https://chat.example`, or `*` for all. The error is the first text that is
    /// neither.
    pub(in crate::gateway) fn parse(texts: &[String]) -> Result<Self, String> {
        let mut origins = Self::default();
        for text in texts {
            match text.as_str() {
                "*" => origins.any = true,
                text => origins.others.push(Site::parse(text).ok_or(text)?),
            }
        }
        Ok(origins)
    }

    /// The origin that a request may not come from, if so.
    fn refused<'a>(&self, request: &'a Parts) -> Option<&'a str> {
        let (headers, uri) = (&request.headers, &request.uri);
        let mut all = headers.get_all(ORIGIN).iter();
        let (first, more) = (all.next(), all.next());
        if self.any {
            return None;
        }
        let Some(origin) = first else {
            let page = headers.get(REFERER)?.to_str().ok()?;
            // With a mere question a browser sends no Origin to the page's own server, although
            // it will with the WebSocket. To the browser it may be another one than to us: a
            // proxy between may rewrite Host.
            let asks = request.method == Method::GET && !upgrade::is_wanted(request);
            let site = Site::of_page(page).filter(|_| asks)?;
            return (!self.knows(&site, uri, host(request))).then_some(page);
        };
        let text = origin.to_str().ok().filter(|_| more.is_none());
        // `null`, which a sandboxed page says, is no site.
        let site = text.and_then(Site::parse);
        let allowed = site.is_some_and(|site| self.knows(&site, uri, host(request)));
        (!allowed).then_some(text.unwrap_or("?"))
    }

    fn knows(&self, site: &Site, uri: &Uri, host: &str) -> bool {
        let here = uri.authority().map_or(host, Authority::as_str);
        site.is_at(here) || self.others.contains(site)
    }
}

fn host(request: &Parts) -> &str {
    let host = request.headers.get(HOST);
    host.and_then(|host| host.to_str().ok()).unwrap_or_default()
}

impl Site {
    fn parse(text: &str) -> Option<Self> {
        let uri: Uri = text.parse().ok()?;
        let scheme = uri.scheme_str()?.to_ascii_lowercase();
        let port = uri.port_u16().or_else(|| usual_port(&scheme))?;
        let plain = matches!(
            uri.path_and_query().map(|rest| rest.as_str()),
            None | Some("/")
        ) && !text.ends_with('/')
            && !text.contains('@');
        plain.then(|| Self {
            scheme,
            host: uri.host().unwrap_or_default().to_ascii_lowercase(),
            port,
        })
    }

    /// The site of a page.
    fn of_page(text: &str) -> Option<Self> {
        let uri: Uri = text.parse().ok()?;
        Self::parse(&format!("{}://{}", uri.scheme_str()?, uri.authority()?))
    }

    /// Whether it is what the client calls this server. Which scheme the client used is not known
    /// behind a proxy, so a port that is not said is the page's own usual one.
    fn is_at(&self, host: &str) -> bool {
        let Ok(authority) = host.parse::<Authority>() else {
            return false;
        };
        let port = authority.port_u16().or_else(|| usual_port(&self.scheme));
        authority.host().eq_ignore_ascii_case(&self.host) && port == Some(self.port)
    }
}

fn usual_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    }
}

/// Refuses requests that a page of another site asks for.
pub(super) async fn check(
    State(guard): State<Arc<Guard>>,
    request: Request,
    next: Next,
) -> Response {
    let (parts, body) = request.into_parts();
    let Some(origin) = guard.origins().refused(&parts) else {
        return next.run(Request::from_parts(parts, body)).await;
    };
    metrics::limited("origin");
    let host = host(&parts);
    if guard.told.is_new(origin, host) {
        tracing::warn!(
            origin = shown(origin),
            host = shown(host),
            "a page was refused: it is of another origin than this server, as the request names \
             it; let a proxy pass Host on, or name the origin in gateway.allowed_origins"
        );
    }
    let message = "a page of this origin may not come in: the operator names others than the \
                   server's own in gateway.allowed_origins (a proxy must pass Host on)";
    refuse(&Rejection::new(Reason::BadOrigin, message))
}

fn shown(text: &str) -> String {
    let short: String = text.chars().take(SHOWN).collect();
    short.escape_debug().to_string()
}

/// Which refused origins the log was told of lately.
#[derive(Default)]
pub(super) struct Told(Mutex<Lately>);

#[derive(Default)]
struct Lately {
    since: Option<Instant>,
    /// Origin and host.
    known: HashSet<(String, String)>,
}

impl Told {
    /// Whether the log is to be told of this one now.
    fn is_new(&self, origin: &str, host: &str) -> bool {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if told.since.is_none_or(|since| since.elapsed() >= TELL_EVERY) {
            told.since = Some(Instant::now());
            told.known.clear();
        }
        told.known.len() < TOLD && told.known.insert((shown(origin), shown(host)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn request(host: &'static str) -> Parts {
        let (mut parts, ()) = axum::http::Request::new(()).into_parts();
        parts.headers.insert(HOST, HeaderValue::from_static(host));
        parts
    }

    #[test]
    fn a_question_of_a_page_is_from_where_the_page_is() {
        let origins = Origins::parse(&["https://app.example".into()]).unwrap();
        for (page, allowed) in [
            ("http://chat.example/room?x=1", true),
            ("https://app.example/", true),
            ("http://public.example/", false),
            ("about:blank", true),
        ] {
            let mut parts = request("chat.example");
            parts
                .headers
                .insert(REFERER, HeaderValue::from_static(page));
            assert_eq!(origins.refused(&parts).is_none(), allowed, "{page}");
        }
        let mut elsewhere = request("backend:8080");
        elsewhere.uri = "http://chat.example/x".parse().unwrap();
        let origin = HeaderValue::from_static("http://chat.example");
        elsewhere.headers.insert(ORIGIN, origin);
        assert_eq!(
            origins.refused(&elsewhere),
            None,
            "the target counts, not Host"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_origin_is_told_once_in_a_while() {
        let told = Told::default();
        assert!(told.is_new("a", "h") && !told.is_new("a", "h") && told.is_new("a", "i"));
        assert_eq!(
            (0..1000)
                .filter(|n| told.is_new(&n.to_string(), "h"))
                .count(),
            TOLD - 2
        );
        tokio::time::advance(TELL_EVERY).await;
        assert!(told.is_new("a", "h"));
    }

    fn allows(allowed: &[&str], host: &'static str, origin: &'static str) -> bool {
        let origins = Origins::parse(
            &allowed
                .iter()
                .map(|text| (*text).to_owned())
                .collect::<Vec<_>>(),
        )
        .unwrap();
        let mut parts = request(host);
        if !origin.is_empty() {
            let origin = HeaderValue::from_static(origin);
            parts.headers.insert(ORIGIN, origin);
        }
        origins.refused(&parts).is_none()
    }

    #[test]
    fn by_default_only_the_servers_own_pages_and_programs_may() {
        for (host, origin, expected) in [
            ("chat.example:8080", "", true),
            ("chat.example:8080", "http://chat.example:8080", true),
            ("Chat.Example", "https://chat.example", true),
            ("chat.example:443", "https://chat.example", true),
            ("chat.example", "http://chat.example:80", true),
            ("[::1]:8080", "http://[::1]:8080", true),
            ("chat.example", "https://evil.example", false),
            ("chat.example", "https://chat.example.evil.example", false),
            ("chat.example", "https://evil.example/chat.example", false),
            ("chat.example", "https://chat.example@evil.example", false),
            ("chat.example:8080", "http://chat.example:9090", false),
            ("chat.example:8080", "http://chat.example", false),
            ("chat.example", "null", false),
            ("chat.example", "file://", false),
        ] {
            assert_eq!(allows(&[], host, origin), expected, "{origin} at {host}");
        }
    }

    #[test]
    fn others_may_when_they_are_named() {
        let named = ["https://app.example", "http://localhost:3000"];
        assert!(allows(&named, "chat.example", "https://app.example"));
        assert!(allows(&named, "chat.example", "https://app.example:443"));
        assert!(allows(&named, "chat.example", "http://localhost:3000"));
        assert!(
            allows(&named, "chat.example", "https://chat.example"),
            "its own always"
        );
        assert!(
            !allows(&named, "chat.example", "http://app.example"),
            "another scheme"
        );
        assert!(
            allows(&["*"], "chat.example", "https://evil.example")
                && allows(&["*"], "chat.example", "null")
        );
    }

    #[test]
    fn what_is_no_origin_is_named() {
        for wrong in [
            "chat.example",
            "https://chat.example/",
            "https://chat.example/page",
            "ftp://chat.example",
            "",
        ] {
            assert_eq!(
                Origins::parse(&["https://a.example".into(), wrong.into()]).unwrap_err(),
                wrong
            );
        }
    }
}
