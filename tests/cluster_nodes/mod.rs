//! Nodes on one memory hub: started, killed, frozen, cut off and mended by name. Their owners only
//! hold leases and write down which.

mod faults;
mod writer;

use faults::Chances;
use futures::{FutureExt, StreamExt};
use safe_chat::{
    bus::{
        Bus, Commands, Direct, NodeRecord, NodeSeen, Position, Registry, Role, ShardSeen,
        Submission,
        memory::{Config as HubConfig, Hub, Memory},
    },
    cluster::{Config, Error, Handle, Owner, Service, assignee},
    room::{Epoch, Incarnation, ShardId, Shards},
};
use std::{
    collections::BTreeMap,
    future::poll_fn,
    pin::pin,
    sync::{Arc, Mutex},
    task::{Poll, Waker},
    time::Duration,
};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use writer::{Ledger, Writer};

/// Enough that rendezvous hashing spreads them, few enough to be fast.
pub(crate) const SHARDS: u16 = 32;

pub(crate) struct Cluster {
    hub: Hub,
    /// A connection that nothing happens to.
    pub(crate) bus: Memory,
    chances: Arc<Chances>,
    ledger: Arc<Mutex<Ledger>>,
    nodes: BTreeMap<String, Node>,
    started: u64,
}

struct Node {
    id: Incarnation,
    memory: Memory,
    writer: Arc<Writer>,
    handle: Handle,
    shutdown: CancellationToken,
    task: JoinHandle<Result<(), Error>>,
    frost: Arc<Frost>,
    cut: bool,
}

impl Cluster {
    pub(crate) fn new() -> Self {
        Self::with(Chances::none())
    }

    /// Calls are slow, fail and lose their answers, by chance.
    pub(crate) fn with_faults(seed: u64) -> Self {
        Self::with(Chances::of(seed))
    }

    fn with(chances: Chances) -> Self {
        let chances = Arc::new(chances);
        let config = HubConfig {
            shards: Shards::new(SHARDS).unwrap(),
            ..HubConfig::default()
        };
        let hub = Hub::with_faults(config, chances.clone());
        let bus = hub.connect();
        chances.spare(bus.connection());
        let ledger = Arc::<Mutex<Ledger>>::default();
        tokio::spawn(audit(bus.clone(), ledger.clone()));
        Self {
            hub,
            bus,
            chances,
            ledger,
            nodes: BTreeMap::new(),
            started: 0,
        }
    }

    pub(crate) fn start(&mut self, name: &str) {
        self.start_as(name, vec![Role::Gateway, Role::Writer]);
    }

    pub(crate) fn start_gateway(&mut self, name: &str) {
        self.start_as(name, vec![Role::Gateway]);
    }

    /// Starts nodes and waits until they share the shards.
    pub(crate) async fn start_all(&mut self, names: &[&str]) {
        names.iter().for_each(|name| self.start(name));
        self.settled(names, Duration::from_secs(5)).await;
        // The phase of the heartbeats is the worst for whoever waits for them: one has just been
        // stored.
        sleep(Duration::from_millis(1010)).await;
    }

    /// A node of another version of the program.
    pub(crate) fn start_version(&mut self, name: &str, version: &str) {
        let record = NodeRecord {
            version: version.into(),
            ..self.record(name, vec![Role::Gateway, Role::Writer])
        };
        self.start_with(name, record);
    }

    fn start_as(&mut self, name: &str, roles: Vec<Role>) {
        let record = self.record(name, roles);
        self.start_with(name, record);
    }

    fn start_with(&mut self, name: &str, record: NodeRecord) {
        let memory = self.hub.connect();
        let (id, writes) = (record.incarnation, record.roles.contains(&Role::Writer));
        let writer = Arc::new(Writer::new(self.ledger.clone()));
        let owner = writes.then(|| writer.clone() as Arc<dyn Owner>);
        let config = Config {
            shards: SHARDS,
            ..Config::default()
        };
        let service = Service::new(
            config,
            record,
            Arc::new(memory.clone()) as Arc<dyn Bus>,
            owner,
        )
        .unwrap();
        let (handle, shutdown, frost) = (
            service.handle(),
            CancellationToken::new(),
            Arc::<Frost>::default(),
        );
        let task = tokio::spawn(frost.clone().over(service.run(shutdown.clone())));
        self.nodes.insert(
            name.into(),
            Node {
                id,
                memory,
                writer,
                handle,
                shutdown,
                task,
                frost,
                cut: false,
            },
        );
    }

