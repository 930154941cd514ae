//! A node that runs: how it is observed, and the order in which it stops.
//!
//! Stop: unready, new clients refused, shards handed over, clients sent elsewhere, internal port
//! last. Within the configured time, of which the farewell to clients has a part for itself. What
//! is not done then is dropped, which costs others time (they find out that this node is gone) but
//! no event. Without servers that is soon: a step that does not get on is given up.

use super::{
    Ports, facts, formats,
    operator::{NodeOperator, warnings},
};
use crate::{
    access::Access,
    bus::{
        self, Role,
        nats::{About, Micro, Nats},
    },
    cluster::{self, View},
    config::{self, Config},
    gateway,
    ops::{self, Check, Readiness},
    pressure::{self, Pressure},
    room::Incarnation,
    tls, writer,
};
use anyhow::{Context, anyhow};
use serde_json::json;
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

/// How long clients may take to be told to go elsewhere, and the ends of their sessions to be
/// stored, after the hand-over did not end well.
const FAREWELL: Duration = Duration::from_secs(2);

/// The tasks of a node. None ends before it is asked to, unless it failed.
type Parts = JoinSet<anyhow::Result<()>>;

/// The internal port, which is there before and after everything else.
pub(super) struct Internal {
    pub(super) readiness: Arc<Readiness>,
    pub(super) address: SocketAddr,
    /// Where probes are answered, which may be another port.
    pub(super) probes: SocketAddr,
    /// Who may manage it.
    pub(super) accounts: ops::Accounts,
    slot: ops::OperatorSlot,
    vitals: ops::Vitals,
    stop: CancellationToken,
    parts: Parts,
}

impl Internal {
    pub(super) async fn open(config: &Config) -> anyhow::Result<Self> {
        let (readiness, stop, mut parts) = (
            Arc::new(Readiness::default()),
            CancellationToken::new(),
            Parts::new(),
        );
        let (ops, node) = (&config.ops, &config.node.name);
        let service = ops::Service::bind(ops, node, readiness.clone()).await?;
        let (address, slot, until) = (service.address(), service.slot(), stop.clone());
        let (probes, accounts) = (service.probes_address(), service.accounts());
        let vitals = service.vitals();
        parts.spawn(async move {
            service.run(until).await;
            Ok(())
        });
        Ok(Self {
            readiness,
            address,
            probes,
            accounts,
            slot,
            vitals,
            stop,
            parts,
        })
    }
}

impl Internal {
    /// Where others reach it: a node that listens everywhere goes by its name.
    pub(super) fn advertised(&self, config: &Config) -> String {
        let everywhere = self.address.ip().is_unspecified();
        let host = match &config.ops.advertise {
            Some(host) => host,
            None if everywhere => &config.node.name,
            None => &config.ops.host,
        };
        match host.parse::<std::net::Ipv6Addr>() {
            Ok(host) => format!("[{host}]:{}", self.address.port()),
            Err(_) => format!("{host}:{}", self.address.port()),
        }
    }
}

/// What a node consists of beside its ports.
pub(super) struct Domain {
    pub(super) cluster: cluster::Service,
    pub(super) writer: Option<writer::Handle>,
    pub(super) gateway: Option<(gateway::Service, gateway::Port, Access)>,
    /// Where it is told how short of memory the process is.
    pub(super) watched: Vec<Pressure>,
}

/// A node that runs. Dropping it ends it at once, as a crash would.
pub struct Running {
    internal: Internal,
    cluster: cluster::Handle,
    gateway: Option<(gateway::Handle, SocketAddr)>,
    certificates: tls::Watch,
    drain_timeout: Duration,
    /// Cancelled: an operator wants it to stop.
    unwanted: CancellationToken,
    /// Cancelled: the gateway says goodbye to its clients.
    farewell: CancellationToken,
    /// Cancelled by the gateway's end.
    parted: CancellationToken,
    stop: CancellationToken,
}

