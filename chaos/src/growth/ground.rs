//! What something grows on: one nats-server, one Cassandra if rooms are kept there, and two nodes
//! without limits for the one address that everything comes from.

use super::tell::Grown;
use crate::{
    site::{Bus, Kept, journal, shard_of},
    soak::figures::{Kind, Place, measure},
};
use anyhow::{Context, Result, ensure};
use safe_chat::{
    bus::nats::{self, Nats as Connection},
    journal::{bus::OnBus, cassandra as tables, codec, inspect::Inspect},
    room::{RoomId, Shards},
};
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::{
    task::block_in_place,
    time::{Instant, sleep},
};
use xtask::{
    cluster::{self, Cluster},
    interrupt::Interrupt,
    loopback,
    nats::Nats,
    node::{self, Nodes},
    obtain,
    server::Server,
    state::State,
};

const HTTP: u16 = 8080;
const INTERNAL: u16 = 8558;
const MONITORING: u16 = 8222;
/// How long what happens by itself may take: records are written, rooms leave the memory.
const BY_ITSELF: Duration = Duration::from_secs(900);
/// How often it is looked whether it has.
const LOOK: Duration = Duration::from_millis(500);

/// What one address may do is not what is measured.
const NO_LIMITS: &str = "\
[gateway]
address_rate = 0
address_bytes_rate = 0
connections_per_address = 0
join_rate = 0
max_rooms = 0
new_names_rate = 0
new_rooms_rate = 0
rooms_per_address = 0
user_rate = 0
user_bytes_rate = 0
user_new_rooms_rate = 0
";

/// All of it. Dropping it ends everything.
pub(super) struct Ground {
    cluster: Cluster,
    pub(super) interrupt: Interrupt,
    nodes: [Server; 2],
    /// Where clients come to the nodes.
    pub(super) gateways: [SocketAddr; 2],
    /// Where operators do.
    pub(super) operators: [SocketAddr; 2],
    nats: String,
    monitoring: String,
    cassandra: Option<String>,
    bus: Bus,
    data: PathBuf,
}

impl Ground {
    /// Starts everything and waits until it answers.
    pub(super) async fn start(
        kept: Kept,
        program: &Path,
        state: &State,
        interrupt: &Interrupt,
    ) -> Result<Self> {
        let started = block_in_place(|| start(kept, program, state, interrupt));
        started.context("the servers do not start")
    }

    /// Which node owns a room, and which does not.
    pub(super) async fn owner(&self, room: &str) -> Result<(usize, usize)> {
        let owner = self.bus.owner(room).await?;
        let is_first = owner == self.nodes[0].name;
        Ok(if is_first { (0, 1) } else { (1, 0) })
    }

    /// Another room of the same shard.
    pub(super) fn beside(&self, room: &str) -> String {
        let names = (0_u32..).map(|n| format!("beside-{n}"));
        let mut fits = names.filter(|name| shard_of(name) == shard_of(room));
        fits.next().expect("some name falls into every shard")
    }

    /// SIGKILL, and waits until it is gone; when it was sent.
    pub(super) fn kill(&mut self, node: usize) -> Result<Instant> {
        let state = self.cluster.state().read()?;
        let identity = state.process(&self.nodes[node].name)?.identity;
        let at = Instant::now();
        block_in_place(|| identity.kill())?;
        self.cluster.changes()?;
        Ok(at)
    }

    /// Starts a node that is dead; how long until it is ready.
    pub(super) fn start_again(&mut self, node: usize) -> Result<Duration> {
        let server = self.nodes[node].clone();
        let since = Instant::now();
        block_in_place(|| {
            self.cluster.start(&server)?;
            self.cluster.await_ready(std::slice::from_ref(&server))
        })?;
        Ok(since.elapsed())
    }

    /// A figure of a node, by its name among the metrics.
    pub(super) fn metric(&self, node: usize, name: &str) -> Result<f64> {
        self.all(node, |metric| metric == name)
    }

    /// The sum of a figure over the labels that it has.
    pub(super) fn sum(&self, node: usize, name: &str) -> Result<f64> {
        self.all(node, |metric| {
            metric
                .strip_prefix(name)
                .is_some_and(|it| it.starts_with('{'))
        })
    }

    fn all(&self, node: usize, is_wanted: impl Fn(&str) -> bool) -> Result<f64> {
        let url = format!("http://{}", self.operators[node]);
        let figures = self.measure(Kind::Node, url)?;
        let wanted = figures.into_iter().filter(|(name, _)| is_wanted(name));
        Ok(wanted.map(|(_, value)| value).sum())
    }

    /// Bytes of a node that are in RAM.
    pub(super) fn memory(&self, node: usize) -> Result<f64> {
        self.metric(node, "process_resident_memory_bytes")
    }

    /// Figures of the nats-server: `mem`, `bytes`, `messages`, and those by the name of a stream.
    pub(super) fn nats(&self) -> Result<BTreeMap<String, f64>> {
        self.measure(Kind::Nats, self.monitoring.clone())
    }

    /// Bytes that a server has on the disk.
    pub(super) fn disk(&self, server: &str) -> Result<f64> {
        let folder = self.data.join(server).display().to_string();
        Ok(self.measure(Kind::Disk, folder)?["bytes"])
    }

    fn measure(&self, kind: Kind, url: String) -> Result<BTreeMap<String, f64>> {
        let name = String::new();
        block_in_place(|| measure(&Place { name, kind, url }))
    }

