//! Nodes over one hub and one database in memory.

use safe_chat::{
    app::{App, Ports, Running},
    bus::{Feed, NodeRecord, Position, Registry, Role, memory::Hub},
    config::Config,
    journal::{Journal, bus::OnBus},
    room::{Body, Incarnation, Kind, RoomId, Seq, Shards},
};
use std::{
    ops::Deref,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    task::AbortHandle,
    time::{Instant, sleep},
};
use uuid::Uuid;

/// Long enough for anything that happens in one process.
const PATIENCE: Duration = Duration::from_secs(20);

/// In place of the servers.
pub(crate) struct Cluster {
    hub: Hub,
    shards: Shards,
    connections: Mutex<Vec<safe_chat::bus::memory::ConnectionId>>,
}

/// A node of it.
pub(crate) struct Node(Running);

impl Cluster {
    pub(crate) fn new(shards: u16) -> Self {
        let shards = Shards::new(shards).unwrap();
        let config = safe_chat::bus::memory::Config {
            shards,
            deny_delete: true,
            ..Default::default()
        };
        Self {
            hub: Hub::new(config),
            shards,
            connections: Mutex::default(),
        }
    }

    /// Any free ports, and a cluster that notices changes fast.
    pub(crate) fn config(&self, name: &str, roles: &[Role]) -> Config {
        let mut config = Config::default();
        (config.node.name, config.node.roles) = (name.into(), roles.to_vec());
        (config.ops.port, config.gateway.port) = (0, 0);
        config.cluster.shards = self.shards.count();
        (
            config.cluster.beat_ms,
            config.cluster.late_ms,
            config.cluster.dead_ms,
        ) = (50, 200, 2_000);
        config
    }

    pub(crate) async fn start(&self, config: Config) -> anyhow::Result<Node> {
        let bus = self.hub.connect();
        self.connections.lock().unwrap().push(bus.connection());
        let bus = Arc::new(bus);
        let journal = Arc::new(OnBus::new(bus.clone(), self.shards));
        App::start_with(
            config,
            Ports {
                bus,
                journal,
                behind: None,
                facts: Vec::new(),
            },
        )
        .await
        .map(Node)
    }

    pub(crate) async fn node(&self, name: &str, roles: &[Role]) -> Node {
        self.start(self.config(name, roles)).await.unwrap()
    }

    /// A node of other forms, as far as its record goes, until the task is aborted.
    pub(crate) fn beats(&self, name: &str, formats: u32) -> AbortHandle {
        let node = NodeRecord {
            incarnation: Incarnation::of_node(name, Uuid::now_v7()),
            name: name.into(),
            roles: vec![Role::Gateway],
            draining: false,
            version: "0.0.9".into(),
            commit: "".into(),
            address: "127.0.0.1:1".into(),
            unreachable: Vec::new(),
            formats,
            keeps: None,
            gone_after_s: None,
        };
        let bus = self.hub.connect();
        let beats = async move {
            loop {
                bus.beat(&node).await.unwrap();
                sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::spawn(beats).abort_handle()
    }

    /// The owner of each shard that has one.
    pub(crate) async fn owners(&self) -> Vec<Incarnation> {
        let (bus, mut owners) = (self.hub.connect(), Vec::new());
        for shard in self.shards.all() {
            owners.extend(
                bus.shard(shard)
                    .await
                    .unwrap()
                    .and_then(|(record, _)| record.owner),
            );
        }
        owners
    }

    /// The rooms of which something is stored.
    pub(crate) async fn rooms(&self) -> Vec<String> {
        let (bus, mut rooms) = (self.hub.connect(), Vec::new());
        for shard in self.shards.all() {
            rooms.extend(bus.rooms_of(shard, None, 1000).await.unwrap());
        }
        rooms.iter().map(|room| room.as_str().to_owned()).collect()
    }

    /// The places of a room that are stored.
    pub(crate) async fn places(&self, room: &str) -> Vec<u64> {
        let room = RoomId::parse(room).unwrap();
        let stored = self.hub.connect().stored(&room, Position::ZERO, 1000).await;
        let events = stored
            .unwrap()
            .into_iter()
            .flat_map(|message| message.events);
        events.map(|event| event.seq.0).collect()
    }

    /// Who said what in a room, as it is kept.
    pub(crate) async fn texts(&self, room: &str) -> Vec<(String, String)> {
        let room = RoomId::parse(room).unwrap();
        let journal = OnBus::new(Arc::new(self.hub.connect()), self.shards);
        let (mut texts, mut next) = (Vec::new(), Seq(1));
        loop {
            let page = journal
                .read(&room, next, Seq(u32::MAX.into()))
                .await
                .unwrap();
            let Some(last) = page.last() else {
                return texts;
            };
            next = last.seq.next();
            texts.extend(page.into_iter().filter_map(|event| match event.kind {
                Kind::Message { from, body, .. } => Some((from.to_string(), text_of(&body))),
                _ => None,
            }));
        }
    }

    /// Takes the bus away from the node that was started as that one (from 0 on).
    pub(crate) fn cut(&self, node: usize) {
        self.hub.cut(self.connections.lock().unwrap()[node]);
    }

    /// Gives it back.
    pub(crate) fn restore(&self, node: usize) {
        self.hub.restore(self.connections.lock().unwrap()[node]);
    }

    /// How many nodes have marked a room.
    pub(crate) async fn marks(&self, room: &str) -> usize {
        let room = RoomId::parse(room).unwrap();
        let marks = self.hub.connect().marks(self.shards.of(&room)).await;
        let marks = marks.unwrap().into_iter();
        marks.filter(|(_, marked)| *marked == room).count()
    }

    /// Takes the bus away from every node.
    pub(crate) fn cut_all(&self) {
        for connection in self.connections.lock().unwrap().iter() {
            self.hub.cut(*connection);
        }
    }
}

fn text_of(body: &Body) -> String {
    match body {
        Body::Text(text) => text.to_string(),
        _ => String::new(),
    }
}

impl Deref for Node {
    type Target = Running;

    fn deref(&self) -> &Running {
        &self.0
    }
}

impl Node {
    /// Waits until it is ready, as operators see it.
    pub(crate) async fn ready(&self) {
        let url = format!("http://{}/ready", self.internal_address());
        eventually("a node is ready", async || {
            reqwest::get(&url)
                .await
                .is_ok_and(|answer| answer.status().is_success())
        })
        .await;
    }

    pub(crate) async fn drain(self) {
        self.0.drain().await;
    }
}

/// Waits until something is so that gives no signal.
pub(crate) async fn eventually(what: &str, is_so: impl AsyncFn() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !is_so().await {
        assert!(Instant::now() < until, "not within {PATIENCE:?}: {what}");
        sleep(Duration::from_millis(10)).await;
    }
}
