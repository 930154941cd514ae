//! nats-server with JetStream on disk: one, or three that form a cluster.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::server::{Kind, Listen, Ready, Server};
use crate::template;

const CLIENTS: u16 = 4222;
const ROUTES: u16 = 6222;
const MONITORING: u16 = 8222;

/// Servers `nats-1` ... on consecutive ports of one address.
pub struct Nats {
    /// The nats-server program.
    pub program: PathBuf,
    /// The address of all of them.
    pub host: Ipv4Addr,
    /// How many: one, or a cluster of three or five.
    pub servers: u16,
    /// Each has a directory of its own below it.
    pub data: PathBuf,
    /// Bytes of streams that each may keep; more is refused. `None`: as the disk has room.
    pub max_file: Option<u64>,
}

impl Nats {
    /// What clients connect to: `nats://HOST:PORT,...`
    pub fn urls(&self) -> String {
        let urls: Vec<String> = (0..self.servers)
            .map(|i| format!("nats://{}", self.at(CLIENTS, i)))
            .collect();
        urls.join(",")
    }

    /// Writes their configuration, and says how to start them.
    pub fn servers(&self) -> Result<Vec<Server>> {
        (0..self.servers).map(|i| self.server(i)).collect()
    }

    fn server(&self, i: u16) -> Result<Server> {
        let name = format!("nats-{}", i + 1);
        let dir = self.data.join(&name);
        let config = dir.join("nats.conf");
        fs::create_dir_all(&dir)
            .and_then(|()| fs::write(&config, self.config(&name, i, &dir)))
            .with_context(|| config.display().to_string())?;
        let monitoring = self.at(MONITORING, i);
        Ok(Server {
            name,
            kind: Kind::Nats,
            program: self.program.clone(),
            args: vec!["--config".into(), config.display().to_string()],
            dir,
            listens: listens(self.host, self.servers, i),
            ready: Ready::Http(format!("http://{monitoring}/healthz")),
            patience: 60,
        })
    }

    fn config(&self, name: &str, i: u16, dir: &Path) -> String {
        let (clients, monitoring) = (
            self.at(CLIENTS, i).to_string(),
            self.at(MONITORING, i).to_string(),
        );
        let store = dir.join("jetstream").display().to_string();
        let limit = self
            .max_file
            .map_or(String::new(), |most| format!("max_file_store: {most}"));
        let values = [
            ("NAME", name),
            ("CLIENTS", &clients),
            ("MONITORING", &monitoring),
            ("STORE", &store),
            ("LIMIT", &limit),
        ];
        let config = template::fill(include_str!("../templates/nats.conf"), &values);
        if self.servers == 1 {
            return config;
        }
        let route = self.at(ROUTES, i).to_string();
        let routes: Vec<String> = (0..self.servers)
            .map(|j| format!("\"nats://{}\"", self.at(ROUTES, j)))
            .collect();
        let values = [("ROUTE", route.as_str()), ("ROUTES", &routes.join(", "))];
        config + &template::fill(include_str!("../templates/nats-cluster.conf"), &values)
    }

    /// 4222, 4223, 4224 ... and the same for the other ports.
    fn at(&self, first: u16, i: u16) -> SocketAddr {
        (self.host, first + i).into()
    }
}

/// The addresses of the server with index `i` of `servers`.
pub fn listens(host: Ipv4Addr, servers: u16, i: u16) -> Vec<Listen> {
    let mut listens = vec![
        Listen::new("nats", (host, CLIENTS + i)),
        Listen::new("monitoring", (host, MONITORING + i)),
    ];
    if servers > 1 {
        listens.push(Listen::new("routes", (host, ROUTES + i)));
    }
    listens
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::template::unfilled;

    fn nats(servers: u16) -> Nats {
        Nats {
            program: "nats-server".into(),
            host: Ipv4Addr::LOCALHOST,
            servers,
            data: "/data".into(),
            max_file: None,
        }
    }

    #[test]
    fn a_single_server_forms_no_cluster() {
        let config = nats(1).config("nats-1", 0, Path::new("/data/nats-1"));
        assert!(
            config.contains("listen: \"127.0.0.1:4222\"") && !config.contains("cluster"),
            "{config}"
        );
        assert_eq!(unfilled(&config), [""; 0]);
    }

    #[test]
    fn three_servers_know_each_other() {
        let nats = nats(3);
        assert_eq!(
            nats.urls(),
            "nats://127.0.0.1:4222,nats://127.0.0.1:4223,nats://127.0.0.1:4224"
        );
        let config = nats.config("nats-3", 2, Path::new("/data/nats-3"));
        assert!(config.contains("listen: \"127.0.0.1:6224\""), "{config}");
        assert!(
            config.contains("\"nats://127.0.0.1:6222\", \"nats://127.0.0.1:6223\""),
            "{config}"
        );
        assert_eq!(unfilled(&config), [""; 0]);
    }
}
