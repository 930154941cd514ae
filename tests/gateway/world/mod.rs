//! Gateways with an owner of all rooms, in one process over the memory adapters, and clients
//! without sockets.

#![allow(dead_code, reason = "each test file uses its part")]

pub(crate) mod cut;
pub(crate) mod server;

use safe_chat::{
    access::Access,
    bus::{self, Bus, memory::Hub},
    cluster::{Lease, Owner},
    gateway::{Close, Config, Handle, Join, Service, Session, StartAt, Taken},
    journal::{
        Journal,
        bus::OnBus,
        memory::{self, Database},
        readback::Partitions,
    },
    room::{
        DeviceId, Epoch, Identity, Incarnation, Key, Millis, Rejection, RoomId, Seq, Shards, UserId,
    },
    wire::{Encoded, Incoming, Protocol},
    writer,
};
use serde_json::Value;
use std::{collections::VecDeque, sync::Arc, time::Duration};
use tokio::{sync::mpsc, time::timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Beyond every deadline of the parts that a test waits for.
pub(crate) const LONG: Duration = Duration::from_secs(60);

pub(crate) struct World {
    pub(crate) hub: Hub,
    pub(crate) database: Database,
    pub(crate) shards: Shards,
    /// Whether the bus is the journal.
    on_bus: bool,
    writers: Vec<(
        writer::Handle,
        mpsc::UnboundedReceiver<safe_chat::cluster::Ended>,
    )>,
    nodes: u128,
}

pub(crate) struct Gateway {
    pub(crate) handle: Handle,
    pub(crate) bus: Arc<bus::memory::Memory>,
    pub(crate) me: Incarnation,
}

impl World {
    /// A world whose rooms nobody owns yet.
    pub(crate) fn deserted() -> Self {
        Self::with_faults(Arc::new(bus::memory::NoFaults))
    }

    /// A world whose rooms nobody owns yet, with a bus where `faults` decides what goes wrong.
    pub(crate) fn with_faults(faults: Arc<dyn bus::memory::Faults>) -> Self {
        let shards = Shards::new(4).unwrap();
        let config = bus::memory::Config {
            shards,
            ..Default::default()
        };
        let database = Database::new(Partitions::new(1000));
        Self {
            hub: Hub::with_faults(config, faults),
            database,
            shards,
            on_bus: false,
            writers: Vec::new(),
            nodes: 0,
        }
    }

    /// A world whose journal is the bus.
    pub(crate) async fn on_bus() -> Self {
        Self::on_bus_with(Arc::new(bus::memory::NoFaults)).await
    }

    /// One where `faults` decides what goes wrong.
    pub(crate) async fn on_bus_with(faults: Arc<dyn bus::memory::Faults>) -> Self {
        let mut world = Self::with_faults(faults);
        world.on_bus = true;
        world.own().await;
        world
    }

    fn journal(&self, faults: Arc<dyn memory::Faults>) -> Arc<dyn Journal> {
        match self.on_bus {
            true => Arc::new(OnBus::new(Arc::new(self.hub.connect()), self.shards)),
            false => Arc::new(self.database.connect_with(self.shards, faults)),
        }
    }

    /// A world whose clock is that of MLS.
    pub(crate) async fn of_today() -> Self {
        Self::of_today_with(Arc::new(bus::memory::NoFaults)).await
    }

    /// One with a bus where `faults` decides what goes wrong.
    pub(crate) async fn of_today_with(faults: Arc<dyn bus::memory::Faults>) -> Self {
        let mut world = Self::deserted();
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let config = bus::memory::Config {
            shards: world.shards,
            epoch: Millis(now.unwrap().as_millis() as u64),
            ..Default::default()
        };
        world.hub = Hub::with_faults(config, faults);
        world.own().await;
        world
    }

    pub(crate) async fn new() -> Self {
        let mut world = Self::deserted();
        world.own().await;
        world
    }

    /// A new node takes all shards.
    pub(crate) async fn own(&mut self) {
        self.nodes += 1;
        let me = Incarnation::new(Uuid::from_u128(self.nodes));
        let bus: Arc<dyn Bus> = Arc::new(self.hub.connect());
        let journal = self.journal(Arc::new(memory::NoFaults));
        let (ends, ended) = mpsc::unbounded_channel();
        let writer = writer::Handle::new(writer::Config::default(), bus.clone(), journal);
        for shard in self.shards.all() {
            let found = bus.shard(shard).await.unwrap();
            let lease = Lease::take(bus.clone(), ends.clone(), me, shard, found, Epoch(0))
                .await
                .unwrap();
            writer.acquire(lease).await;
        }
        self.writers.push((writer, ended));
    }

    /// Nobody writes any more.
    pub(crate) async fn disown(&mut self) {
        for (writer, _) in self.writers.drain(..) {
            for shard in self.shards.all() {
                writer.lose(shard).await;
            }
        }
    }

    pub(crate) fn gateway(&mut self) -> Gateway {
        self.gateway_with(unlimited(), Arc::new(memory::NoFaults))
    }

    pub(crate) fn gateway_with(
        &mut self,
        config: Config,
        faults: Arc<dyn memory::Faults>,
    ) -> Gateway {
        let journal = self.journal(faults);
        self.attach(config, journal)
    }

    /// A gateway without sockets that reads old events from `journal`.
    pub(crate) fn attach(&mut self, config: Config, journal: Arc<dyn Journal>) -> Gateway {
        let (gateway, service) = self.service(config, journal);
        tokio::spawn(async move { service.attach(CancellationToken::new()).await });
        gateway
    }

    /// A gateway that nobody runs yet, with a policy for its rooms.
    pub(crate) fn guarded(
        &mut self,
        config: Config,
        access: Access,
        journal: Arc<dyn Journal>,
    ) -> Service {
        self.nodes += 1;
        let me = Incarnation::new(Uuid::from_u128(self.nodes));
        let (node, bus) = (format!("node-{}", self.nodes), self.hub.connect());
        Service::new(config, access, me, node, Arc::new(bus), journal)
    }

    /// A gateway that nobody runs yet.
    pub(crate) fn service(
        &mut self,
        config: Config,
        journal: Arc<dyn Journal>,
    ) -> (Gateway, Service) {
        self.nodes += 1;
        let me = Incarnation::new(Uuid::from_u128(self.nodes));
        let bus = Arc::new(self.hub.connect());
        let seed = self.nodes as u64;
        let service = Service::seeded(
            config,
            me,
            format!("node-{}", self.nodes),
            bus.clone(),
            journal,
            seed,
        );
        (
            Gateway {
                handle: service.handle(),
                bus,
                me,
            },
            service,
        )
    }
}

/// For tests that are not about limits, and say more than a client may.
pub(crate) fn unlimited() -> Config {
    Config {
        session_rate: 0,
        session_bytes_rate: 0,
        user_rate: 0,
        user_bytes_rate: 0,
        address_rate: 0,
        address_bytes_rate: 0,
        join_rate: 0,
        ..Config::default()
    }
}

/// A wish to come into room `aaa`, with the JSON protocol.
pub(crate) fn join(user: &str) -> Join {
    Join {
        room: RoomId::parse("aaa").unwrap(),
        user: UserId::parse(user).unwrap(),
        key: Key::parse("key").unwrap(),
        identity: Identity::Claimed,
        device: None,
        from: StartAt::default(),
        protocol: Protocol::Json,
        policy: None,
        former: None,
    }
}

pub(crate) fn since(user: &str, since: u64, history: u16) -> Join {
    Join {
        from: StartAt {
            since: Some(Seq(since)),
            since_at: None,
            history,
        },
        ..join(user)
    }
}

pub(crate) fn device(user: &str, device: &str) -> Join {
    Join {
        device: Some(DeviceId::parse(device).unwrap()),
        ..join(user)
    }
}

impl Gateway {
    pub(crate) async fn join(&self, join: Join) -> Client {
        self.try_join(join).await.unwrap()
    }

    /// A client at an address joins.
    pub(crate) async fn join_of(
        &self,
        client: &safe_chat::gateway::Client,
        join: Join,
    ) -> Result<Client, Rejection> {
        let session = timeout(LONG, self.handle.join_of(client, join))
            .await
            .expect("a join ends")?;
        Ok(Client {
            session,
            frames: VecDeque::new(),
        })
    }

    pub(crate) async fn try_join(&self, join: Join) -> Result<Client, Rejection> {
        let session = timeout(LONG, self.handle.join(join))
            .await
            .expect("a join ends")?;
        Ok(Client {
            session,
            frames: VecDeque::new(),
        })
    }
}

/// A client without a socket.
pub(crate) struct Client {
    pub(crate) session: Session,
    frames: VecDeque<Value>,
}

impl Client {
    /// Says what a client says.
    pub(crate) fn say(&mut self, frame: &Value) {
        self.session.receive(Incoming::Text(&frame.to_string()));
    }

    pub(crate) fn send(&mut self, id: &str) {
        self.say(&serde_json::json!({"type": "send", "id": id, "text": id}));
    }

    /// The next frame, or why there is none.
    pub(crate) async fn next(&mut self) -> Result<Value, Close> {
        while self.frames.is_empty() {
            match timeout(LONG, self.session.outbox().take())
                .await
                .expect("something comes")
            {
                Taken::Frames(frames) => self.frames.extend(frames.iter().map(value)),
                Taken::Close(close) => return Err(close),
            }
        }
        Ok(self.frames.pop_front().expect("there is one"))
    }

    pub(crate) async fn frame(&mut self) -> Value {
        self.next().await.expect("a frame")
    }

    /// Frames until one of this type, which is returned; what came before is dropped.
    pub(crate) async fn until(&mut self, kind: &str) -> Value {
        loop {
            let frame = self.frame().await;
            if frame["type"] == kind {
                return frame;
            }
        }
    }

    /// Events until the one at `seq`; other frames are dropped.
    pub(crate) async fn events(&mut self, seq: u64) -> Vec<Value> {
        let mut events = Vec::new();
        while events.last().is_none_or(|last: &Value| last["seq"] != seq) {
            events.push(self.until("event").await);
        }
        events
    }

    /// Why it ends.
    pub(crate) async fn end(&mut self) -> Close {
        loop {
            if let Err(close) = self.next().await {
                return close;
            }
        }
    }
}

fn value(frame: &Encoded) -> Value {
    serde_json::from_slice(frame.bytes()).unwrap()
}

pub(crate) fn seqs(events: &[Value]) -> Vec<u64> {
    events
        .iter()
        .map(|event| event["seq"].as_u64().unwrap())
        .collect()
}

/// Texts of the messages among events.
pub(crate) fn texts(events: &[Value]) -> Vec<String> {
    events
        .iter()
        .filter_map(|event| event["text"].as_str().map(str::to_owned))
        .collect()
}

/// Asserts that these are the events of the places `first` to `last`.
pub(crate) fn dense(client_events: &[serde_json::Value], first: u64, last: u64) {
    assert_eq!(seqs(client_events), (first..=last).collect::<Vec<_>>());
}

/// A room with `count` events; its first member stays.
pub(crate) async fn full(world: &mut World, count: u64) -> Client {
    let gateway = world.gateway();
    let mut harry = gateway.join(join("harry")).await;
    for n in 2..=count {
        harry.send(&format!("m{n}"));
        if n.is_multiple_of(256) {
            harry.events(n).await;
        }
    }
    if !count.is_multiple_of(256) {
        harry.events(count).await;
    }
    harry
}
