//! `cargo xtask up`: a whole safe-chat on this machine, with real servers, until Ctrl-C.
//!
//! Refused before anything starts: a second `up` in the checkout, a taken port, servers that cannot
//! be had. Then the servers start while safe-chat is built; the nodes follow; `ready` is printed
//! when all answer.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Args;

use crate::binary::{self, Build};
use crate::cassandra::{self, Cassandra, CommitLog};
use crate::cluster::{self, Change, Cluster};
use crate::console::{print, say};
use crate::interrupt::Interrupt;
use crate::nats::{self, Nats};
use crate::node::{self, Journal, Nodes};
use crate::server::{Listen, Ready, Server};
use crate::state::State;
use crate::{loopback, obtain, paths, ports, process};

/// Nodes of a NATS cluster, and replicas of each stream in it.
const NATS_CLUSTER: u16 = 3;

#[derive(Args)]
pub(crate) struct Options {
    /// Nodes (gateway and writer in one process), on 127.0.0.1, 127.0.0.2 ...
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=100))]
    nodes: u8,
    /// Keep the rooms in a real Cassandra on 127.0.0.1 (needs JDK 17 and Maven)
    #[arg(long)]
    cassandra: bool,
    /// Cassandra nodes, on 127.0.0.1, 127.0.0.2 ...
    #[arg(long, value_name = "N", default_value_t = 1, requires = "cassandra", value_parser = clap::value_parser!(u8).range(1..=9))]
    cassandra_nodes: u8,
    /// Keep the rooms in the Cassandra that runs there
    #[arg(long, value_name = "HOST:PORT", conflicts_with = "cassandra")]
    cassandra_at: Option<String>,
    /// Three nats-servers; streams have three replicas
    #[arg(long)]
    nats_cluster: bool,
    /// Build what production runs, which takes minutes more: for measurements
    #[arg(long)]
    release: bool,
}

pub(crate) fn run(options: &Options, interrupt: &Interrupt) -> Result<()> {
    let started = Instant::now();
    process::raise_open_files();
    let mut cluster = Cluster::new(State::open(&paths::state()?)?, interrupt.clone())?;
    ports::check(options.listens().map(|listen| listen.at))?;
    let data = cluster.state().data(&options.flavour());

    let nats = options.nats(&data, interrupt)?;
    let cassandra = options.cassandra(&data, interrupt)?;
    let journal = options.journal(cassandra.as_ref())?;
    let mut servers = nats.servers()?;
    let ring = cassandra
        .as_ref()
        .map_or(Ok(Vec::new()), Cassandra::servers)?;
    servers.extend(ring.first().cloned());
    cluster.state().clear_logs()?; // only now: who was refused above may want to read the last ones
    for server in &servers {
        cluster.start(server)?;
    }
    let program = binary::build(options.build(), interrupt)?;
    cluster.await_ready(&servers)?;
    for server in ring.iter().skip(1) {
        cluster.start(server)?;
        cluster.await_ready(std::slice::from_ref(server))?;
    }

    let nodes = Nodes {
        config: None,
        program,
        nats: nats.urls(),
        replicas: nats.servers,
        journal,
        dir: data,
    };
    let servers: Vec<Server> = (1..=options.nodes).map(|i| nodes.server(i)).collect();
    for server in &servers {
        cluster.start(server)?;
    }
    cluster.await_ready(&servers)?;
    welcome(options.nodes, &nodes.program, started);
    watch(&mut cluster, interrupt)?;
    say("\nending all processes (once more Ctrl-C: at once)");
    cluster.stop(cluster::GRACE)?;
    say("all ended; the data stays for the next cargo xtask up");
    Ok(())
}

impl Options {
    /// What may be used by the next run with the same options. Rooms of one journal are not in
    /// another one.
    fn flavour(&self) -> String {
        let nats = if self.nats_cluster {
            "-nats-cluster"
        } else {
            ""
        };
        match (&self.cassandra_at, self.cassandra, self.cassandra_nodes) {
            (Some(at), ..) => format!("cassandra-at-{}{nats}", at.replace(['/', ':', ','], "-")),
            (None, true, 1) => format!("cassandra{nats}"),
            (None, true, nodes) => format!("cassandra-{nodes}{nats}"),
            (None, false, _) => format!("bus{nats}"),
        }
    }

    fn build(&self) -> Build {
        match (self.release, self.cassandra || self.cassandra_at.is_some()) {
            (true, _) => Build::Release,
            (false, true) => Build::Dev,
            (false, false) => Build::Quick,
        }
    }