impl Running {
    pub(super) fn new(
        config: &Config,
        ports: Ports,
        mut internal: Internal,
        parts: Domain,
    ) -> anyhow::Result<Self> {
        let Domain {
            cluster,
            writer,
            gateway,
            watched,
        } = parts;
        let stop = CancellationToken::new();
        let (farewell, parted) = (CancellationToken::new(), CancellationToken::new());
        if let Some(limit) = ops::host::memory_limit() {
            let until = stop.clone();
            internal.parts.spawn(async move {
                pressure::watch(limit, watched, until).await;
                Ok(())
            });
        }
        let members = cluster.handle();
        let until = stop.clone();
        internal
            .parts
            .spawn(async move { cluster.run(until).await.context("the cluster part ended") });
        internal.parts.spawn(facts::tell_shards(
            members.watch(),
            config.cluster.shards,
            stop.clone(),
        ));
        internal
            .parts
            .spawn(warnings::tell(members.watch(), members.me(), stop.clone()));
        if config.node.has(Role::Writer) {
            let (bus, shards) = (ports.bus.clone(), config.cluster.shards);
            let (views, until) = (members.watch(), stop.clone());
            let writes = writer.clone();
            internal.parts.spawn(async move {
                let told = move |format| {
                    if let Some(writer) = &writes {
                        writer.note_formats(format);
                    }
                };
                formats::note(bus, shards, views, told, until.clone()).await;
                until.cancelled().await;
                Ok(())
            });
        }
        let of_clients = gateway.iter().filter_map(|(_, port, _)| port.identity());
        let of_clients = of_clients.map(|identity| ("clients", identity));
        let certificates = tls::Watch::new(of_clients.chain(shown_to_servers(config)?));
        let (watched, until) = (certificates.clone(), stop.clone());
        internal.parts.spawn(async move {
            watched.run(until).await;
            Ok(())
        });
        let (readiness, until) = (internal.readiness.clone(), stop.clone());
        internal.parts.spawn(async move {
            super::readiness::tell(readiness, until).await;
            Ok(())
        });
        let admits = gateway.as_ref().map(|(_, _, access)| access.clone());
        let mut clients = None;
        if let Some((gateway, port, access)) = gateway {
            let until = stop.clone();
            internal.parts.spawn(async move {
                access.run(until).await;
                Ok(())
            });
            clients = Some((gateway.handle(), port.address()?));
            let (until, members, handle) = (farewell.clone(), members.clone(), gateway.handle());
            let done = parted.clone().drop_guard();
            internal.parts.spawn(async move {
                let _done = done;
                // Clients wait in the listen queue until the cluster knows this node: the sessions
                // of an unknown one would be taken for abandoned.
                if until.run_until_cancelled(members.known()).await.is_some() {
                    tokio::join!(
                        gateway.run(port, until.clone()),
                        until.run_until_cancelled(handle.follow(members))
                    );
                }
                Ok(())
            });
        }
        let unwanted = CancellationToken::new();
        let shards = config.cluster.validate()?;
        let gateway = clients.as_ref().map(|(gateway, _)| gateway.clone());
        let of_writer = writer.clone();
        let operator = NodeOperator {
            bus: ports.bus.clone(),
            journal: ports.journal.clone(),
            moving: Arc::default(),
            cluster: members.clone(),
            gateway,
            writer,
            shards,
            vitals: internal.vitals.clone(),
            unwanted: unwanted.clone(),
        };
        let operator = Arc::new(operator);
        // Set once: this node starts once.
        let _ = internal.slot.set(operator.clone());
        let until = stop.clone();
        internal.parts.spawn(async move {
            operator.answer_others(until).await;
            Ok(())
        });
        internal.parts.spawn(end_when_down(
            members.watch(),
            unwanted.clone(),
            stop.clone(),
        ));
        internal.parts.spawn(end_when_outdated(
            formats::until_outdated(ports.bus.clone(), members.watch()),
            unwanted.clone(),
            stop.clone(),
        ));
        let (health, shown) = (ports.bus.health(), certificates.clone());
        let (ending, seen) = (certificates.clone(), members.clone());
        let accounts = internal.accounts.clone();
        internal.readiness.describe(ops::Described {
            roles: config.node.roles.iter().map(bus::Role::as_str).collect(),
            certificates: Box::new(move || ending.ends()),
        });
        let gateway = clients.clone().map(|(gateway, _)| gateway);
        let rooms = gateway.clone();
        internal.readiness.running(
            checks(ports, members.clone(), gateway),
            Box::new(move || {
                let of_bus = texts(&health.borrow().warnings);
                let of_cluster = warnings::all(&seen.watch().borrow(), seen.me());
                let of_access = admits.iter().flat_map(Access::warnings).collect();
                [
                    of_bus,
                    of_writer.iter().flat_map(|it| it.warnings()).collect(),
                    shown.warnings(),
                    accounts.warnings(),
                    of_access,
                    rooms.iter().flat_map(|it| it.warnings()).collect(),
                    of_cluster,
                ]
                .concat()
            }),
        );
        Ok(Self {
            internal,
            cluster: members,
            gateway: clients,
            certificates,
            drain_timeout: config.node.drain_timeout(),
            unwanted,
            farewell,
            parted,
            stop,
        })
    }

