//! How Cassandra is reached, and how its tables are made.

use crate::tls::{self, Trust};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use std::{collections::BTreeMap, fmt, path::PathBuf};

/// How Cassandra is reached, and how its tables are made.
#[derive(Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Config {
    /// `host:port`, any of which may answer; as a list or separated by commas. Default
    /// 127.0.0.1:9042.
    #[serde(deserialize_with = "one_or_many")]
    pub hosts: Vec<String>,
    /// The keyspace: 1 to 48 of `a-z 0-9 _`, a letter first. Default safe_chat.
    pub keyspace: String,
    /// The user. Default: none.
    pub user: Option<String>,
    /// The user's password. Printed nowhere. Default: none.
    #[serde(serialize_with = "crate::secret::hidden")]
    pub password: Option<String>,
    /// Connects with TLS. Default: false, but true when another `tls_` is set.
    pub tls: bool,
    /// The file of the authorities (PEM) that vouch for the servers. Default: those of the system.
    pub tls_ca: Option<PathBuf>,
    /// The file of the certificate (PEM) that is shown to the servers, and below that of its key.
    /// Read again at each connection when it changed. Default: none.
    pub tls_certificate: Option<PathBuf>,
    /// The file of its private key (PEM, not encrypted).
    pub tls_key: Option<PathBuf>,
    /// The name that every server's certificate must carry. Default: the IP address by which the
    /// server is reached, whatever stands in `hosts`: servers tell of each other by address.
    pub tls_server_name: Option<String>,
    /// The datacenter that this node writes to and reads from. All nodes of a cluster must use the
    /// same one. Default datacenter1.
    pub datacenter: String,
    /// Copies of everything: a number for `datacenter`, or a number for each datacenter by name.
    /// Used when the keyspace is made. Default 1.
    pub replication: Replication,
    /// Makes and changes the tables at start, for development. Default false: `safe-chat migrate`
    /// does it.
    pub auto_migrate: bool,
    /// Events in a partition. Kept in the database when the keyspace is made; another value is
    /// refused from then on. Default: what the keyspace was made with, and 1000 where it is new: an
    /// event has at most some 100 kB, so that no partition is larger than 100 MB.
    pub partition_size: Option<u64>,
    /// Milliseconds until a connection must be there. Default 5000.
    pub connect_timeout_ms: u64,
    /// Milliseconds until a request must be answered. Default 5000: above Cassandra's own 2 s for
    /// writes, so that it usually answers first.
    pub request_timeout_ms: u64,
}

/// How many copies there are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Replication {
    /// In the configured datacenter.
    Here(u8),
    /// In each datacenter.
    PerDatacenter(BTreeMap<String, u8>),
}

impl From<BTreeMap<String, u8>> for Replication {
    fn from(copies: BTreeMap<String, u8>) -> Self {
        Self::PerDatacenter(copies)
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            hosts: vec!["127.0.0.1:9042".into()],
            keyspace: "safe_chat".into(),
            user: None,
            password: None,
            tls: false,
            tls_ca: None,
            tls_certificate: None,
            tls_key: None,
            tls_server_name: None,
            datacenter: "datacenter1".into(),
            replication: Replication::Here(1),
            auto_migrate: false,
            partition_size: None,
            connect_timeout_ms: 5_000,
            request_timeout_ms: 5_000,
        }
    }
}

impl Config {
    /// The fewest events in a partition: one of the largest commits.
    const LEAST_PARTITION: u64 = crate::journal::Limits::EVENTS as u64;
    /// Events in a partition of a keyspace that is made now.
    #[cfg(feature = "cassandra")]
    pub(super) const NEW_PARTITION: u64 = 1000;

    /// Says what is wrong, if something is.
    pub fn validate(&self) -> Result<(), String> {
        if self.hosts.is_empty() {
            return Err(
                "cassandra.hosts is empty: name a server with --cassandra HOST:PORT".into(),
            );
        }
        // Not quoted: a password may stand in it.
        if let Some(bad) = self.hosts.iter().position(|host| !is_host(host)) {
            return Err(format!(
                "cassandra.hosts: address {} is not host:port; the login is cassandra.user and cassandra.password",
                bad + 1
            ));
        }
        if self.user.is_some() && self.password.is_none() {
            return Err("cassandra.user needs cassandra.password: set it, too".into());
        }
        tls::check_pair(
            ["cassandra.tls_certificate", "cassandra.tls_key"],
            [self.tls_certificate.is_some(), self.tls_key.is_some()],
        )?;
        let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
        let starts = self
            .keyspace
            .bytes()
            .next()
            .is_some_and(|b| b.is_ascii_lowercase());
        if !starts || self.keyspace.len() > 48 || !self.keyspace.bytes().all(fits) {
            return Err(
                "cassandra.keyspace must be 1 to 48 characters of a-z 0-9 _, a letter first".into(),
            );
        }
        let copies = self.copies();
        if !copies.contains_key(&self.datacenter)
            || copies.values().any(|copies| !(1..=9).contains(copies))
        {
            return Err(format!(
                "cassandra.replication must give 1 to 9 copies to each datacenter, and name {}",
                self.datacenter
            ));
        }
        let name = |b: u8| b.is_ascii_alphanumeric() || b"_-.".contains(&b);
        if let Some(bad) = copies
            .keys()
            .find(|datacenter| datacenter.is_empty() || !datacenter.bytes().all(name))
        {
            return Err(format!(
                "cassandra.replication: `{bad}` is no name of a datacenter (A-Z a-z 0-9 _ - .)"
            ));
        }
        if self
            .partition_size
            .is_some_and(|size| size < Self::LEAST_PARTITION)
        {
            return Err(format!(
                "cassandra.partition_size must be at least {}",
                Self::LEAST_PARTITION
            ));
        }
        if self.connect_timeout_ms == 0 || self.request_timeout_ms == 0 {
            return Err(
                "cassandra.connect_timeout_ms and cassandra.request_timeout_ms must be above 0"
                    .into(),
            );
        }
        Ok(())
    }

