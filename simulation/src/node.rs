//! A node: the parts of safe-chat that `app` wires, without sockets, within a scope of its own, so
//! that it can be frozen and killed as a process can.

use crate::{
    passing::Passing,
    random::Random,
    wire::{ON_THE_WAY, Wire, wire},
};
use safe_chat::{
    bus::{Ask, Bus, Direct, NodeRecord, Role, memory::Memory},
    cluster,
    gateway::{self, Join, StartAt, Taken},
    journal::Journal,
    room::{Identity, Incarnation, Key, Reentry, Rejection, RoomId, Shards, UserId},
    task::Scope,
    wire::{Message, ServerFrame},
    writer::{self, Clock},
};
use std::{net::IpAddr, sync::Arc, time::Duration};
use tokio::{
    sync::{mpsc, oneshot},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// How long a stop may take; then the process is gone.
const DRAIN: Duration = Duration::from_secs(20);

/// A running node. Clones are the same node.
#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) bus: Memory,
    scope: Scope,
    gateway: gateway::Handle,
    cluster: cluster::Handle,
    stop: CancellationToken,
}

impl Node {
    /// The `number`th start of a process in this run.
    pub(crate) fn start(
        name: &str,
        number: u64,
        settings: Settings,
        bus: Memory,
        journal: Arc<dyn Journal>,
        shards: Shards,
        seed: u64,
    ) -> Self {
        let incarnation = Incarnation::new(Uuid::from_u64_pair(
            number,
            number.wrapping_mul(0x9e37_79b9_7f4a_7c15),
        ));
        let roles = vec![Role::Gateway, Role::Writer];
        let record = NodeRecord {
            incarnation,
            name: name.into(),
            roles,
            draining: false,
            version: "0".into(),
            commit: "".into(),
            address: "127.0.0.1:8558".into(),
            unreachable: Vec::new(),
            formats: settings.formats,
            keeps: None,
            gone_after_s: None,
        };
        let shared: Arc<dyn Bus> = Arc::new(bus.clone());
        let writer = writer::Handle::with_clock(
            settings.writer(),
            shared.clone(),
            journal.clone(),
            settings.clock.clone(),
        );
        writer.note_formats(settings.all_read);
        // Small outboxes, so that a client can be slow within seconds.
        let slow = gateway::Config {
            backlog_bytes: 256 * 1024,
            backlog_frames: 256,
            gone_after_s: settings.writer().gone_after_s,
            ..gateway::Config::default()
        };
        let gateway =
            gateway::Service::seeded(slow, incarnation, name, shared.clone(), journal, seed);
        let config = cluster::Config {
            shards: shards.count(),
            ..cluster::Config::default()
        };
        let cluster = cluster::Service::new(config, record, shared, Some(Arc::new(writer)))
            .expect("a valid configuration");
        let (scope, stop) = (Scope::default(), CancellationToken::new());
        let node = Self {
            bus,
            scope: scope.clone(),
            gateway: gateway.handle(),
            cluster: cluster.handle(),
            stop: stop.clone(),
        };
        let until = stop.clone();
        tokio::spawn(scope.clone().run(async move {
            cluster
                .run(until)
                .await
                .expect("the cluster part fits the cluster")
        }));
        tokio::spawn(scope.clone().run(async move { gateway.attach(stop).await }));
        let (handle, members) = (node.gateway.clone(), node.cluster.clone());
        tokio::spawn(scope.run(async move { handle.follow(members).await }));
        node
    }

    /// A connection of a client; it waits until the cluster knows the node, as in `app`.
    pub(crate) fn connect(&self, join: Join, random: Random) -> Wire {
        let (near, far) = wire(random);
        let (gateway, members) = (self.gateway.clone(), self.cluster.clone());
        let carry = async move {
            members.known().await;
            far.carry(gateway, join).await;
        };
        tokio::spawn(self.scope.clone().run(carry));
        near
    }

