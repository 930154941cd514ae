//! The settings of the internal port.

use crate::listener::is_loopback;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{fmt, path::PathBuf};

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
    /// The port at which /live, /ready and /metrics are answered instead, without a login, so that
    /// whoever watches a node need not reach its management; 0: any free one. Default none: they
    /// are answered at `port`.
    pub probes_port: Option<u16>,
    /// The address of that port. Default: `host`.
    pub probes_host: Option<String>,
    /// The operator of this node that needs no file, with every right (HTTP Basic authentication).
    /// Default admin.
    pub user: String,
    /// The password for that. Printed nowhere. Default safe-chat, with which a node that listens
    /// beyond loopback does not start; with `operators_file` there is no default, and no such
    /// operator unless this is set. Empty (in the config file): there is none either.
    #[serde(serialize_with = "crate::secret::hidden")]
    pub password: Option<String>,
    /// The file of operators, each on a line as NAME:ROLE:HASH, which `safe-chat operators hash`
    /// makes; a role is read or operate. Read again when it changes. Default none.
    pub operators_file: Option<PathBuf>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            host: "127.0.0.1".into(),
            port: 8558,
            advertise: None,
            keep_alive_ms: 75_000,
            probes_port: None,
            probes_host: None,
            user: "admin".into(),
            password: None,
            operators_file: None,
        }
    }
}

impl Config {
    /// The password with which a command logs in, unless it is told another one.
    pub fn password(&self) -> &str {
        self.password.as_deref().unwrap_or(DEFAULT_PASSWORD)
    }

    /// The name and the password of the operator that needs no file, if there is one. Whoever has a
    /// file has decided who may: then the default password, which everybody knows, is nobody's.
    pub(super) fn own_login(&self) -> Option<(&str, &str)> {
        let password = match (&self.password, &self.operators_file) {
            (Some(password), _) => password,
            (None, None) => DEFAULT_PASSWORD,
            (None, Some(_)) => return None,
        };
        (!password.is_empty()).then_some((&self.user, password))
    }

    /// Where probes are answered, if not where the node is managed.
    pub fn probes(&self) -> Option<(&str, u16)> {
        let host = self.probes_host.as_ref().unwrap_or(&self.host);
        self.probes_port.map(|port| (host.as_str(), port))
    }

    /// Says what is wrong, if something is.
    pub fn validate(&self) -> Result<(), String> {
        let is_default = |(_, password)| password == DEFAULT_PASSWORD;
        if self.own_login().is_some_and(is_default) && !self.is_loopback() {
            return Err(format!(
                "ops.password is the default one and ops.host {} is no loopback address, so that \
                 anybody there could manage this node: set SAFE_CHAT_OPS__PASSWORD or \
                 ops.operators_file, or password = \"\" under [ops] in the config file for no \
                 management",
                self.host
            ));
        }
        if self.probes_host.is_some() && self.probes_port.is_none() {
            return Err("ops.probes_host needs ops.probes_port".into());
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
            probes_port,
            probes_host,
            user,
            operators_file,
            password: _,
        } = self;
        f.debug_struct("Config")
            .field("host", host)
            .field("port", port)
            .field("advertise", advertise)
            .field("keep_alive_ms", keep_alive_ms)
            .field("probes_port", probes_port)
            .field("probes_host", probes_host)
            .field("user", user)
            .field("operators_file", operators_file)
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
    fn with_a_file_of_operators_there_is_no_default_password() {
        let mut config = Config {
            host: "0.0.0.0".into(),
            operators_file: Some("operators".into()),
            ..Config::default()
        };
        assert_eq!((config.validate(), config.own_login()), (Ok(()), None));
        config.password = Some(DEFAULT_PASSWORD.into());
        assert!(config.validate().is_err(), "it is still the default one");
        config.password = Some("another".into());
        assert_eq!(config.own_login(), Some(("admin", "another")));
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