    /// Waits for what happens by itself.
    pub(super) async fn until(
        &self,
        what: &str,
        is_so: impl Fn(&Self) -> Result<bool>,
    ) -> Result<()> {
        let late = Instant::now() + BY_ITSELF;
        while !is_so(self)? {
            self.interrupt.check()?;
            ensure!(Instant::now() < late, "not within {BY_ITSELF:?}: {what}");
            sleep(LOOK).await;
        }
        Ok(())
    }

    /// Waits until rooms that nobody is in have left the memory of both nodes: they are saved then.
    pub(super) async fn falls_quiet(&self) -> Result<()> {
        let open = |ground: &Self, node| -> Result<f64> {
            let replicas = ground.metric(node, "safechat_rooms")?;
            Ok(replicas + ground.sum(node, "safechat_shard_rooms")?)
        };
        let is_quiet = |ground: &Self| Ok(open(ground, 0)? + open(ground, 1)? == 0.0);
        self.until("rooms have left the memory", is_quiet).await
    }

    /// A connection to the bus, as a node has it.
    pub(super) async fn connect(&self, name: &str) -> Result<Connection> {
        let defaults = nats::Config::default();
        let config = nats::Config {
            servers: vec![self.nats.clone()],
            node: name.to_owned(),
            event_bytes: self.cassandra.as_ref().map(|_| 1 << 30),
            ..defaults
        };
        Ok(Connection::connect(&config).await?)
    }

    /// Bytes of the newest snapshot of a room; 0: there is none.
    pub(super) async fn snapshot(&self, room: &RoomId) -> Result<f64> {
        let shards = Shards::new(64).context("64 is a valid count")?;
        let journal: Box<dyn Inspect> = match &self.cassandra {
            None => Box::new(OnBus::new(Arc::new(self.connect("growth").await?), shards)),
            Some(hosts) => {
                let config = tables::Config {
                    hosts: vec![hosts.clone()],
                    ..tables::Config::default()
                };
                Box::new(tables::connect(&config, shards).await?)
            }
        };
        let state = journal.snapshot(room).await?;
        Ok(state.map_or(0.0, |state| codec::encode_snapshot(&state).len() as f64))
    }

    /// What all servers take now.
    pub(super) fn weigh(&self, when: &str, told: &mut Grown) -> Result<()> {
        let nats = self.nats()?;
        let figure = |name: &str| nats.get(name).copied().unwrap_or_default();
        told.bytes(format!("NATS {when}: memory"), figure("mem"));
        told.bytes(format!("NATS {when}: stored"), figure("bytes"));
        told.bytes(format!("NATS {when}: disk"), self.disk("nats-1")?);
        if self.cassandra.is_some() {
            told.bytes(format!("Cassandra {when}: disk"), self.disk("cassandra-1")?);
        }
        Ok(())
    }

    /// Ends everything and deletes its data. What nodes have warned of is told.
    pub(super) fn end(mut self, told: &mut Grown) -> Result<()> {
        let logs = self
            .nodes
            .iter()
            .map(|node| self.cluster.state().log(&node.name));
        let logs: Vec<String> = logs.flat_map(std::fs::read_to_string).collect();
        let lines = || logs.iter().flat_map(|log| log.lines());
        let with = |level: &str| lines().filter(|line| line.contains(level)).count() as u64;
        told.number("lines of nodes at WARN", with(" WARN "));
        told.number("lines of nodes at ERROR", with(" ERROR "));
        block_in_place(|| {
            self.cluster.stop(cluster::GRACE)?;
            self.cluster.state().clear_logs()?;
            self.cluster.state().wipe_data()
        })
    }
}

fn start(kept: Kept, program: &Path, state: &State, interrupt: &Interrupt) -> Result<Ground> {
    let mut cluster = Cluster::new(state.clone(), interrupt.clone())?;
    let host = loopback::of_pid(std::process::id());
    let data = cluster.state().data("growth");
    let nats = Nats {
        program: obtain::nats::nats_server(interrupt)?,
        host,
        servers: 1,
        data: data.clone(),
        max_file: None,
    };
    let mut servers = nats.servers()?;
    let ring = kept.ring(vec![host], &data, interrupt)?;
    if let Some(ring) = &ring {
        servers.extend(ring.servers()?);
    }
    let journal = journal(ring.as_ref());
    let cassandra = ring.map(|ring| ring.addresses());
    launch(&mut cluster, &servers)?;
    let config = data.join("growth.toml");
    std::fs::write(&config, NO_LIMITS).with_context(|| config.display().to_string())?;
    let settings = Nodes {
        program: program.to_owned(),
        nats: nats.urls(),
        replicas: 1,
        journal,
        dir: data.clone(),
        config: Some(config),
    };
    let places = [1, 2].map(|i| node::Place {
        host,
        http: HTTP + i,
        internal: INTERNAL + i,
    });
    let nodes = [1, 2].map(|i| settings.server_at(i, places[usize::from(i) - 1]));
    launch(&mut cluster, &nodes)?;
    cluster.changes()?;
    let bus = Bus::new(nats.urls());
    Ok(Ground {
        cluster,
        interrupt: interrupt.clone(),
        nodes,
        gateways: places.map(|place| (host, place.http).into()),
        operators: places.map(|place| (host, place.internal).into()),
        nats: nats.urls(),
        monitoring: format!("http://{host}:{MONITORING}"),
        cassandra,
        bus,
        data,
    })
}

fn launch(cluster: &mut Cluster, servers: &[Server]) -> Result<()> {
    servers
        .iter()
        .try_for_each(|server| cluster.start(server))?;
    cluster.await_ready(servers)
}
