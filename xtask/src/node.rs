//! safe-chat nodes: gateway and writer in one process, one loopback address each.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use crate::loopback;
use crate::server::{Kind, Listen, Ready, Server};

const HTTP: u16 = 8080;
const INTERNAL: u16 = 8558;

/// What all nodes of a run have in common.
pub struct Nodes {
    /// The safe-chat program.
    pub program: PathBuf,
    /// Where NATS is: `nats://HOST:PORT,...`
    pub nats: String,
    /// Copies of each stream.
    pub replicas: u16,
    /// Where the rooms are kept.
    pub journal: Journal,
    /// The working directory.
    pub dir: PathBuf,
    /// A file with more of their configuration.
    pub config: Option<PathBuf>,
}

/// Where the rooms are kept.
pub enum Journal {
    /// On the bus.
    Bus,
    /// In Cassandra.
    Cassandra {
        /// Where it is: `HOST:PORT,...`
        hosts: String,
        /// Copies of each row.
        replication: usize,
    },
}

impl Nodes {
    /// Node i listens on 127.0.0.i.
    pub fn server(&self, i: u8) -> Server {
        self.server_at(i, Place::numbered(i))
    }

    /// Node i, elsewhere.
    pub fn server_at(&self, i: u8, place: Place) -> Server {
        let name = format!("node-{i}");
        let internal = SocketAddr::from((place.host, place.internal));
        Server {
            args: self.args(&name, place),
            name,
            kind: Kind::Node,
            program: self.program.clone(),
            dir: self.dir.clone(),
            listens: place.listens(),
            ready: Ready::Http(format!("http://{internal}/ready")),
            // A node gives up by itself, with a better message, when its servers do not answer for
            // 60 s.
            patience: 90,
        }
    }

    fn args(&self, name: &str, place: Place) -> Vec<String> {
        let mut args = vec!["serve".to_owned()];
        let mut flag =
            |flag: &str, value: &dyn ToString| args.extend([flag.to_owned(), value.to_string()]);
        if let Some(config) = &self.config {
            flag("--config", &config.display());
        }
        flag("--node", &name);
        flag("--host", &place.host);
        flag("--http-port", &place.http);
        flag("--internal-port", &place.internal);
        flag("--nats", &self.nats);
        flag("--replicas", &self.replicas);
        match &self.journal {
            Journal::Bus => flag("--journal", &"bus"),
            Journal::Cassandra { hosts, replication } => {
                flag("--journal", &"cassandra");
                flag("--cassandra", hosts);
                flag("--replication", replication);
                args.push("--auto-migrate".to_owned());
            }
        }
        args
    }
}

/// Where a node listens.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// The address of both ports.
    pub host: Ipv4Addr,
    /// For clients.
    pub http: u16,
    /// For operators.
    pub internal: u16,
}

impl Place {
    /// The usual ports of 127.0.0.i.
    pub fn numbered(i: u8) -> Self {
        Self {
            host: loopback::numbered(i),
            http: HTTP,
            internal: INTERNAL,
        }
    }

    fn listens(self) -> Vec<Listen> {
        vec![
            Listen::new("http", (self.host, self.http)),
            Listen::new("internal", (self.host, self.internal)),
        ]
    }
}

/// The addresses of node i.
pub fn listens(i: u8) -> Vec<Listen> {
    Place::numbered(i).listens()
}

/// Where clients of node i go.
pub fn client_address(i: u8) -> SocketAddr {
    (loopback::numbered(i), HTTP).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_journal_is_always_said() {
        // Otherwise a CASSANDRA in the environment would choose it.
        let mut nodes = Nodes {
            program: "safe-chat".into(),
            nats: "nats://127.0.0.1:4222".into(),
            replicas: 1,
            journal: Journal::Bus,
            dir: "/".into(),
            config: None,
        };
        assert!(
            nodes
                .server(2)
                .args
                .join(" ")
                .ends_with("--replicas 1 --journal bus")
        );
        nodes.journal = Journal::Cassandra {
            hosts: "127.0.0.1:9042".into(),
            replication: 1,
        };
        let args = nodes.server(2).args.join(" ");
        assert!(
            args.starts_with(
                "serve --node node-2 --host 127.0.0.2 --http-port 8080 --internal-port 8558"
            ),
            "{args}"
        );
        assert!(
            args.ends_with(
                "--journal cassandra --cassandra 127.0.0.1:9042 --replication 1 --auto-migrate"
            ),
            "{args}"
        );
    }
}
