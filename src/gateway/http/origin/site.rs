//! Origins of pages, as browsers write them, and those that an operator names.

use axum::http::{Uri, uri::Authority};

/// Schemes of addresses that pages do not come from: whoever names one means another.
const NO_PAGES: [&str; 3] = ["ws", "wss", "ftp"];
/// What a page says that has no origin: one in a sandbox, or of a file. It is allowed only when it
/// is spelt out, for anybody can make such a page.
const WITHOUT: [&str; 2] = ["null", "file://"];
/// What the host of a pattern begins with.
const ANY_BELOW: &str = "*.";

/// Whose pages may come in besides this server's own.
#[derive(Debug, Clone, Default)]
pub(in crate::gateway) struct Origins {
    any: bool,
    named: Vec<Named>,
}

/// What an operator names.
#[derive(Debug, Clone)]
enum Named {
    Site(Site),
    /// All sites below a domain: `https://*.example.org`. Its host is the domain.
    Below(Site),
    /// What is compared as it is: `null`, and the origins of app shells, `capacitor://localhost`.
    Text(String),
}

/// Scheme, host and port: what the same-origin policy of browsers compares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Site {
    scheme: String,
    host: String,
    port: u16,
}

impl Origins {
    /// Origins such as `https://chat.example`, patterns of them, or `*` for all. The error is the
    /// first text that is none.
    pub(in crate::gateway) fn parse(texts: &[String]) -> Result<Self, String> {
        let mut origins = Self::default();
        for text in texts {
            match text.as_str() {
                "*" => origins.any = true,
                text => origins.named.push(Named::parse(text).ok_or(text)?),
            }
        }
        Ok(origins)
    }

    /// Whether all pages may come in, whatever they say.
    pub(super) fn are_any(&self) -> bool {
        self.any
    }

    /// Whether the operator names the page that says this of its origin.
    pub(super) fn name(&self, origin: &str) -> bool {
        let site = Site::parse(origin);
        let is_named = |named: &Named| match (named, &site) {
            (Named::Site(named), Some(site)) => named == site,
            (Named::Below(domain), Some(site)) => site.is_below(domain),
            (Named::Text(text), _) => text.eq_ignore_ascii_case(origin),
            _ => false,
        };
        self.any || self.named.iter().any(is_named)
    }
}

impl Named {
    fn parse(text: &str) -> Option<Self> {
        if let Some((scheme, domain)) = text.split_once("://")
            && let Some(domain) = domain.strip_prefix(ANY_BELOW)
        {
            return Site::parse(&format!("{scheme}://{domain}")).map(Self::Below);
        }
        let is_text = || WITHOUT.contains(&text) || is_of_app_shell(text);
        match Site::parse(text) {
            Some(site) => Some(Self::Site(site)),
            None => is_text().then(|| Self::Text(text.to_ascii_lowercase())),
        }
    }
}

/// Whether it is an origin of a scheme that only programs have: `capacitor://localhost`.
fn is_of_app_shell(text: &str) -> bool {
    let Some((scheme, host)) = text.split_once("://") else {
        return false;
    };
    let is_web = matches!(scheme, "http" | "https") || NO_PAGES.contains(&scheme);
    let plain = |text: &str, more: &str| {
        let allowed = |c: char| c.is_ascii_alphanumeric() || more.contains(c);
        !text.is_empty() && text.chars().all(allowed)
    };
    let starts = scheme.starts_with(|c: char| c.is_ascii_alphabetic());
    !is_web && starts && plain(scheme, "+-.") && plain(host, "-._:")
}

