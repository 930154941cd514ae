//! safe-chat nodes: gateway and writer in one process, one loopback address each.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use crate::loopback;
use crate::server::{Kind, Listen, Ready, Server};

const HTTP: u16 = 8080;
const INTERNAL: u16 = 8558;

/// What all nodes of a run have in common.
pub(crate) struct Nodes {
    pub(crate) program: PathBuf,
    pub(crate) nats: String,
    pub(crate) replicas: u16,
    pub(crate) journal: Journal,
    pub(crate) dir: PathBuf,
}

/// Where the rooms are kept.
pub(crate) enum Journal {
    Bus,
    Cassandra { hosts: String, replication: usize },
}

impl Nodes {
    /// Node i listens on 127.0.0.i.
    pub(crate) fn server(&self, i: u8) -> Server {
        let (name, host) = (format!("node-{i}"), loopback::numbered(i));
        let internal = SocketAddr::from((host, INTERNAL));
        Server {
            args: self.args(&name, host),
            name,
            kind: Kind::Node,
            program: self.program.clone(),
            dir: self.dir.clone(),
            listens: listens(i),
            ready: Ready::Http(format!("http://{internal}/ready")),
            // A node gives up by itself, with a better message, when its servers do not answer for 60 s.
            patience: 90,
        }
    }

    fn args(&self, name: &str, host: Ipv4Addr) -> Vec<String> {
        let mut args = vec!["serve".to_owned()];
        let mut flag = |flag: &str, value: &dyn ToString| args.extend([flag.to_owned(), value.to_string()]);
        flag("--node", &name);
        flag("--host", &host);
        flag("--http-port", &HTTP);
        flag("--internal-port", &INTERNAL);
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

/// The addresses of node i.
pub(crate) fn listens(i: u8) -> Vec<Listen> {
    let host = loopback::numbered(i);
    vec![Listen::new("http", (host, HTTP)), Listen::new("internal", (host, INTERNAL))]
}

/// Where clients of node i go.
pub(crate) fn client_address(i: u8) -> SocketAddr {
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
        };
        assert!(nodes.server(2).args.join(" ").ends_with("--replicas 1 --journal bus"));
        nodes.journal = Journal::Cassandra { hosts: "127.0.0.1:9042".into(), replication: 1 };
        let args = nodes.server(2).args.join(" ");
        assert!(args.starts_with("serve --node node-2 --host 127.0.0.2 --http-port 8080 --internal-port 8558"), "{args}");
        assert!(args.ends_with("--journal cassandra --cassandra 127.0.0.1:9042 --replication 1 --auto-migrate"), "{args}");
    }
}