    pub(crate) async fn start_with_shards(&mut self, name: &str, shards: u16) -> Result<(), Error> {
        let record = self.record(name, vec![Role::Gateway]);
        let service = Service::new(
            Config {
                shards,
                ..Config::default()
            },
            record,
            Arc::new(self.hub.connect()),
            None,
        )?;
        service.run(CancellationToken::new()).await
    }

    fn record(&mut self, name: &str, roles: Vec<Role>) -> NodeRecord {
        NodeRecord {
            incarnation: self.new_id(),
            name: name.into(),
            roles,
            draining: false,
            version: "0".into(),
            commit: "".into(),
            address: "127.0.0.1:8558".into(),
            unreachable: Vec::new(),
            formats: safe_chat::bus::FORMATS,
            keeps: None,
            gone_after_s: None,
        }
    }

    fn new_id(&mut self) -> Incarnation {
        self.started += 1;
        Incarnation::new(Uuid::from_u64_pair(
            self.started,
            self.started.wrapping_mul(0x9e37_79b9_7f4a_7c15),
        ))
    }

    /// A gateway that answers probes and is not in the registry; it is there for as long as the
    /// guard lives.
    pub(crate) async fn unseen_gateway(&mut self) -> (Incarnation, Box<dyn Send + Sync>) {
        let id = self.new_id();
        (id, self.bus.answer_probes(id).await.unwrap())
    }

    /// Its process is gone, and its connection with it.
    pub(crate) fn kill(&mut self, name: &str) {
        let node = self.nodes.remove(name).unwrap();
        self.hub.cut(node.memory.connection());
        node.task.abort();
    }

    /// It stops in order.
    pub(crate) async fn stop(&mut self, name: &str) {
        let node = self.nodes.remove(name).unwrap();
        node.shutdown.cancel();
        node.task.await.unwrap().unwrap();
    }

    /// Its process gets no time; its connection stays.
    pub(crate) fn freeze(&mut self, name: &str) {
        let node = &self.nodes[name];
        node.frost.set(true);
        self.chances.silence(node.memory.connection(), true);
    }

    pub(crate) fn thaw(&mut self, name: &str) {
        let node = &self.nodes[name];
        self.chances.silence(node.memory.connection(), false);
        node.frost.set(false);
    }

    pub(crate) fn cut(&mut self, name: &str) {
        let node = self.nodes.get_mut(name).unwrap();
        node.cut = true;
        self.hub.cut(node.memory.connection());
    }

    pub(crate) fn restore(&mut self, name: &str) {
        let node = self.nodes.get_mut(name).unwrap();
        if std::mem::take(&mut node.cut) {
            self.hub.restore(node.memory.connection());
        }
    }

    /// Thaws and restores every node.
    pub(crate) fn mend(&mut self) {
        for name in self.names() {
            self.restore(&name);
            self.thaw(&name);
        }
    }

    pub(crate) fn is_well(&self, name: &str) -> bool {
        let node = &self.nodes[name];
        !node.cut && !node.frost.is_set()
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.nodes.keys().cloned().collect()
    }

    pub(crate) fn id(&self, name: &str) -> Incarnation {
        self.nodes[name].id
    }

    pub(crate) fn handle(&self, name: &str) -> Handle {
        self.nodes[name].handle.clone()
    }

    /// The shards that the node's owner has a lease of.
    pub(crate) fn held(&self, name: &str) -> Vec<ShardId> {
        self.nodes[name].writer.held().into_keys().collect()
    }

    pub(crate) fn epoch(&self, name: &str, shard: ShardId) -> Epoch {
        self.nodes[name].writer.held()[&shard]
    }

