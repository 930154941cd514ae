//! A running safe-chat: NATS, Cassandra, nodes, and proxies between them, on addresses of this
//! process.
//!
//! Every node reaches every server through a proxy of its own, and clients reach every node through
//! one, so that each of these ways can be broken alone. Who looks (who owns a room, who leads the
//! bus) goes around them.

mod kept;
mod links;
mod places;
mod who;

pub use kept::Kept;
pub(crate) use kept::journal;
pub use links::Way;
pub use who::{Bus, shard_of};

use crate::fault::Version;
use anyhow::{Context, Result};
use links::Links;
use places::Places;
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};
use tokio::task::block_in_place;
use xtask::{
    cassandra::Cassandra,
    cluster::Cluster,
    console::say,
    interrupt::Interrupt,
    nats::Nats,
    node::{Journal, Nodes},
    obtain,
    process::{Condition, Identity, wait_for},
    server::{Kind, Server},
    state::State,
};

pub use nix::sys::signal::Signal;

/// Nodes that are there from the beginning.
pub const NODES: u8 = 3;
/// Another one, which joins later.
pub const SPARE: u8 = NODES + 1;
/// A node that is asked to stop drains for 20 s at most.
const ORDERLY: Duration = Duration::from_secs(30);
/// The streams of each nats-server, in bytes: what `disk-full` fills. More than what safe-chat
/// reserves for its streams (1.63 GiB beside Cassandra).
const DISK: u64 = 2 << 30;

/// What nodes are told besides: what a room is to let go goes within a run.
const SETTINGS: &str = "[writer]\ntrim_ms = 1000\n";

/// What to start.
#[derive(Debug, Clone, PartialEq)]
pub struct Setup {
    /// The safe-chat program.
    pub program: PathBuf,
    /// Another version of it, with which nodes begin.
    pub before: Option<PathBuf>,
    /// Where rooms are kept.
    pub journal: Kept,
    /// nats-servers: 1 or 3.
    pub nats: u16,
    /// Cassandra nodes, when rooms are kept there: 1 or 3.
    pub cassandra: usize,
}

/// A running system. Dropping it ends everything.
pub struct Site {
    cluster: Cluster,
    setup: Setup,
    nats: Nats,
    ring: Option<Cassandra>,
    /// All of them, nodes last.
    servers: Vec<Server>,
    links: Links,
    places: Places,
    data: PathBuf,
    config: PathBuf,
}

impl Site {
    /// Starts it and waits until everything answers. `data` is a new directory.
    pub async fn start(
        setup: Setup,
        state: State,
        data: PathBuf,
        seed: u64,
        interrupt: &Interrupt,
    ) -> Result<Self> {
        let places = Places::of_this_process();
        let config = configuration(&data)?;
        let nats = Nats {
            program: block_in_place(|| obtain::nats::nats_server(interrupt))?,
            host: places.host(),
            servers: setup.nats,
            data: data.clone(),
            max_file: Some(DISK),
        };
        let hosts = places.cassandra(setup.cassandra);
        let ring = block_in_place(|| setup.journal.ring(hosts, &data, interrupt))?;
        let links = Links::start(
            &places,
            setup.nats,
            ring.as_ref().map_or(0, |ring| ring.hosts.len()),
            seed,
        )
        .await?;
        let cluster = block_in_place(|| Cluster::new(state, interrupt.clone()))?;
        let mut site = Self {
            cluster,
            setup,
            nats,
            ring,
            servers: Vec::new(),
            links,
            places,
            data,
            config,
        };
        block_in_place(|| site.start_all())?;
        Ok(site)
    }

    fn start_all(&mut self) -> Result<()> {
        let mut first = self.nats.servers()?;
        let ring = self
            .ring
            .as_ref()
            .map_or(Ok(Vec::new()), Cassandra::servers)?;
        first.extend(ring.first().cloned());
        for server in &first {
            self.cluster.start(server)?;
        }
        self.cluster.await_ready(&first)?;
        for server in ring.iter().skip(1) {
            self.cluster.start(server)?;
            self.cluster.await_ready(std::slice::from_ref(server))?;
        }
        let nodes: Vec<Server> = (1..=NODES).map(|i| self.node(i)).collect();
        for server in &nodes {
            self.cluster.start(server)?;
        }
        self.cluster.await_ready(&nodes)?;
        self.servers = [first, ring.into_iter().skip(1).collect(), nodes].concat();
        Ok(())
    }

