//! A whole node: which adapters stand behind the ports, in which order the parts start, and in
//! which they end.
//!
//! Start: internal port, bus and journal (waiting for their servers), cluster with the writer,
//! gateway. [`App::start_with`] takes the ports from outside, so that whole nodes run over memory
//! adapters in one process.

mod cassandra;
pub(crate) mod compared;
pub(crate) mod connect;
mod facts;
mod formats;
pub(crate) mod hold;
pub(crate) mod look;
mod operator;
mod readiness;
mod running;
pub(crate) mod transfer;
mod wait;

pub use running::Running;

use crate::{
    access::Access,
    bus::{self, Bus, ClusterId, FORMATS, NodeRecord, Role, Settings},
    cluster,
    config::Config,
    gateway,
    journal::{Behind, Journal},
    ops::{banner::Fact, host},
    room::{Incarnation, Shards},
    writer,
};
use anyhow::{Context, anyhow};
use backon::{ConstantBuilder, Retryable};
use running::{Domain, Internal};
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;
use tracing::warn;
use uuid::Uuid;

/// Between two attempts to agree on the settings.
const AGAIN: Duration = Duration::from_millis(200);

/// Fewer connections than a node has memory for anywhere: its limit of open files was left too low.
const FEW_CONNECTIONS: usize = 10_000;

/// The ports of a node.
#[derive(Clone)]
pub struct Ports {
    /// The bus.
    pub bus: Arc<dyn Bus>,
    /// The journal.
    pub journal: Arc<dyn Journal>,
    /// A room of which it has less than the bus.
    pub behind: Option<Behind>,
    /// What the banner says of both.
    pub facts: Vec<Fact>,
}

/// Starts nodes.
pub struct App;

impl App {
    /// Starts a node with the servers that the configuration names; waits for those that are not
    /// there yet. Says what it found.
    pub async fn start(config: Config) -> anyhow::Result<Running> {
        let internal = Internal::open(&config).await?;
        let (ports, nats) = connect::ports(&config, shards(&config)?, &internal.readiness).await?;
        let facts = ports.facts.clone();
        let mut running = start(&config, ports, internal).await?;
        running.offer(nats, &config.node);
        facts::announce(&config, &running, &facts);
        Ok(running)
    }

    /// Starts a node over given ports.
    pub async fn start_with(config: Config, ports: Ports) -> anyhow::Result<Running> {
        let internal = Internal::open(&config).await?;
        agree(&config, &*ports.bus, known(&config)).await?;
        start(&config, ports, internal).await
    }
}

/// From which commit this program was built; empty: it is not known.
fn commit() -> &'static str {
    match env!("SAFE_CHAT_COMMIT") {
        noted if noted.bytes().all(|b| b.is_ascii_hexdigit()) => noted,
        _ => "",
    }
}

async fn start(config: &Config, ports: Ports, internal: Internal) -> anyhow::Result<Running> {
    let me = NodeRecord {
        incarnation: Incarnation::of_node(&config.node.name, Uuid::now_v7()),
        name: config.node.name.clone(),
        roles: config.node.roles.clone(),
        draining: false,
        version: env!("CARGO_PKG_VERSION").into(),
        commit: commit().into(),
        address: internal.advertised(config).into(),
        unreachable: Vec::new(),
        formats: FORMATS,
        keeps: (config.node.has(Role::Writer)).then(|| config.writer.retention()),
        gone_after_s: (config.node.has(Role::Writer)).then_some(config.writer.gone_after_s),
    };
    let mut watched = Vec::new();
    let writer = config.node.has(Role::Writer).then(|| {
        let (bus, journal) = (ports.bus.clone(), ports.journal.clone());
        writer::Handle::new(config.writer.clone(), bus, journal)
    });
    if let (Some(writer), Some(behind)) = (&writer, &ports.behind) {
        writer.note_behind(behind.clone());
    }
    watched.extend(writer.as_ref().map(writer::Handle::pressure));
    let owner = writer.clone();
    let owner = owner.map(|writer| Arc::new(writer) as Arc<dyn cluster::Owner>);
    let gateway = match config.node.has(Role::Gateway) {
        true => {
            let (mut settings, name, Ports { bus, journal, .. }) = (
                config.gateway.clone(),
                config.node.name.clone(),
                ports.clone(),
            );
            settings.gone_after_s = config.writer.gone_after_s;
            settings.internal_port = Some(internal.address.port());
            if settings.max_connections == 0 {
                settings.max_connections = most_connections();
            }
            let access = Access::load(&config.access)
                .context("the keys of tokens cannot be read (access.keys, access.hs256_keys)")?;
            let gateway =
                gateway::Service::new(settings, access.clone(), me.incarnation, name, bus, journal);
            watched.push(gateway.handle().pressure());
            Some((gateway, listen(config).await?, access))
        }
        false => None,
    };
    let cluster = cluster::Service::new(config.cluster.clone(), me, ports.bus.clone(), owner)?;
    let parts = Domain {
        cluster,
        writer,
        gateway,
        watched,
    };
    Running::new(config, ports, internal, parts)
}

/// As many as three quarters of the open files that this process may have; 0: the system does not
/// say.
fn most_connections() -> usize {
    let Some(files) = host::open_files() else {
        return 0;
    };
    let most = files / 4 * 3;
    if most < FEW_CONNECTIONS {
        warn!(
            "this process may have only {files} open files, enough for {most} connections of clients: \
             raise the limit (ulimit -n, LimitNOFILE, ulimits.nofile in a compose file)"
        );
    }
    most
}

async fn listen(config: &Config) -> anyhow::Result<gateway::Port> {
    let identity = config.gateway.identity().context(
        "the port for clients cannot speak TLS (gateway.tls_certificate, gateway.tls_key)",
    )?;
    let gateway::Config { host, port, .. } = &config.gateway;
    let listener = gateway::bind(host, *port)
        .await
        .map_err(|why| anyhow!("the port for clients {host}:{port} cannot be opened: {why}"))?;
    Ok(gateway::Port::new(listener, identity))
}

fn shards(config: &Config) -> anyhow::Result<Shards> {
    Ok(config.cluster.validate()?)
}

/// What this node would have the cluster be, if it is the first.
fn known(config: &Config) -> Settings {
    Settings {
        cluster: Some(ClusterId::make()),
        journal: Some(config.journal.kind),
        ..Settings::of_shards(config.cluster.shards)
    }
}

/// What all nodes must agree on is fixed for the life of a cluster: rooms would be looked for in
/// wrong places. The settings that are stored.
async fn agree(config: &Config, bus: &dyn Bus, wanted: Settings) -> anyhow::Result<Settings> {
    // A cluster of NATS servers says that the settings are there before any of them shows them.
    let pauses = ConstantBuilder::default()
        .with_delay(AGAIN)
        .without_max_times();
    let since = Instant::now();
    let may_help = |error: &bus::Error| {
        !matches!(error, bus::Error::Unusable(_)) && since.elapsed() < config.node.start_timeout()
    };
    let read = (|| bus.settings(&wanted)).retry(pauses).when(may_help);
    let stored = read
        .await
        .context("the cluster's settings cannot be read")?;
    match stored.contradiction(&wanted) {
        None => Ok(stored),
        Some(why) => Err(anyhow!(why)),
    }
}