    /// A message without a session; `None`: the node died before it answered.
    pub(crate) async fn post(
        &self,
        room: RoomId,
        user: UserId,
        message: Message,
    ) -> Option<Result<ServerFrame, Rejection>> {
        let (gateway, members) = (self.gateway.clone(), self.cluster.clone());
        let key = Key::parse(&format!("key-{user}")).expect("a valid key");
        let whose = (key, Identity::Claimed);
        let (answer, answered) = oneshot::channel();
        let post = async move {
            members.known().await;
            // Who does not wait any more does not hear it.
            let _ = answer.send(gateway.post(&room, user, whose, message).await);
        };
        tokio::spawn(self.scope.clone().run(post));
        answered.await.ok()
    }

    /// What a reader without a session hears, in pieces, until the stream ends.
    pub(crate) fn watch(
        &self,
        address: IpAddr,
        room: RoomId,
        from: StartAt,
        mut random: Random,
    ) -> mpsc::Receiver<String> {
        let (gateway, members) = (self.gateway.clone(), self.cluster.clone());
        let (down, heard) = mpsc::channel(ON_THE_WAY);
        let watch = async move {
            members.known().await;
            let client = gateway.client(address);
            let Ok(watch) = gateway.watch(&client, &room, from).await else {
                return;
            };
            while let Taken::Frames(frames) = watch.outbox().take().await {
                let bytes: Vec<u8> = frames.iter().flat_map(|it| it.bytes().to_vec()).collect();
                let text = String::from_utf8(bytes).expect("an event stream is text");
                sleep(random.time(Duration::from_millis(20))).await;
                if down.send(text).await.is_err() {
                    return;
                }
            }
        };
        tokio::spawn(self.scope.clone().run(watch));
        heard
    }

    /// The public state of a room's group, as this node is told it; `None`: it could not be asked,
    /// or died.
    pub(crate) async fn group(&self, room: RoomId) -> Option<Option<Reentry>> {
        let bus = self.bus.clone();
        let (answer, answered) = oneshot::channel();
        let asking = async move {
            let view = bus.ask(&Ask::group(room)).await.ok();
            let view = view.filter(|view| view.refused.is_none());
            // Who does not wait any more does not hear it.
            let _ = answer.send(view.map(|view| view.group));
        };
        tokio::spawn(self.scope.clone().run(asking));
        answered.await.ok().flatten()
    }

    pub(crate) fn incarnation(&self) -> Incarnation {
        self.cluster.me()
    }

    pub(crate) fn freeze(&self) {
        self.scope.freeze();
    }

    pub(crate) fn thaw(&self) {
        self.scope.thaw();
    }

    /// As SIGKILL does.
    pub(crate) fn kill(&self) {
        self.scope.kill();
    }

    /// As SIGTERM does, in the order of `app`: no new clients, hand over, say goodbye, forget.
    pub(crate) async fn drain(&self) {
        let (gateway, cluster, stop) = (
            self.gateway.clone(),
            self.cluster.clone(),
            self.stop.clone(),
        );
        let in_order = async move {
            gateway.refuse();
            cluster.drain().await;
            gateway.drain().await;
            stop.cancel();
            let mut view = cluster.watch();
            // Until the cluster part has ended and with it the view.
            while view.changed().await.is_ok() {}
        };
        drop(timeout(DRAIN, self.scope.clone().run(in_order)).await);
        self.kill();
    }
}

/// What a node is like.
pub(crate) struct Settings {
    pub(crate) formats: u32,
    /// The newest forms that every node reads, now and later.
    pub(crate) all_read: u32,
    /// How many of their last events rooms keep, if not all.
    pub(crate) keeps: Option<u64>,
    /// How rooms go that nobody comes to, if they do.
    pub(crate) passing: Option<Passing>,
    pub(crate) clock: Clock,
}

impl Settings {
    /// Rooms leave the memory within seconds, so that they are opened again often; and keys leave
    /// the rooms with the first snapshot after their owners.
    fn writer(&self) -> writer::Config {
        let usual = writer::Config {
            keep_events: self.keeps.unwrap_or_default(),
            trim_ms: 2_000,
            idle_ms: 3_000,
            carry_ms: 2_000,
            names_in_snapshot: 0,
            gone_after_s: 0,
            ..writer::Config::default()
        };
        match &self.passing {
            Some(passing) => passing.writer(usual),
            None => usual,
        }
    }
}
