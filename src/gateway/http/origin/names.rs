//! By which names this server may be asked. A page can have its own name lead here (DNS rebinding);
//! then its browser takes the two for one site, and sends no `Origin` with what it reads. Only the
//! name in the request shows it.

use crate::gateway::Config;
use axum::http::uri::Authority;
use std::net::IpAddr;

/// The names by which this server may be asked.
pub(in crate::gateway::http) struct Names {
    public: Vec<String>,
    any: bool,
}

impl Names {
    /// Those that the operator says; on loopback no others. Where TLS is spoken, browsers make sure
    /// of the name by the certificate.
    pub(in crate::gateway::http) fn of(config: &Config) -> Self {
        let says_nothing = config.public_hosts.is_empty() && !config.is_loopback();
        Self {
            public: config
                .public_hosts
                .iter()
                .filter_map(|host| name(host))
                .collect(),
            any: config.tls_certificate.is_some() || says_nothing,
        }
    }

    /// Whether `host`, what a request calls this server, is one of them. Nobody can have an address
    /// lead elsewhere, nor what ends in `localhost`. A request without one is of no browser.
    pub(super) fn include(&self, host: &str) -> bool {
        let is_own = |name: String| {
            name.parse::<IpAddr>().is_ok()
                || name == "localhost"
                || name.ends_with(".localhost")
                || self.public.contains(&name)
        };
        self.any || host.is_empty() || name(host).is_some_and(is_own)
    }
}

/// The name of a host, without its port.
fn name(host: &str) -> Option<String> {
    let authority: Authority = host.parse().ok()?;
    let name = authority.host().trim_matches(['[', ']']);
    Some(name.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_somebody_else_can_lead_here_is_not_its_own() {
        let config = |listens: &str, public: &[&str]| Config {
            host: listens.into(),
            public_hosts: public.iter().map(ToString::to_string).collect(),
            ..Config::default()
        };
        let tls = Config {
            tls_certificate: Some("chat.pem".into()),
            ..config("127.0.0.1", &[])
        };
        let (here, public) = (
            config("127.0.0.1", &[]),
            config("0.0.0.0", &["chat.example"]),
        );
        let both = config("localhost", &["Chat.example:8443"]);
        let anywhere = config("0.0.0.0", &[]);
        for (config, evil, chat) in [
            (here, false, false),
            (public, false, true),
            (both, false, true),
            (anywhere, true, true),
            (tls, true, true),
        ] {
            let names = Names::of(&config);
            for own in [
                "127.0.0.1:8080",
                "10.0.0.7",
                "[::1]:8080",
                "localhost:8080",
                "LOCALHOST",
                "chat.localhost",
                "",
            ] {
                assert!(names.include(own), "{own} {config:?}");
            }
            for host in [
                "evil.example",
                "evil.example:8080",
                "localhost.evil.example",
            ] {
                assert_eq!(names.include(host), evil, "{host} {config:?}");
            }
            for host in ["chat.example", "CHAT.example:8080"] {
                assert_eq!(names.include(host), chat, "{host} {config:?}");
            }
        }
    }
}