    /// Shows it among the micro services of NATS.
    pub(super) fn offer(&mut self, nats: Nats, node: &config::Node) {
        let (readiness, cluster) = (self.internal.readiness.clone(), self.cluster.clone());
        let gateway = self.gateway.as_ref().map(|(gateway, _)| gateway.clone());
        let name = node.name.clone();
        let health = move || {
            let why = readiness.why_not();
            json!({
                "node": name,
                "ready": why.is_empty(),
                "why": why,
                "warnings": readiness.warnings(),
                "shards": cluster.watch().borrow().owned.len(),
                "sessions": gateway.as_ref().map_or(0, gateway::Handle::sessions),
            })
        };
        let about = About {
            incarnation: self.incarnation(),
            node: node.name.clone(),
            roles: node.roles.clone(),
            health: Arc::new(health),
        };
        let (micro, until) = (Micro::new(nats, about), self.stop.clone());
        self.internal.parts.spawn(async move {
            micro.run(until).await;
            Ok(())
        });
    }

    /// Where clients find it, if it is a gateway.
    pub fn client_address(&self) -> Option<SocketAddr> {
        self.gateway.as_ref().map(|(_, address)| *address)
    }

    /// Where operators find it.
    pub fn internal_address(&self) -> SocketAddr {
        self.internal.address
    }

    /// Where probes find it: `/live`, `/ready`, `/metrics`.
    pub fn probes_address(&self) -> SocketAddr {
        self.internal.probes
    }

    /// Who may manage it.
    pub fn accounts(&self) -> ops::Accounts {
        self.internal.accounts.clone()
    }

    /// This run of the node.
    pub fn incarnation(&self) -> Incarnation {
        self.cluster.me()
    }

    /// Cancelled when an operator asks it to stop: then [`Self::drain`] it.
    pub fn unwanted(&self) -> CancellationToken {
        self.unwanted.clone()
    }

    /// Reads the certificates and the file of operators again, because somebody asked for it. Does
    /// not wait for that: files that cannot be reached must not keep a node from stopping.
    pub fn reload(&self) {
        let (certificates, accounts) = (self.certificates.clone(), self.accounts());
        tokio::spawn(async move { tokio::join!(certificates.reload(), accounts.reload()) });
    }

    /// Whether an operator declared it down.
    pub fn is_down(&self) -> bool {
        self.cluster.view().downed
    }

    /// Waits until a part fails, which none should ever do; then the node cannot go on.
    pub async fn failed(&mut self) -> anyhow::Error {
        match self.internal.parts.join_next().await {
            Some(Ok(Err(error))) => error,
            Some(Err(panic)) => anyhow!("a part of the node broke: {panic}"),
            Some(Ok(Ok(()))) | None => anyhow!("a part of the node ended without being asked to"),
        }
    }

