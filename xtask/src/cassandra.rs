//! Apache Cassandra from its jars: one node, or a ring of several on as many loopback addresses.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::obtain::cassandra::Program;
use crate::server::{Kind, Listen, Ready, Server};
use crate::template;

const CQL: u16 = 9042;
const STORAGE: u16 = 7000;

/// What a server with TLS shows (a certificate for `cassandra.example`, and its key), and whom it
/// lets in. They are secret to nobody.
const TLS_FILES: [(&str, &str); 2] = [
    (
        "cassandra.pem",
        include_str!("../templates/tls/cassandra.pem"),
    ),
    ("ca.pem", include_str!("../templates/tls/ca.pem")),
];

/// Nodes `cassandra-1` ..., one per address. They form their ring only if each is ready before the
/// next one starts.
pub struct Cassandra {
    /// What runs it.
    pub program: Program,
    /// One address for each node.
    pub hosts: Vec<Ipv4Addr>,
    /// Each node has a directory of its own below it.
    pub data: PathBuf,
    /// What an acknowledged write survives.
    pub commit_log: CommitLog,
    /// Whether clients may also come with TLS, with a certificate of `templates/tls`.
    pub tls: bool,
}

/// What an acknowledged write survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommitLog {
    /// The death of the process; synced to disk every 10 s.
    Periodic,
    /// The death of the machine: writes wait for the sync of their group, up to 5 ms.
    Group,
}

impl CommitLog {
    fn settings(self) -> &'static str {
        match self {
            Self::Periodic => "commitlog_sync: periodic\ncommitlog_sync_period: 10s",
            Self::Group => "commitlog_sync: group\ncommitlog_sync_group_window: 5ms",
        }
    }
}

impl Cassandra {
    /// What clients connect to: `HOST:PORT,...`
    pub fn addresses(&self) -> String {
        let addresses: Vec<String> = self
            .hosts
            .iter()
            .map(|host| format!("{host}:{CQL}"))
            .collect();
        addresses.join(",")
    }

    /// Writes their configuration, and says how to start them.
    pub fn servers(&self) -> Result<Vec<Server>> {
        (0..self.hosts.len()).map(|i| self.server(i)).collect()
    }

    fn server(&self, i: usize) -> Result<Server> {
        let (name, host) = (format!("cassandra-{}", i + 1), self.hosts[i]);
        let dir = self.data.join(&name);
        self.write_files(i, &dir)
            .with_context(|| dir.display().to_string())?;
        let cql = SocketAddr::from((host, CQL));
        let class_path = format!("{}/*", self.program.jars.display());
        Ok(Server {
            name,
            kind: Kind::Cassandra,
            program: self.program.java.clone(),
            args: vec![
                format!("@{}", dir.join("java.args").display()),
                "-cp".into(),
                class_path,
                "org.apache.cassandra.service.CassandraDaemon".into(),
            ],
            dir,
            listens: listens(host),
            ready: Ready::Cql(cql),
            patience: 180,
        })
    }

    fn write_files(&self, i: usize, dir: &Path) -> std::io::Result<()> {
        fs::create_dir_all(dir.join("tmp"))?;
        fs::write(dir.join("cassandra.yaml"), self.config(i, dir))?;
        fs::write(dir.join("java.args"), self.java_args(dir))?;
        for (name, text) in TLS_FILES.into_iter().filter(|_| self.tls) {
            fs::write(dir.join(name), text)?;
        }
        fs::write(
            dir.join("logback.xml"),
            include_str!("../templates/logback.xml"),
        )
    }

    fn config(&self, i: usize, dir: &Path) -> String {
        let values = [
            ("SIZE", self.hosts.len().to_string()),
            ("TOKEN", token(i, self.hosts.len()).to_string()),
            ("SEED", format!("{}:{STORAGE}", self.hosts[0])),
            ("ADDRESS", self.hosts[i].to_string()),
            ("DIR", dir.display().to_string()),
            ("HINTS", (self.hosts.len() > 1).to_string()),
            ("COMMIT_LOG", self.commit_log.settings().to_owned()),
            ("TLS", self.encryption(dir)),
        ];
        let values = values
            .each_ref()
            .map(|(name, value)| (*name, value.as_str()));
        template::fill(include_str!("../templates/cassandra.yaml"), &values)
    }

    /// On the port that clients use without TLS, too.
    fn encryption(&self, dir: &Path) -> String {
        let dir = dir.display();
        match self.tls {
            false => String::new(),
            true => format!(
                "client_encryption_options:\n  enabled: true\n  optional: true\n  \
                 require_client_auth: true\n  ssl_context_factory:\n    class_name: \
                 org.apache.cassandra.security.PEMBasedSslContextFactory\n  \
                 keystore: \"{dir}/cassandra.pem\"\n  truststore: \"{dir}/ca.pem\""
            ),
        }
    }

    fn java_args(&self, dir: &Path) -> String {
        let ring_delay = if self.hosts.len() > 1 { "5000" } else { "100" };
        let (agent, dir) = (
            self.program.agent.display().to_string(),
            dir.display().to_string(),
        );
        let values = [
            ("AGENT", agent.as_str()),
            ("RING_DELAY", ring_delay),
            ("DIR", &dir),
        ];
        template::fill(include_str!("../templates/cassandra.jvm"), &values)
    }
}

/// The addresses of a node.
pub fn listens(host: Ipv4Addr) -> Vec<Listen> {
    vec![
        Listen::new("cql", (host, CQL)),
        Listen::new("storage", (host, STORAGE)),
    ]
}

/// Murmur3 tokens spread evenly from the lowest one.
fn token(i: usize, nodes: usize) -> i64 {
    let step = (u64::MAX / nodes as u64).wrapping_mul(i as u64);
    (i64::MIN + 1).wrapping_add(step.cast_signed())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loopback;
    use crate::template::unfilled;

    fn ring(nodes: u8) -> Cassandra {
        Cassandra {
            program: Program {
                java: "java".into(),
                jars: "/jars".into(),
                agent: "/jars/jamm.jar".into(),
            },
            hosts: (1..=nodes).map(loopback::numbered).collect(),
            data: "/data".into(),
            commit_log: CommitLog::Group,
            tls: true,
        }
    }

    #[test]
    fn tokens_split_the_ring_evenly() {
        assert_eq!(token(0, 1), i64::MIN + 1);
        let tokens: Vec<i64> = (0..3).map(|i| token(i, 3)).collect();
        assert!(tokens.is_sorted(), "{tokens:?}");
        assert_eq!(tokens[2].abs_diff(tokens[1]), tokens[1].abs_diff(tokens[0]));
    }

    #[test]
    fn nodes_of_a_ring_share_a_seed_and_differ_in_address() {
        let ring = ring(3);
        assert_eq!(
            ring.addresses(),
            "127.0.0.1:9042,127.0.0.2:9042,127.0.0.3:9042"
        );
        let config = ring.config(2, Path::new("/data/cassandra-3"));
        assert!(config.contains("seeds: \"127.0.0.1:7000\""), "{config}");
        assert!(config.contains("rpc_address: \"127.0.0.3\""), "{config}");
        assert!(config.contains("commitlog_sync: group"), "{config}");
        assert!(
            config.contains("keystore: \"/data/cassandra-3/cassandra.pem\""),
            "{config}"
        );
        assert_eq!(unfilled(&config), [""; 0]);
        assert_eq!(
            unfilled(&ring.java_args(Path::new("/data/cassandra-3"))),
            [""; 0]
        );
    }
}