    /// The servers, for people.
    pub fn shown(&self) -> String {
        self.hosts.join(", ")
    }

    /// Whom to trust, if TLS is wanted.
    pub(super) fn trust(&self) -> Option<Trust> {
        let trust = Trust {
            ca: self.tls_ca.clone(),
            pair: self.tls_certificate.clone().zip(self.tls_key.clone()),
            name: self.tls_server_name.clone(),
        };
        (self.tls || trust != Trust::default()).then_some(trust)
    }

    /// Says which file of TLS cannot be used, if one cannot. Connects to nothing.
    pub fn check_files(&self) -> Result<(), tls::Error> {
        let trust = self.trust();
        trust.map_or(Ok(()), |trust| tls::client(&trust).map(drop))
    }

    /// Copies by datacenter.
    pub(super) fn copies(&self) -> BTreeMap<String, u8> {
        match &self.replication {
            Replication::Here(copies) => BTreeMap::from([(self.datacenter.clone(), *copies)]),
            Replication::PerDatacenter(copies) => copies.clone(),
        }
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("hosts", &self.hosts)
            .field("keyspace", &self.keyspace)
            .field("user", &self.user)
            .field("tls", &self.trust())
            .field("datacenter", &self.datacenter)
            .field("replication", &self.replication)
            .field("auto_migrate", &self.auto_migrate)
            .field("partition_size", &self.partition_size)
            .finish_non_exhaustive()
    }
}

fn is_host(host: &str) -> bool {
    let allowed = |c: char| c.is_alphanumeric() || "-_.:[]%".contains(c);
    let port = host
        .rsplit_once(':')
        .filter(|(host, _)| !host.contains(':'));
    host.chars().all(allowed) && port.is_none_or(|(_, port)| port.parse::<u16>().is_ok())
}

fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Hosts {
        Line(String),
        List(Vec<String>),
    }
    let hosts = match Hosts::deserialize(deserializer)? {
        Hosts::Line(line) => line.split(',').map(|host| host.trim().to_owned()).collect(),
        Hosts::List(list) => list,
    };
    Ok(hosts.into_iter().filter(|host| !host.is_empty()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_is_not_printed() {
        let config = Config {
            password: Some("very secret".into()),
            ..Config::default()
        };
        assert!(!format!("{config:?}").contains("very secret"));
        assert!(
            !serde_json::to_string(&config)
                .unwrap()
                .contains("very secret")
        );
    }

    #[test]
    fn what_is_no_host_is_refused_by_its_number_and_not_quoted() {
        let with = |host: &str| {
            let hosts = vec!["a:9042".into(), host.into()];
            Config {
                hosts,
                ..Config::default()
            }
            .validate()
        };
        for good in [
            "b",
            "b.example:9042",
            "127.0.0.1:9042",
            "[::1]:9042",
            "::1",
            "a_b",
        ] {
            assert_eq!(with(good), Ok(()), "{good}");
        }
        for bad in [
            "cassandra://me:secret@b:9042",
            "me:secret@b",
            "me:secret",
            "b:9042/x",
        ] {
            let why = with(bad).unwrap_err();
            assert!(
                why.contains("address 2") && !why.contains("secret"),
                "{why}"
            );
        }
    }

    #[test]
    fn hosts_and_copies_may_be_one_or_many() {
        let config: Config =
            serde_json::from_str(r#"{"hosts":"a:1, b:2","replication":3}"#).unwrap();
        assert_eq!(
            (config.hosts, config.replication),
            (
                vec!["a:1".to_owned(), "b:2".to_owned()],
                Replication::Here(3)
            )
        );
        let config: Config = serde_json::from_str(
            r#"{"hosts":["a:1"],"datacenter":"x","replication":{"x":3,"y":2}}"#,
        )
        .unwrap();
        config.validate().unwrap();
        assert_eq!(config.copies()["y"], 2);
    }

    #[test]
    fn what_cannot_work_is_refused_by_name() {
        let bad = |config: Config| config.validate().unwrap_err();
        assert!(
            bad(Config {
                keyspace: "Chat; DROP".into(),
                ..Config::default()
            })
            .contains("keyspace")
        );
        assert!(
            bad(Config {
                partition_size: Some(10),
                ..Config::default()
            })
            .contains("partition_size")
        );
        assert!(
            bad(Config {
                replication: Replication::PerDatacenter(BTreeMap::new()),
                ..Config::default()
            })
            .contains("datacenter1")
        );
        assert!(
            bad(Config {
                hosts: vec![],
                ..Config::default()
            })
            .contains("--cassandra")
        );
    }
}