    /// Stops in order, within the configured time.
    pub async fn drain(self) {
        let since = Instant::now();
        let mut deadline = since + self.drain_timeout;
        let farewell = FAREWELL.min(self.drain_timeout / 4);
        self.internal.readiness.draining();
        if let Some((gateway, _)) = &self.gateway {
            gateway.refuse();
        }
        let handed_over = timeout_at(deadline - farewell, self.cluster.drain()).await;
        if !matches!(handed_over, Ok(true)) {
            // What kept the shards here keeps the ends of sessions from being stored, too.
            deadline = deadline.min(Instant::now() + farewell);
            warn!(
                "not all shards could be handed over; others take them when they notice that this node is gone"
            );
        }
        let Internal {
            mut parts, stop, ..
        } = self.internal;
        let ended = async {
            // The cluster forgets this node only after that: the sessions of an unknown one are
            // taken for abandoned, and their clients would be told so before the goodbye.
            self.farewell.cancel();
            if self.gateway.is_some() {
                self.parted.cancelled().await;
            }
            self.stop.cancel();
            // The internal port is the last part that runs.
            while parts.len() > 1 {
                parts.join_next().await;
            }
            stop.cancel();
            while parts.join_next().await.is_some() {}
        };
        match timeout_at(deadline, ended).await {
            Ok(()) => info!("drained in {:.1} s", since.elapsed().as_secs_f64()),
            Err(_) => warn!(
                "not drained after {:.1} s: ending as a crash would",
                since.elapsed().as_secs_f64()
            ),
        }
    }
}

/// The certificates that servers are shown, by which servers. Connections read their own copies of
/// the files; these are for whoever looks after them.
fn shown_to_servers(config: &Config) -> anyhow::Result<Vec<(&'static str, Arc<tls::Identity>)>> {
    let (bus, cassandra) = (&config.bus, &config.cassandra);
    let of_bus = bus.tls_certificate.as_ref().zip(bus.tls_key.as_ref());
    let of_cassandra = cassandra.tls_certificate.as_ref();
    let of_cassandra = of_cassandra
        .zip(cassandra.tls_key.as_ref())
        .filter(|_| config.journal.kind == config::JournalKind::Cassandra);
    let all = [("nats", of_bus), ("cassandra", of_cassandra)].into_iter();
    let set = all.filter_map(|(servers, pair)| Some((servers, pair?)));
    set.map(|(servers, (certificate, key))| Ok((servers, tls::Identity::load(certificate, key)?)))
        .collect()
}

/// A node that was declared down is not wanted any more.
async fn end_when_down(
    mut views: watch::Receiver<View>,
    unwanted: CancellationToken,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let down = views.wait_for(|view| view.downed);
    if let Some(Ok(_)) = stop.run_until_cancelled(down).await {
        unwanted.cancel();
    }
    stop.cancelled().await;
    Ok(())
}

/// Hands over to nodes of a newer version, which alone understand what is stored.
async fn end_when_outdated(
    outdated: impl Future<Output = ()>,
    unwanted: CancellationToken,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    if stop.run_until_cancelled(outdated).await.is_some() {
        error!(
            "the cluster stores forms that this program does not read, and other nodes do: it hands \
             over to them and ends; install the version that they have"
        );
        unwanted.cancel();
    }
    stop.cancelled().await;
    Ok(())
}

fn checks(ports: Ports, cluster: cluster::Handle, gateway: Option<gateway::Handle>) -> Vec<Check> {
    let Ports { bus, journal, .. } = ports;
    let health = bus.health();
    let faults = move || match texts(&health.borrow().faults) {
        faults if faults.is_empty() => Ok(()),
        faults => Err(faults.join("; ")),
    };
    let mut checks: Vec<Check> = vec![
        ("bus", Box::new(move || bus.ready())),
        ("streams", Box::new(faults)),
        ("journal", Box::new(move || journal.ready())),
        ("cluster", Box::new(move || cluster.ready())),
    ];
    if let Some(gateway) = gateway {
        checks.push(("gateway", Box::new(move || gateway.ready())));
    }
    checks
}

fn texts(faults: &[bus::Fault]) -> Vec<String> {
    faults.iter().map(ToString::to_string).collect()
}
