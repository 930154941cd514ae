//! How NATS is reached: where, as whom, with TLS or without.

use super::without_credentials;
use crate::{
    bus::nats::{self, Login},
    tls::{self, Trust},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{fmt, path::PathBuf};

const MIB: u64 = 1024 * 1024;

/// How NATS is reached, and how streams are made that are not there yet.
#[derive(Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Bus {
    /// `nats://[user:password@]host:port`, any of which may answer. Default nats://127.0.0.1:4222.
    pub servers: Vec<String>,
    /// The user. Default: none. Of this, a token, a login in `servers`, and the two files below one
    /// may be set.
    pub user: Option<String>,
    /// The user's password. Printed nowhere. Default: none.
    #[serde(serialize_with = "crate::secret::hidden")]
    pub password: Option<String>,
    /// A token, instead of a user. Printed nowhere. Default: none.
    #[serde(serialize_with = "crate::secret::hidden")]
    pub token: Option<String>,
    /// The file with the JWT and the seed of a user (`nsc`, `nats auth`). Read again at each login.
    /// Default: none.
    pub creds_file: Option<PathBuf>,
    /// The file with the seed of a user (`SU...`, `nk -gen user`). Read again at each login.
    /// Default: none.
    pub nkey_file: Option<PathBuf>,
    /// Connects with TLS only. Default: false, but true when another `tls_` is set, or an address
    /// begins with tls://. A server that asks for TLS gets it in any case.
    pub tls: bool,
    /// The file of the authorities (PEM) that vouch for the servers. Default: those of the system.
    pub tls_ca: Option<PathBuf>,
    /// The file of the certificate (PEM) that is shown to the servers, and below that of its key.
    /// Read again at each connection when it changed. Default: none.
    pub tls_certificate: Option<PathBuf>,
    /// The file of its private key (PEM, not encrypted).
    pub tls_key: Option<PathBuf>,
    /// TLS begins before the server says anything, as servers with `handshake_first` want it.
    /// Default false.
    pub tls_first: bool,
    /// Begins the names of all streams, buckets and subjects: 1 to 32 characters of `a-z 0-9 _ -`.
    /// Default chat.
    pub prefix: String,
    /// Copies of each stream and bucket: 1, 3 or 5. Default 1.
    pub replicas: usize,
    /// Bytes of commands that wait to be decided; beyond them clients are told `busy`. Default 256
    /// MiB.
    pub command_bytes: u64,
    /// Bytes of key packages that devices leave for sealed rooms, some 50 KB each; beyond them
    /// publishing is `busy`. At least 1048576, default 134217728. A stream that is there keeps its
    /// own (nats stream edit).
    pub key_bytes: u64,
    /// Bytes of welcomes that wait until devices fetch them; beyond them a device that is added
    /// comes in without one. At least 1048576, default 268435456. A stream that is there keeps its
    /// own.
    pub welcome_bytes: u64,
    /// Bytes of events that are kept for gateways when the journal is elsewhere. Default 1 GiB.
    pub event_bytes: u64,
}

impl Default for Bus {
    fn default() -> Self {
        let servers = vec!["nats://127.0.0.1:4222".into()];
        Self {
            servers,
            user: None,
            password: None,
            token: None,
            creds_file: None,
            nkey_file: None,
            tls: false,
            tls_ca: None,
            tls_certificate: None,
            tls_key: None,
            tls_first: false,
            prefix: "chat".into(),
            replicas: 1,
            command_bytes: 256 * MIB,
            key_bytes: 128 * MIB,
            welcome_bytes: 256 * MIB,
            event_bytes: 1024 * MIB,
        }
    }
}

impl Bus {
    /// Says what is wrong, if something is.
    pub fn validate(&self) -> Result<(), String> {
        if self.servers.is_empty() {
            return Err(
                "bus.servers is empty: name a NATS server with --nats nats://HOST:PORT".into(),
            );
        }
        nats::check_prefix(&self.prefix).map_err(|error| error.to_string())?;
        self.check_login()?;
        tls::check_pair(
            ["bus.tls_certificate", "bus.tls_key"],
            [self.tls_certificate.is_some(), self.tls_key.is_some()],
        )?;
        if ![1, 3, 5].contains(&self.replicas) {
            return Err(format!(
                "bus.replicas must be 1, 3 or 5, not {}",
                self.replicas
            ));
        }
        if self.command_bytes < MIB || self.event_bytes < MIB {
            return Err("bus.command_bytes and bus.event_bytes must be at least 1048576".into());
        }
        if self.key_bytes < MIB || self.welcome_bytes < MIB {
            return Err("bus.key_bytes and bus.welcome_bytes must be at least 1048576".into());
        }
        Ok(())
    }

