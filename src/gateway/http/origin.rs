//! Which web pages may open sessions and send messages here. A browser says with each WebSocket and each POST which page asked for it, and asks nobody
//! whether the page may: without this check any page that a user visits could act with what the user's browser reaches (cross-site WebSocket hijacking).
//! Programs other than browsers send no Origin, or whichever they like: this protects users, not the service.

use super::{answer::refuse, guard::Guard};
use crate::{
    gateway::metrics,
    room::{Reason, Rejection},
};
use axum::{
    extract::{Request, State},
    http::{
        HeaderMap, Uri,
        header::{HOST, ORIGIN},
        uri::Authority,
    },
    middleware::Next,
    response::Response,
};
use std::sync::Arc;

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
    /// Origins such as `https://chat.example`, or `*` for all. The error is the first text that is neither.
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

    /// Whether a request may come from where it says it comes from.
    fn allow(&self, headers: &HeaderMap) -> bool {
        let mut all = headers.get_all(ORIGIN).iter();
        let (first, more) = (all.next(), all.next());
        let Some(origin) = first else { return true };
        if self.any {
            return true;
        }
        // `null`, which a sandboxed page says, is no site.
        let Some(site) = origin
            .to_str()
            .ok()
            .filter(|_| more.is_none())
            .and_then(Site::parse)
        else {
            return false;
        };
        let here = headers
            .get(HOST)
            .and_then(|host| host.to_str().ok())
            .is_some_and(|host| site.is_at(host));
        here || self.others.contains(&site)
    }
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

    /// Whether it is what the client calls this server. Which scheme the client used is not known behind a proxy, so a port that is not said is the
    /// page's own usual one.
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
    if guard.origins().allow(request.headers()) {
        return next.run(request).await;
    }
    metrics::limited("origin");
    // Of the protocol's reasons with 403 the one that says nothing of the user or the key: clients give neither up because of it.
    let message = "a page of this origin may not come in: the operator names others than the server's own in gateway.allowed_origins";
    refuse(&Rejection::new(Reason::NotMember, message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn allows(allowed: &[&str], host: &'static str, origin: &'static str) -> bool {
        let origins = Origins::parse(
            &allowed
                .iter()
                .map(|text| (*text).to_owned())
                .collect::<Vec<_>>(),
        )
        .unwrap();
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_static(host));
        if !origin.is_empty() {
            headers.insert(ORIGIN, HeaderValue::from_static(origin));
        }
        origins.allow(&headers)
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