    /// The journal refuses a lease of the node, because it has seen `epoch`. Returns the lease's.
    pub(crate) fn fence(&self, name: &str, shard: ShardId, epoch: u64) -> Epoch {
        self.nodes[name].writer.fence(shard, Epoch(epoch))
    }

    /// How many leases were taken, in all.
    pub(crate) fn taken(&self) -> usize {
        self.ledger.lock().unwrap().taken.len()
    }

    /// How many leases were lost to another node.
    pub(crate) fn lost(&self) -> usize {
        self.ledger.lock().unwrap().lost
    }

    /// The names of the nodes in the registry.
    pub(crate) async fn records(&self) -> Vec<String> {
        let mut names = Vec::new();
        let mut nodes = self.bus.nodes().await.unwrap();
        while let Some(NodeSeen::Beat { node, .. }) = nodes.next().await {
            names.push(node.name);
        }
        names.sort();
        names
    }

    /// The commands that are stored for a shard.
    pub(crate) async fn submitted(&self, shard: ShardId) -> Vec<Submission> {
        let mut commands = self.bus.commands(shard, Position::ZERO).await.unwrap();
        std::iter::from_fn(|| commands.next().now_or_never().flatten())
            .map(|delivery| delivery.submission)
            .collect()
    }

    /// Waits until each shard is written by the one of these nodes that it is assigned to, under
    /// the epoch of its record.
    pub(crate) async fn settled(&self, names: &[&str], within: Duration) {
        let until = Instant::now() + within;
        while let Err(why) = self.settled_now(names).await {
            assert!(
                Instant::now() < until,
                "not settled after {within:?}: {why}"
            );
            // Many nodes, no one signal: look often.
            sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(self.ledger.lock().unwrap().violations, Vec::<String>::new());
    }

    async fn settled_now(&self, names: &[&str]) -> Result<(), String> {
        let writers: Vec<_> = names.iter().map(|name| self.id(name)).collect();
        let held: BTreeMap<_, _> = names
            .iter()
            .map(|name| (self.id(name), self.nodes[*name].writer.held()))
            .collect();
        for shard in Shards::new(SHARDS).unwrap().all() {
            let (record, _) = self
                .bus
                .shard(shard)
                .await
                .unwrap()
                .ok_or(format!("shard {shard} has no record"))?;
            let owner = assignee(shard, &writers).unwrap();
            if record.owner != Some(owner) || held[&owner].get(&shard) != Some(&record.epoch) {
                return Err(format!("shard {shard} should be of {owner}, is {record:?}"));
            }
        }
        Ok(())
    }
}

/// Writes down every record whose owner changed without a higher epoch, and every epoch or floor
/// that went back.
async fn audit(bus: Memory, ledger: Arc<Mutex<Ledger>>) {
    let mut last = BTreeMap::new();
    let mut shards = bus.shards().await.unwrap();
    while let Some(seen) = shards.next().await {
        let ShardSeen::Stored { shard, record, .. } = seen else {
            continue;
        };
        let Some(before) = last.insert(shard, record.clone()) else {
            continue;
        };
        let new_owner = record.owner.is_some() && record.owner != before.owner;
        if record.epoch < before.epoch
            || record.floor < before.floor
            || (new_owner && record.epoch == before.epoch)
        {
            ledger
                .lock()
                .unwrap()
                .violations
                .push(format!("shard {shard} went from {before:?} to {record:?}"));
        }
    }
}

/// Stops a task from being polled.
#[derive(Default)]
struct Frost {
    state: Mutex<(bool, Option<Waker>)>,
}

impl Frost {
    fn set(&self, frozen: bool) {
        let mut state = self.state.lock().unwrap();
        state.0 = frozen;
        if let Some(waker) = state.1.take() {
            waker.wake();
        }
    }

    fn is_set(&self) -> bool {
        self.state.lock().unwrap().0
    }

    async fn over<F: Future>(self: Arc<Self>, task: F) -> F::Output {
        let mut task = pin!(task);
        poll_fn(|context| {
            let mut state = self.state.lock().unwrap();
            if state.0 {
                state.1 = Some(context.waker().clone());
                return Poll::Pending;
            }
            drop(state);
            task.as_mut().poll(context)
        })
        .await
    }
}