    /// Every address that will be used.
    fn listens(&self) -> impl Iterator<Item = Listen> {
        let (servers, cassandras) = (
            self.nats_servers(),
            if self.cassandra {
                self.cassandra_nodes
            } else {
                0
            },
        );
        let nats = (0..servers).flat_map(move |i| nats::listens(loopback::numbered(1), servers, i));
        let cassandra = (1..=cassandras).flat_map(|i| cassandra::listens(loopback::numbered(i)));
        nats.chain(cassandra)
            .chain((1..=self.nodes).flat_map(node::listens))
    }

    fn nats_servers(&self) -> u16 {
        if self.nats_cluster { NATS_CLUSTER } else { 1 }
    }

    fn nats(&self, data: &Path, interrupt: &Interrupt) -> Result<Nats> {
        let program = obtain::nats::nats_server(interrupt)?;
        Ok(Nats {
            program,
            host: loopback::numbered(1),
            servers: self.nats_servers(),
            data: data.to_owned(),
            max_file: None,
        })
    }

    fn cassandra(&self, data: &Path, interrupt: &Interrupt) -> Result<Option<Cassandra>> {
        if !self.cassandra {
            return Ok(None);
        }
        let program = obtain::cassandra::cassandra(interrupt)?;
        let hosts = (1..=self.cassandra_nodes).map(loopback::numbered).collect();
        // As nats-server, it acknowledges what is on disk.
        Ok(Some(Cassandra {
            program,
            hosts,
            data: data.to_owned(),
            commit_log: CommitLog::Group,
            tls: false,
        }))
    }

    fn journal(&self, cassandra: Option<&Cassandra>) -> Result<Journal> {
        match (cassandra, &self.cassandra_at) {
            (Some(ring), _) => Ok(Journal::Cassandra {
                hosts: ring.addresses(),
                replication: ring.hosts.len().min(3),
            }),
            (None, Some(at)) => {
                Ready::Cql(resolve(at)?)
                    .ask()
                    .with_context(|| format!("no Cassandra answers at {at}"))?;
                Ok(Journal::Cassandra {
                    hosts: at.clone(),
                    replication: 1,
                })
            }
            (None, None) => Ok(Journal::Bus),
        }
    }
}

fn resolve(address: &str) -> Result<SocketAddr> {
    let wrong = || format!("--cassandra-at {address} is not a HOST:PORT that can be reached");
    address
        .to_socket_addrs()
        .with_context(wrong)?
        .next()
        .with_context(wrong)
}

fn welcome(nodes: u8, program: &Path, started: Instant) {
    let program = paths::short(program);
    let (first, last) = (node::client_address(1), node::client_address(nodes.min(2)));
    print(format!(
        "\nready after {:.1} s",
        started.elapsed().as_secs_f64()
    ));
    for i in 1..=nodes {
        print(format!("  node-{i}  http://{}/", node::client_address(i)));
    }
    print(format!(
        "\nTry\n  a browser:       http://{first}/\n  a terminal:      {program} chat http://{first} --room lobby --user you\n  \
         any WebSocket:   npx wscat -c 'ws://{last}/chat/lobby/user/charly?pub=k1'\n\n\
         From another terminal: cargo xtask ps | kill NAME | pause NAME | resume NAME | start NAME | down\n\
         Ctrl-C ends it; data stays."
    ));
}

/// Until Ctrl-C: says in a line what dies or is started again.
fn watch(cluster: &mut Cluster, interrupt: &Interrupt) -> Result<()> {
    cluster.changes()?;
    while !interrupt.requested() {
        for change in cluster.changes()? {
            match change {
                Change::Died { name, pid, how } => {
                    let log = paths::short(&cluster.state().log(&name));
                    say(format!(
                        "{name} (pid {pid}) {how}; its log is {log}; cargo xtask start {name} starts it again"
                    ));
                }
                Change::Started { name, pid } => say(format!("{name} runs again (pid {pid})")),
            }
        }
        thread::sleep(Duration::from_millis(200));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rooms_of_different_journals_are_kept_apart() {
        let bus = Options {
            nodes: 2,
            cassandra: false,
            cassandra_nodes: 1,
            cassandra_at: None,
            nats_cluster: false,
            release: false,
        };
        assert_eq!(bus.flavour(), "bus");
        let cluster = Options {
            nats_cluster: true,
            cassandra: true,
            ..bus
        };
        assert_eq!(cluster.flavour(), "cassandra-nats-cluster");
        let ring = Options {
            cassandra_nodes: 3,
            nats_cluster: false,
            ..cluster
        };
        assert_eq!(ring.flavour(), "cassandra-3");
        let at = Options {
            cassandra_at: Some("10.0.0.1:9042".into()),
            cassandra: false,
            ..ring
        };
        assert_eq!(at.flavour(), "cassandra-at-10.0.0.1-9042");
    }
}
