//! Where gateways are, and the names and keys that go into the path of a request.

use std::{fmt, str::FromStr};

/// A gateway: `ws://HOST[:PORT][/PREFIX]` or `wss://...`, without a slash at the end.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Gateway(String);

impl Gateway {
    /// Whether it is reached with TLS.
    pub fn is_secure(&self) -> bool {
        self.0.starts_with("wss://")
    }

    /// What this client calls the server when it signs for it: small letters, and the port unless
    /// it is the usual one.
    pub fn host(&self) -> String {
        let (_, rest) = self.0.split_once("://").unwrap_or_default();
        let authority = rest.split('/').next().unwrap_or_default();
        let (_, host) = authority.rsplit_once('@').unwrap_or(("", authority));
        let usual = if self.is_secure() { ":443" } else { ":80" };
        let host = host.to_ascii_lowercase();
        host.strip_suffix(usual).map(str::to_owned).unwrap_or(host)
    }
}

impl fmt::Display for Gateway {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl FromStr for Gateway {
    type Err = String;

    /// Accepts http, https, ws and wss, or no scheme at all; a fragment (`#room`, from a shared
    /// link) and a query are dropped.
    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim().split(['#', '?']).next().unwrap_or_default();
        let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
        let rest = rest.trim_end_matches('/');
        let scheme = match scheme {
            "http" | "ws" => "ws",
            "https" | "wss" => "wss",
            other => return Err(format!("{other}: is neither http, https, ws nor wss")),
        };
        if rest.is_empty() || rest.contains(char::is_whitespace) {
            return Err("no host in it; an address looks like http://127.0.0.1:8080".into());
        }
        Ok(Self(format!("{scheme}://{rest}")))
    }
}

/// Checks a user or a room: 1-64 of `A-Z a-z 0-9 _ -`.
///
/// # Errors
/// What a name must be.
pub fn check_name(text: &str) -> Result<(), String> {
    of_set(text, 64)
}

/// Checks a public key: 1-128 of the same characters.
///
/// # Errors
/// What a key must be; the key itself is not in it.
pub fn check_key(text: &str) -> Result<(), String> {
    of_set(text, 128)
}

fn of_set(text: &str, most: usize) -> Result<(), String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if (1..=most).contains(&text.len()) && text.chars().all(allowed) {
        Ok(())
    } else {
        Err(format!("must be 1-{most} of A-Z a-z 0-9 _ -"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> String {
        text.parse::<Gateway>().unwrap().to_string()
    }

    #[test]
    fn a_server_is_called_as_browsers_call_it() {
        for (gateway, host) in [
            ("http://Chat.Example:80/talk", "chat.example"),
            ("https://chat.example:443", "chat.example"),
            ("https://chat.example:80", "chat.example:80"),
            ("http://127.0.0.1:8080", "127.0.0.1:8080"),
            ("ws://[::1]:80", "[::1]"),
            ("ws://[::1]:8080", "[::1]:8080"),
        ] {
            assert_eq!(gateway.parse::<Gateway>().unwrap().host(), host);
        }
    }

    #[test]
    fn web_addresses_become_websocket_addresses() {
        assert_eq!(address("http://127.0.0.1:8080"), "ws://127.0.0.1:8080");
        assert_eq!(address("https://chat.example/"), "wss://chat.example");
        assert_eq!(address("wss://chat.example/eu/"), "wss://chat.example/eu");
        assert_eq!(address("127.0.0.2:8080"), "ws://127.0.0.2:8080");
        assert_eq!(
            address("http://127.0.0.1:8080/#lobby"),
            "ws://127.0.0.1:8080"
        );
    }

    #[test]
    fn other_schemes_and_empty_hosts_are_refused() {
        assert!("ftp://x".parse::<Gateway>().is_err());
        assert!("http://".parse::<Gateway>().is_err());
        assert!("".parse::<Gateway>().is_err());
    }

    #[test]
    fn names_hold_only_what_needs_no_escaping() {
        assert!(check_name("Harry_2-b").is_ok());
        for bad in ["", "a b", "a/b", "ä", "a?b", &"x".repeat(65)] {
            assert!(check_name(bad).is_err(), "{bad:?}");
        }
    }
}
