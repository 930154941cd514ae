//! The service that is measured: nodes and a nats-server that syncs everything, on one core, with
//! no limits for the generator's address. Cassandra, if wanted, is on the same core.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::Options;
use crate::cassandra::{Cassandra, CommitLog};
use crate::cluster::{self, Cluster};
use crate::interrupt::Interrupt;
use crate::nats::Nats;
use crate::node::{Journal, Nodes, Place};
use crate::server::Server;
use crate::state::State;
use crate::{loopback, obtain};

/// All clients come from one machine, and are to be measured, not their limits.
const NO_LIMITS: [&str; 12] = [
    "ADDRESS_RATE",
    "ADDRESS_BYTES_RATE",
    "CONNECTIONS_PER_ADDRESS",
    "JOIN_RATE",
    "NEW_NAMES_RATE",
    "NEW_ROOMS_RATE",
    "ROOMS_PER_ADDRESS",
    "SESSION_RATE",
    "SESSION_BYTES_RATE",
    "USER_RATE",
    "USER_BYTES_RATE",
    "USER_NEW_ROOMS_RATE",
];

pub(super) struct Servers {
    cluster: Cluster,
    nodes: Nodes,
    nats: String,
    core: usize,
    cassandra: Option<String>,
    running: u8,
}

impl Servers {
    pub(super) fn start(
        state: State,
        dir: &Path,
        program: PathBuf,
        options: &Options,
        interrupt: &Interrupt,
    ) -> Result<Self> {
        let host = loopback::of_pid(std::process::id());
        let nats = Nats {
            program: obtain::nats::nats_server(interrupt)?,
            host,
            servers: 1,
            data: dir.to_owned(),
            max_file: None,
        };
        let mut servers = nats.servers()?;
        let (mut journal, mut cassandra) = (Journal::Bus, None);
        if options.cassandra {
            let ring = Cassandra {
                program: obtain::cassandra::cassandra(interrupt)?,
                hosts: vec![host],
                data: dir.to_owned(),
                commit_log: CommitLog::Group,
                tls: false,
            };
            servers.extend(ring.servers()?);
            cassandra = Some(ring.addresses());
            journal = Journal::Cassandra {
                hosts: ring.addresses(),
                replication: 1,
            };
        }
        let mut cluster = Cluster::new(state, interrupt.clone())?;
        let servers: Vec<Server> = servers
            .into_iter()
            .map(|server| pinned(server, options.core, &[]))
            .collect();
        for server in &servers {
            cluster.start(server)?;
        }
        cluster.await_ready(&servers)?;
        let mut all = Self {
            cluster,
            nats: nats.urls(),
            nodes: Nodes {
                config: None,
                program,
                nats: nats.urls(),
                replicas: 1,
                journal,
                dir: dir.to_owned(),
            },
            core: options.core,
            cassandra,
            running: 0,
        };
        all.one_more()?;
        Ok(all)
    }

    /// Starts another node.
    pub(super) fn one_more(&mut self) -> Result<()> {
        let number = self.running + 1;
        let place = place(number);
        let server = self.nodes.server_at(number, place);
        let limits: Vec<String> = NO_LIMITS
            .iter()
            .map(|name| format!("SAFE_CHAT_GATEWAY__{name}=0"))
            .collect();
        let server = pinned(server, self.core, &limits);
        self.cluster.start(&server)?;
        self.cluster.await_ready(std::slice::from_ref(&server))?;
        self.running = number;
        Ok(())
    }

    /// As `loadtest peers` takes it.
    pub(super) fn system(&self) -> String {
        let journal = if self.cassandra.is_some() {
            ",9042"
        } else {
            ""
        };
        format!("safe-chat={},4222{journal}", url(1))
    }

    /// The same, without the servers behind the first node.
    pub(super) fn node(&self) -> String {
        format!("safe-chat={}", url(1))
    }

    /// Of all nodes that run.
    pub(super) fn urls(&self) -> Vec<String> {
        (1..=self.running).map(url).collect()
    }

    pub(super) fn nats(&self) -> &str {
        &self.nats
    }

    /// Where it is, if the rooms are kept there.
    pub(super) fn cassandra(&self) -> Option<&str> {
        self.cassandra.as_deref()
    }

    pub(super) fn stop(&mut self) -> Result<()> {
        self.cluster.stop(cluster::GRACE)
    }
}

fn place(number: u8) -> Place {
    let hosts = loopback::three_of_pid(std::process::id());
    Place {
        host: hosts[usize::from(number - 1)],
        http: 8080,
        internal: 8558,
    }
}

fn url(number: u8) -> String {
    let place = place(number);
    format!("http://{}:{}", place.host, place.http)
}

/// The same server on a core, with more variables.
fn pinned(mut server: Server, core: usize, variables: &[String]) -> Server {
    let program = server.program.display().to_string();
    let own = std::mem::take(&mut server.args);
    server.args = vec!["-c".into(), core.to_string(), "env".into()];
    server.args.extend(variables.iter().cloned());
    server.args.push(program);
    server.args.extend(own);
    server.program = "taskset".into();
    server
}
