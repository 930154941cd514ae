//! The cluster on a real NATS server: shards are shared, handed over, and taken from a node that is
//! killed.

#[path = "cluster_nodes/writer.rs"]
mod writer;

mod support;

use safe_chat::{
    bus::{
        Bus, NodeRecord, Registry, Role,
        nats::{Config as NatsConfig, Nats},
    },
    cluster::{Config, Handle, Owner, Service, assignee},
    room::{Incarnation, Shards},
};
use std::{
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    runtime::Runtime,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use writer::{Ledger, Writer};

const SHARDS: u16 = 32;

/// A node with a runtime of its own: ending that closes its connections, as the end of a process
/// does.
struct Node {
    id: Incarnation,
    handle: Handle,
    writer: Arc<Writer>,
    runtime: Runtime,
}

struct Cluster {
    config: NatsConfig,
    bus: Nats,
    ledger: Arc<Mutex<Ledger>>,
}

impl Cluster {
    async fn new(server: String) -> Self {
        let config = NatsConfig {
            servers: vec![server],
            prefix: support::unique('c'),
            shards: Shards::new(SHARDS).unwrap(),
            ..NatsConfig::default()
        };
        Self {
            bus: Nats::connect(&config).await.unwrap(),
            config,
            ledger: Arc::default(),
        }
    }

    async fn start(&self) -> Node {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let (config, id, writer) = (
            self.config.clone(),
            Incarnation::new(Uuid::now_v7()),
            Arc::new(Writer::new(self.ledger.clone())),
        );
        let owner = writer.clone() as Arc<dyn Owner>;
        let starting = runtime.spawn(async move {
            let bus: Arc<dyn Bus> = Arc::new(Nats::connect(&config).await.unwrap());
            let me = NodeRecord {
                incarnation: id,
                name: "n".into(),
                roles: vec![Role::Writer],
                draining: false,
                version: "0".into(),
                commit: "".into(),
                address: "127.0.0.1:8558".into(),
                unreachable: Vec::new(),
                formats: safe_chat::bus::FORMATS,
                keeps: None,
                gone_after_s: None,
            };
            let service = Service::new(
                Config {
                    shards: SHARDS,
                    ..Config::default()
                },
                me,
                bus,
                Some(owner),
            )
            .unwrap();
            let handle = service.handle();
            tokio::spawn(service.run(CancellationToken::new()));
            handle
        });
        Node {
            id,
            handle: starting.await.unwrap(),
            writer,
            runtime,
        }
    }

    /// Waits until each shard is written by the one of these nodes that it is assigned to; how long
    /// that took.
    async fn settled(&self, nodes: &[&Node], within: Duration) -> Duration {
        let since = Instant::now();
        while !self.is_settled(nodes).await {
            assert!(since.elapsed() < within, "not settled after {within:?}");
            sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(self.ledger.lock().unwrap().violations, Vec::<String>::new());
        since.elapsed()
    }

    async fn is_settled(&self, nodes: &[&Node]) -> bool {
        let writers: Vec<_> = nodes.iter().map(|node| node.id).collect();
        for shard in self.config.shards.all() {
            let node = nodes
                .iter()
                .find(|node| Some(node.id) == assignee(shard, &writers))
                .unwrap();
            let Some(epoch) = node.writer.held().get(&shard).copied() else {
                return false;
            };
            let (record, _) = self.bus.shard(shard).await.unwrap().unwrap();
            if (record.owner, record.epoch) != (Some(node.id), epoch) {
                return false;
            }
        }
        true
    }
}

/// A server of this test's own; it ends with it.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        // An error: it has ended by itself.
        let _ = self.0.kill().and_then(|()| self.0.wait());
    }
}

fn run_server(binary: &str, port: u16, data: &Path) -> Server {
    let mut command = Command::new(binary);
    command
        .args([
            "--addr",
            "127.0.0.1",
            "--port",
            &port.to_string(),
            "--jetstream",
            "--store_dir",
        ])
        .arg(data);
    Server(
        command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("SAFE_CHAT_TEST_NATS_SERVER can be run"),
    )
}

async fn listening(port: u16) {
    let since = Instant::now();
    while tokio::net::TcpStream::connect(("127.0.0.1", port))
        .await
        .is_err()
    {
        assert!(
            since.elapsed() < Duration::from_secs(20),
            "nats-server does not start"
        );
        sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_restart_of_the_server_moves_no_shard() {
    let Some(binary) = support::server(
        "SAFE_CHAT_TEST_NATS_SERVER",
        "a restart of NATS under the cluster",
    ) else {
        return;
    };
    let port = TcpListener::bind("127.0.0.1:0")
        .and_then(|free| free.local_addr())
        .unwrap()
        .port();
    let data = tempfile::tempdir().unwrap();
    let server = run_server(&binary, port, data.path());
    listening(port).await;
    let cluster = Cluster::new(format!("nats://127.0.0.1:{port}")).await;
    let (first, second) = (cluster.start().await, cluster.start().await);
    cluster
        .settled(&[&first, &second], Duration::from_secs(10))
        .await;
    let taken = cluster.ledger.lock().unwrap().taken.len();

    drop(server);
    let mut views = first.handle.watch();
    views.wait_for(|view| !view.fresh).await.unwrap();
    let _server = run_server(&binary, port, data.path());
    for node in [&first, &second] {
        node.handle
            .watch()
            .wait_for(|view| view.fresh)
            .await
            .unwrap();
    }
    // As long as others have to come back: whoever is to be taken for dead has been by then.
    sleep(Duration::from_secs(6)).await;
    cluster
        .settled(&[&first, &second], Duration::from_secs(1))
        .await;
    assert_eq!(cluster.ledger.lock().unwrap().taken.len(), taken);
    [first, second]
        .into_iter()
        .for_each(|node| node.runtime.shutdown_background());
}

#[tokio::test]
async fn shards_are_shared_handed_over_and_taken_from_a_killed_node() {
    let Some(server) = support::server("SAFE_CHAT_TEST_NATS", "the cluster on NATS") else {
        return;
    };
    let cluster = Cluster::new(server).await;
    let first = cluster.start().await;
    let started = cluster.settled(&[&first], Duration::from_secs(10)).await;

    let second = cluster.start().await;
    let joined = cluster
        .settled(&[&first, &second], Duration::from_secs(10))
        .await;
    assert_eq!(cluster.ledger.lock().unwrap().lost, 0);

    let since = Instant::now();
    first.handle.drain().await;
    cluster.settled(&[&second], Duration::from_secs(2)).await;
    let drained = since.elapsed();
    first.runtime.shutdown_background();

    let third = cluster.start().await;
    cluster
        .settled(&[&second, &third], Duration::from_secs(10))
        .await;
    third.runtime.shutdown_background();
    let taken = cluster.settled(&[&second], Duration::from_secs(4)).await;
    println!(
        "{SHARDS} shards: started in {started:?}, shared in {joined:?}, handed over in {drained:?}, taken from a killed node in {taken:?}"
    );
    second.runtime.shutdown_background();
}
