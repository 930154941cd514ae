//! The settings of the internal port.

use crate::listener::is_loopback;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Good enough where only this machine can ask.
const DEFAULT_PASSWORD: &str = "safe-chat";

/// Where the internal port listens, and who may manage the node there.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Config {
    /// The address. Default 127.0.0.1.
    pub host: String,
    /// The port; 0: any free one. Default 8558.
    pub port: u16,
    /// The host under which others reach the internal port. Default: `host`, or the node's name
    /// when that is all addresses.
    pub advertise: Option<String>,
    /// Milliseconds after which a connection that asks nothing more is closed. 1000 to 3600000,
    /// default 75000: longer than the 60 s that load balancers and scrapers keep connections for.
    pub keep_alive_ms: u64,
    /// Who may manage the node (HTTP Basic authentication). Default admin.
    pub user: String,
    /// The password for that. Printed nowhere. Default safe-chat, with which a node that listens
    /// beyond loopback does not start; empty (in the config file): there is no management, only
    /// /live, /ready and /metrics.
    #[serde(serialize_with = "crate::secret::hidden")]
    pub password: Option<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            host: "127.0.0.1".into(),
            port: 8558,
            advertise: None,
            keep_alive_ms: 75_000,
            user: "admin".into(),
            password: None,
        }
    }
}

impl Config {
    /// The password that counts.
    pub fn password(&self) -> &str {
        self.password.as_deref().unwrap_or(DEFAULT_PASSWORD)
    }

    /// Says what is wrong, if something is.
    pub fn validate(&self) -> Result<(), String> {
        if self.password() == DEFAULT_PASSWORD && !self.is_loopback() {
            return Err(format!(
                "ops.password is the default one and ops.host {} is no loopback address, so that anybody there could manage this node: \
                 set SAFE_CHAT_OPS__PASSWORD, or password = \"\" under [ops] in the config file for no management",
                self.host
            ));
        }
        if !(1_000..=3_600_000).contains(&self.keep_alive_ms) {
            let wrong = self.keep_alive_ms;
            return Err(format!(
                "ops.keep_alive_ms must be 1000 to 3600000, not {wrong}"
            ));
        }
        let visible = |host: &str| !host.is_empty() && host.bytes().all(|b| b.is_ascii_graphic());
        if self
            .advertise
            .as_deref()
            .is_some_and(|host| !visible(host) || host.len() > 253)
        {
            return Err(
                "ops.advertise must be the name or the address of a host, without a port".into(),
            );
        }
        if self.user.is_empty() || self.user.contains(':') {
            return Err(
                "ops.user must not be empty, and HTTP Basic authentication allows no colon in it"
                    .into(),
            );
        }
        Ok(())
    }

    pub(super) fn is_loopback(&self) -> bool {
        is_loopback(&self.host)
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            host,
            port,
            advertise,
            keep_alive_ms,
            user,
            ..
        } = self;
        f.debug_struct("Config")
            .field("host", host)
            .field("port", port)
            .field("advertise", advertise)
            .field("keep_alive_ms", keep_alive_ms)
            .field("user", user)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_password_is_for_loopback_only() {
        let at = |host: &str, password: &str| Config {
            host: host.into(),
            password: Some(password.into()),
            ..Config::default()
        };
        for host in ["127.0.0.1", "127.0.0.2", "::1", "localhost"] {
            assert_eq!(at(host, DEFAULT_PASSWORD).validate(), Ok(()), "{host}");
        }
        for host in ["0.0.0.0", "::", "192.0.2.1", "internal.example"] {
            let refused = at(host, DEFAULT_PASSWORD).validate().unwrap_err();
            assert!(
                refused.contains(host) && refused.contains("SAFE_CHAT_OPS__PASSWORD"),
                "{refused}"
            );
            assert_eq!(at(host, "another").validate(), Ok(()), "{host}");
            assert_eq!(at(host, "").validate(), Ok(()), "{host}");
        }
    }

    #[test]
    fn the_password_is_not_printed() {
        let config = Config {
            password: Some("very secret".into()),
            ..Config::default()
        };
        assert!(!format!("{config:?}{}", serde_json::to_string(&config).unwrap()).contains("very"));
    }
}