impl Site {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let uri: Uri = text.parse().ok()?;
        let scheme = uri.scheme_str()?.to_ascii_lowercase();
        let usual = usual_port(&scheme)?;
        let plain = matches!(
            uri.path_and_query().map(|rest| rest.as_str()),
            None | Some("/")
        ) && !text.ends_with('/')
            && !text.contains(['@', '*']);
        plain.then(|| Self {
            scheme,
            host: uri.host().unwrap_or_default().to_ascii_lowercase(),
            port: uri.port_u16().unwrap_or(usual),
        })
    }

    /// The origin of a page, as text.
    pub(super) fn of_page(text: &str) -> Option<String> {
        let uri: Uri = text.parse().ok()?;
        let origin = format!("{}://{}", uri.scheme_str()?, uri.authority()?);
        Self::parse(&origin).map(|_| origin)
    }

    /// Whether the page that says this of its origin is of the server that the client calls `here`.
    pub(super) fn is_own(origin: &str, here: &str) -> bool {
        Self::parse(origin).is_some_and(|site| site.is_at(here))
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

    fn is_below(&self, domain: &Self) -> bool {
        let above = self.host.strip_suffix(&domain.host);
        let is_below = above.is_some_and(|above| above.len() > 1 && above.ends_with('.'));
        is_below && (&self.scheme, self.port) == (&domain.scheme, domain.port)
    }
}

fn usual_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(named: &[&str], host: &str, origin: &str) -> bool {
        let named: Vec<_> = named.iter().map(|text| (*text).to_owned()).collect();
        Origins::parse(&named).unwrap().name(origin) || Site::is_own(origin, host)
    }

    #[test]
    fn by_default_only_the_servers_own_pages_may() {
        for (host, origin, expected) in [
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
            ("localhost", "capacitor://localhost", false),
        ] {
            assert_eq!(allows(&[], host, origin), expected, "{origin} at {host}");
        }
    }

    #[test]
    fn others_may_when_they_are_named() {
        let named = ["https://app.example", "http://localhost:3000"];
        for (origin, expected) in [
            ("https://app.example", true),
            ("https://app.example:443", true),
            ("http://localhost:3000", true),
            ("https://chat.example", true),
            ("http://app.example", false),
            ("https://a.app.example", false),
        ] {
            assert_eq!(allows(&named, "chat.example", origin), expected, "{origin}");
        }
        assert!(
            allows(&["*"], "chat.example", "https://evil.example")
                && allows(&["*"], "chat.example", "null")
        );
    }

    #[test]
    fn a_pattern_names_all_below_a_domain_and_not_the_domain() {
        let named = ["https://*.example.org", "http://*.test:8080"];
        for (origin, expected) in [
            ("https://app.example.org", true),
            ("https://a.b.example.org", true),
            ("https://APP.example.org", true),
            ("https://example.org", false),
            ("https://.example.org", false),
            ("https://badexample.org", false),
            ("https://example.org.evil.example", false),
            ("http://app.example.org", false),
            ("https://app.example.org:8443", false),
            ("http://a.test:8080", true),
            ("http://a.test", false),
        ] {
            assert_eq!(allows(&named, "chat.example", origin), expected, "{origin}");
        }
    }

    #[test]
    fn app_shells_and_pages_without_an_origin_are_spelt_out() {
        let named = [
            "capacitor://localhost",
            "tauri://localhost",
            "null",
            "file://",
        ];
        for origin in named {
            assert!(allows(&named, "chat.example", origin), "{origin}");
        }
        for origin in [
            "ionic://localhost",
            "capacitor://other",
            "capacitor://localhost:1",
            "",
        ] {
            assert!(!allows(&named, "chat.example", origin), "{origin}");
        }
        assert!(!allows(&["file://"], "chat.example", "null"));
    }

    #[test]
    fn what_is_no_origin_is_named() {
        for wrong in [
            "chat.example",
            "https://chat.example/",
            "https://chat.example/page",
            "https://*.example.org/page",
            "https://a*.example.org",
            "https://*",
            "*.example.org",
            "ftp://chat.example",
            "wss://chat.example",
            "file:///page.html",
            "capacitor://",
            "capacitor://localhost/page",
            "Null",
            "",
        ] {
            assert_eq!(
                Origins::parse(&["https://a.example".into(), wrong.into()]).unwrap_err(),
                wrong
            );
        }
    }
}