    /// How to start node i, which sees its servers through its own proxies.
    fn node(&self, i: u8) -> Server {
        let journal = match &self.ring {
            None => Journal::Bus,
            Some(ring) => Journal::Cassandra {
                hosts: self.places.cassandra_proxies(i, ring.hosts.len()),
                replication: ring.hosts.len(),
            },
        };
        let nodes = Nodes {
            config: Some(self.config.clone()),
            program: self.program(Version::Before).to_owned(),
            nats: self.places.nats_proxies(i, self.nats.servers),
            replicas: self.nats.servers,
            journal,
            dir: self.data.clone(),
        };
        nodes.server_at(i, self.places.node(i))
    }

    /// A version of the program; where there is no other, this one.
    fn program(&self, version: Version) -> &Path {
        let before = self.setup.before.as_deref();
        let before = before.filter(|_| version == Version::Before);
        before.unwrap_or(&self.setup.program)
    }

    /// A node starts as this version from now on.
    pub fn install(&mut self, name: &str, version: Version) -> Result<()> {
        let program = self.program(version).to_owned();
        let server = self.servers.iter_mut().find(|server| server.name == name);
        server
            .with_context(|| format!("there is no {name}"))?
            .program = program;
        Ok(())
    }

    /// What was asked for.
    pub fn setup(&self) -> &Setup {
        &self.setup
    }

    /// Where logs are.
    pub fn logs(&self) -> PathBuf {
        self.cluster
            .state()
            .log("x")
            .parent()
            .unwrap_or(Path::new("."))
            .to_owned()
    }

    /// Where servers keep what they keep, each in a folder of its name.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Servers that keep the journal.
    pub fn stores(&self) -> Vec<String> {
        self.names(match self.ring {
            None => Kind::Nats,
            Some(_) => Kind::Cassandra,
        })
    }

    /// Where clients go, in the order of the nodes.
    pub fn urls(&self) -> Vec<String> {
        (1..=NODES).map(|i| self.places.url(i)).collect()
    }

    /// Where clients would find the node that joins later.
    pub fn spare_url(&self) -> String {
        self.places.url(SPARE)
    }

    /// Where operators ask, in the order of the nodes.
    pub fn operators(&self) -> Vec<SocketAddr> {
        let place = (1..=NODES).map(|i| self.places.node(i));
        place.map(|it| (it.host, it.internal).into()).collect()
    }

    /// The network.
    pub fn links(&self) -> &Links {
        &self.links
    }

    /// The bus, asked directly.
    pub fn bus(&self) -> Bus {
        Bus::new(self.nats.urls())
    }

    /// Names of all servers of a kind.
    pub fn names(&self, kind: Kind) -> Vec<String> {
        self.servers
            .iter()
            .filter(|server| server.kind == kind)
            .map(|server| server.name.clone())
            .collect()
    }

    fn identity(&self, name: &str) -> Result<Identity> {
        Ok(self.cluster.state().read()?.process(name)?.identity)
    }

    /// How to start a server.
    pub fn server(&self, name: &str) -> Result<Server> {
        let known = self
            .servers
            .iter()
            .find(|server| server.name == name)
            .cloned();
        known.with_context(|| format!("there is no {name}"))
    }

    /// SIGKILL, and waits until it is gone.
    pub fn kill(&mut self, name: &str) -> Result<()> {
        let identity = self.identity(name)?;
        block_in_place(|| identity.kill())?;
        self.cluster.changes().map(drop)
    }

    /// SIGSTOP or SIGCONT.
    pub fn signal(&self, name: &str, signal: Signal) -> Result<()> {
        self.identity(name)?.signal(signal);
        Ok(())
    }

    /// SIGTERM, and waits until it has ended by itself. Whether it did.
    pub fn stop(&mut self, name: &str) -> Result<bool> {
        let identity = self.identity(name)?;
        identity.signal(Signal::SIGTERM);
        self.ended(name)
    }