    /// At most one way to log in, and that one whole.
    fn check_login(&self) -> Result<(), String> {
        let in_address = nats::check(&self.servers).map_err(|error| error.to_string())?;
        match (&self.user, &self.password) {
            (Some(_), None) => return Err("bus.user needs bus.password: set it, too".into()),
            (None, Some(_)) => return Err("bus.password needs bus.user: set it, too".into()),
            _ => {}
        }
        let ways = [
            ("bus.user", self.user.is_some()),
            ("bus.token", self.token.is_some()),
            ("bus.creds_file", self.creds_file.is_some()),
            ("bus.nkey_file", self.nkey_file.is_some()),
            ("a login in bus.servers", in_address),
        ];
        let mut set = ways.iter().filter(|(_, is_set)| *is_set);
        match (set.next(), set.next()) {
            (Some((one, _)), Some((other, _))) => Err(format!(
                "{one} and {other} are two ways to log in at NATS: set only one of them"
            )),
            _ => Ok(()),
        }
    }

    /// How to log in, besides what stands in the addresses.
    pub(crate) fn login(&self) -> Login {
        if let Some((name, password)) = self.user.clone().zip(self.password.clone()) {
            return Login::User { name, password };
        }
        let token = self.token.clone().map(Login::Token);
        token
            .or_else(|| self.creds_file.clone().map(Login::Creds))
            .or_else(|| self.nkey_file.clone().map(Login::Nkey))
            .unwrap_or_default()
    }

    /// How the servers are known, if TLS is wanted.
    pub(crate) fn tls(&self) -> Option<nats::Tls> {
        let trust = Trust {
            ca: self.tls_ca.clone(),
            pair: self.tls_certificate.clone().zip(self.tls_key.clone()),
            name: None,
        };
        let wanted = self.tls || self.tls_first || trust != Trust::default();
        wanted.then_some(nats::Tls {
            trust,
            first: self.tls_first,
        })
    }

    /// The servers for people: without users and passwords.
    pub fn shown(&self) -> String {
        self.servers
            .iter()
            .map(|server| without_credentials(server))
            .collect::<Vec<_>>()
            .join(", ")
    }
}

/// Shows no secret.
impl fmt::Debug for Bus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bus")
            .field("servers", &self.shown())
            .field("user", &self.user)
            .field("creds_file", &self.creds_file)
            .field("nkey_file", &self.nkey_file)
            .field("tls", &self.tls())
            .field("prefix", &self.prefix)
            .field("replicas", &self.replicas)
            .field("command_bytes", &self.command_bytes)
            .field("key_bytes", &self.key_bytes)
            .field("welcome_bytes", &self.welcome_bytes)
            .field("event_bytes", &self.event_bytes)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_ways_to_log_in_are_refused_by_their_names_and_not_quoted() {
        fn secret() -> Option<String> {
            Some("topsecret".into())
        }
        let by_user = |bus: &mut Bus| (bus.user, bus.password) = (Some("me".into()), secret());
        let by_token = |bus: &mut Bus| bus.token = secret();
        let by_creds = |bus: &mut Bus| bus.creds_file = Some("a.creds".into());
        let by_nkey = |bus: &mut Bus| bus.nkey_file = Some("a.nk".into());
        let by_address = |bus: &mut Bus| bus.servers = vec!["nats://me:topsecret@a:1".into()];
        type Set = fn(&mut Bus);
        let ways: [(&str, Set); 5] = [
            ("bus.user", by_user),
            ("bus.token", by_token),
            ("bus.creds_file", by_creds),
            ("bus.nkey_file", by_nkey),
            ("bus.servers", by_address),
        ];
        for (n, (one, set_one)) in ways.iter().enumerate() {
            let mut bus = Bus::default();
            set_one(&mut bus);
            assert_eq!(bus.validate(), Ok(()), "{one}");
            assert!(!format!("{bus:?}").contains("topsecret"), "{bus:?}");
            for (other, set_other) in &ways[n + 1..] {
                let mut both = bus.clone();
                set_other(&mut both);
                let why = both.validate().unwrap_err();
                assert!(why.contains(one) && why.contains(other), "{why}");
                assert!(!why.contains("topsecret"), "{why}");
            }
        }
        let half = Bus {
            user: secret(),
            ..Bus::default()
        };
        assert!(half.validate().unwrap_err().contains("bus.password"));
    }

    #[test]
    fn tls_is_wanted_when_something_of_it_is_set() {
        assert_eq!(Bus::default().tls(), None);
        let with_ca = Bus {
            tls_ca: Some("ca.pem".into()),
            ..Bus::default()
        };
        assert!(with_ca.tls().is_some());
        let bare = Bus {
            tls: true,
            ..Bus::default()
        };
        assert_eq!(bare.tls(), Some(nats::Tls::default()));
    }
}