    /// Waits until it has ended by itself, which it was asked to; else kills it. Whether it did.
    pub fn ended(&mut self, name: &str) -> Result<bool> {
        let identity = self.identity(name)?;
        let ended = block_in_place(|| wait_for(ORDERLY, || !identity.is_alive()));
        if !ended {
            block_in_place(|| identity.kill())?;
        }
        self.cluster.changes()?;
        Ok(ended)
    }

    /// Starts what is dead, the spare node included. It is not ready yet.
    pub fn begin(&mut self, name: &str) -> Result<Server> {
        if name == format!("node-{SPARE}") && !self.servers.iter().any(|server| server.name == name)
        {
            self.servers.push(self.node(SPARE));
        }
        let server = self.server(name)?;
        block_in_place(|| self.cluster.start(&server))?;
        Ok(server)
    }

    /// Makes everything as it was in the beginning: a whole network, all servers running and ready,
    /// no spare node.
    pub fn heal(&mut self) -> Result<()> {
        self.links.mend();
        let spare = format!("node-{SPARE}");
        if self.servers.iter().any(|server| server.name == spare) {
            if self.identity(&spare)?.is_alive() {
                self.stop(&spare)?;
            }
            self.servers.retain(|server| server.name != spare);
        }
        // Servers before nodes: a node that starts without them waits, and gives up.
        for kind in [Kind::Cassandra, Kind::Nats, Kind::Node] {
            let servers: Vec<Server> = self
                .servers
                .iter()
                .filter(|server| server.kind == kind)
                .cloned()
                .collect();
            for server in &servers {
                match self.identity(&server.name)?.condition() {
                    Condition::Running => {}
                    Condition::Paused => self.signal(&server.name, Signal::SIGCONT)?,
                    Condition::Dead => {
                        self.cluster.changes()?;
                        block_in_place(|| self.cluster.start(server))?;
                    }
                }
            }
            let late: Vec<Server> = servers
                .into_iter()
                .filter(|server| block_in_place(|| server.ready.ask()).is_err())
                .collect();
            if !late.is_empty() {
                block_in_place(|| self.cluster.await_ready(&late))?;
            }
        }
        Ok(())
    }

    /// Names of servers that are dead.
    pub fn dead(&self) -> Result<Vec<String>> {
        let names = self.servers.iter().map(|server| server.name.clone());
        let looked: Result<Vec<_>> = names
            .map(|name| Ok((self.identity(&name)?.is_alive(), name)))
            .collect();
        Ok(looked?
            .into_iter()
            .filter(|(alive, _)| !alive)
            .map(|(_, name)| name)
            .collect())
    }

    /// What `safe-chat journal verify` says of a room, when it is not sound.
    pub fn verify(&self, room: &str) -> Result<Option<String>> {
        let mut command = Command::new(&self.setup.program);
        command.args([
            "journal",
            "verify",
            room,
            "--nats",
            &self.nats.urls(),
            "--journal",
            self.setup.journal.as_str(),
        ]);
        if let Some(ring) = &self.ring {
            command.args(["--cassandra", &ring.addresses()]);
        }
        let output = block_in_place(|| command.output()).context("safe-chat cannot be run")?;
        let text = [output.stdout, output.stderr].concat();
        Ok((!output.status.success()).then(|| {
            format!(
                "journal verify {room}: {}",
                String::from_utf8_lossy(&text).trim()
            )
        }))
    }

    /// Ends everything at once and deletes its data; logs stay.
    pub fn end(mut self) -> Result<()> {
        block_in_place(|| self.cluster.stop(Duration::ZERO))?;
        match std::fs::remove_dir_all(&self.data) {
            Err(error) if self.data.exists() => say(format!(
                "{} cannot be removed: {error}",
                self.data.display()
            )),
            _ => {}
        }
        Ok(())
    }
}

fn configuration(dir: &Path) -> Result<PathBuf> {
    let file = dir.join("chaos.toml");
    std::fs::create_dir_all(dir)
        .and_then(|()| std::fs::write(&file, SETTINGS))
        .with_context(|| format!("cannot write {}", file.display()))?;
    Ok(file)
}
