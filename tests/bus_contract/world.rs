//! The adapters under test: two nodes on one bus, and where needed the means to kill its servers.

use crate::support;
use safe_chat::{
    bus::{
        Bus,
        memory::{self, Hub},
        nats::{self, Nats},
    },
    room::{RoomId, ShardId, Shards},
};
use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

/// Few, so that rooms share them.
pub(crate) const SHARDS: u16 = 4;
/// Commands that a small bus takes in memory; on NATS it takes [`COMMAND_BYTES`].
const COMMANDS: usize = 20;
const COMMAND_BYTES: u64 = 64 * 1024;
/// Events that a small buffer keeps in memory; on NATS it keeps [`EVENT_BYTES`].
const EVENTS: usize = 10;
const EVENT_BYTES: u64 = 16 * 1024;
/// Key packages that a small bus takes.
const BUCKET_BYTES: u64 = 64 * 1024;

/// Two nodes on one bus.
pub(crate) struct World {
    pub(crate) a: Arc<dyn Bus>,
    pub(crate) b: Arc<dyn Bus>,
    kind: Kind,
}

enum Kind {
    Memory,
    Nats(String),
}

impl World {
    pub(crate) fn memory() -> Self {
        Self::of_hub(&Hub::new(hub_config()))
    }

    pub(crate) async fn nats(claim: &str) -> Option<Self> {
        let server = support::server("SAFE_CHAT_TEST_NATS", &format!("{claim} on NATS"))?;
        Some(Self::of_nats(&nats_config(&server)).await)
    }

    /// Another bus of the same kind that takes few commands and keeps few events.
    pub(crate) async fn small(&self) -> Self {
        match &self.kind {
            Kind::Memory => Self::of_hub(&Hub::new(memory::Config {
                commands: COMMANDS,
                events: Some(EVENTS),
                bucket_bytes: BUCKET_BYTES as usize,
                ..hub_config()
            })),
            Kind::Nats(server) => {
                let config = nats::Config {
                    command_bytes: COMMAND_BYTES,
                    key_bytes: BUCKET_BYTES,
                    event_bytes: Some(EVENT_BYTES),
                    ..nats_config(server)
                };
                Self::of_nats(&config).await
            }
        }
    }

    fn of_hub(hub: &Hub) -> Self {
        Self {
            a: Arc::new(hub.connect()),
            b: Arc::new(hub.connect()),
            kind: Kind::Memory,
        }
    }

    /// The nodes are at different servers, if there are several.
    async fn of_nats(config: &nats::Config) -> Self {
        let connect = async |server: Option<&String>| {
            let servers = server.into_iter().cloned().collect();
            Arc::new(
                Nats::connect(&nats::Config {
                    servers,
                    ..config.clone()
                })
                .await
                .expect("the servers at SAFE_CHAT_TEST_NATS answer"),
            )
        };
        let (a, b) = (
            connect(config.servers.first()).await,
            connect(config.servers.last()).await,
        );
        Self {
            a,
            b,
            kind: Kind::Nats(config.servers.join(",")),
        }
    }
}

/// The shard of a room.
pub(crate) fn shard_of(room: &RoomId) -> ShardId {
    Shards::new(SHARDS).unwrap().of(room)
}

fn hub_config() -> memory::Config {
    memory::Config {
        shards: Shards::new(SHARDS).unwrap(),
        ..memory::Config::default()
    }
}

/// Three servers, given with commas between them, are a cluster: everything is kept three times.
pub(crate) fn nats_config(servers: &str) -> nats::Config {
    let servers: Vec<_> = servers.split(',').map(str::to_owned).collect();
    nats::Config {
        replicas: if servers.len() >= 3 { 3 } else { 1 },
        servers,
        prefix: support::unique('t'),
        shards: Shards::new(SHARDS).unwrap(),
        command_bytes: 16 * 1024 * 1024,
        key_bytes: 16 * 1024 * 1024,
        welcome_bytes: 16 * 1024 * 1024,
        ..nats::Config::default()
    }
}

/// A node on a bus whose servers can be killed.
pub(crate) struct Mortal {
    pub(crate) bus: Arc<dyn Bus>,
    servers: Servers,
}

enum Servers {
    Memory {
        hub: Hub,
        node: memory::ConnectionId,
    },
    Nats(Server),
}

impl Mortal {
    pub(crate) fn memory() -> Self {
        let hub = Hub::new(hub_config());
        let node = hub.connect();
        let servers = Servers::Memory {
            node: node.connection(),
            hub,
        };
        Self {
            bus: Arc::new(node),
            servers,
        }
    }

    pub(crate) async fn nats(claim: &str) -> Option<Self> {
        let binary = support::server("SAFE_CHAT_TEST_NATS_SERVER", &format!("{claim} on NATS"))?;
        let server = Server::start(binary.into()).await;
        let bus = Nats::connect(&nats_config(&server.address()))
            .await
            .expect("the server has started");
        Some(Self {
            bus: Arc::new(bus),
            servers: Servers::Nats(server),
        })
    }

    /// The servers die.
    pub(crate) async fn kill(&mut self) {
        match &mut self.servers {
            Servers::Memory { hub, node } => hub.cut(*node),
            Servers::Nats(server) => server.kill(),
        }
        while self.bus.ready().is_ok() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// They are there again, with what they had stored.
    pub(crate) async fn revive(&mut self) {
        match &mut self.servers {
            Servers::Memory { hub, node } => hub.restore(*node),
            Servers::Nats(server) => server.run().await,
        }
        while self.bus.ready().is_err() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// The server stands still, and its connections with it. Of the memory adapter no such thing can
    /// be asked.
    pub(crate) fn freeze(&self) {
        if let Servers::Nats(Server {
            child: Some(child), ..
        }) = &self.servers
        {
            let pid = child.id().to_string();
            let stopped = Command::new("kill").args(["-STOP", &pid]).status();
            assert!(stopped.is_ok_and(|status| status.success()));
            // Its threads run on until each is told.
            while !is_stopped(&pid) {
                std::thread::yield_now();
            }
        }
    }

    /// From now on nothing is synced: [`Mortal::forget`] loses what is stored after this.
    pub(crate) async fn stop_syncing(&mut self) {
        if let Servers::Nats(server) = &mut self.servers {
            server.stop();
            server.keep();
            server.run().await;
        }
        while self.bus.ready().is_err() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// While the servers are dead: what was stored since [`Mortal::stop_syncing`] is lost.
    pub(crate) fn forget(&mut self, commands: u64, events: u64) {
        match &mut self.servers {
            Servers::Memory { hub, .. } => hub.lose_tail(commands, events),
            Servers::Nats(server) => server.forget(),
        }
    }
}

/// A nats-server process of a test, with its directory.
struct Server {
    binary: PathBuf,
    directory: tempfile::TempDir,
    port: u16,
    child: Option<Child>,
}

impl Server {
    async fn start(binary: PathBuf) -> Self {
        let port = TcpListener::bind("127.0.0.1:0")
            .and_then(|free| free.local_addr())
            .expect("a free port")
            .port();
        let mut server = Self {
            binary,
            directory: tempfile::tempdir().expect("a directory"),
            port,
            child: None,
        };
        server.run().await;
        server
    }

    fn address(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    async fn run(&mut self) {
        let mut command = Command::new(&self.binary);
        command
            .args([
                "--addr",
                "127.0.0.1",
                "--port",
                &self.port.to_string(),
                "--jetstream",
                "--store_dir",
            ])
            .arg(self.data());
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        self.child = Some(child.expect("SAFE_CHAT_TEST_NATS_SERVER can be run"));
        let started = tokio::time::Instant::now();
        while tokio::net::TcpStream::connect(("127.0.0.1", self.port))
            .await
            .is_err()
        {
            assert!(
                started.elapsed() < Duration::from_secs(20),
                "nats-server does not start"
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child
                .kill()
                .and_then(|()| child.wait())
                .expect("the server can be killed");
        }
    }

    /// Ends it as an operator would: it stores everything.
    fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let stopped = Command::new("kill")
                .args(["-TERM", &child.id().to_string()])
                .status();
            stopped
                .and_then(|_| child.wait())
                .expect("the server can be stopped");
        }
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    fn kept(&self) -> PathBuf {
        self.directory.path().join("kept")
    }

    fn keep(&self) {
        copy(&self.data(), &self.kept());
    }

    fn forget(&self) {
        std::fs::remove_dir_all(self.data()).expect("the data can be removed");
        copy(&self.kept(), &self.data());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp")
        .arg("-a")
        .arg(from)
        .arg(to)
        .status()
        .expect("cp runs");
    assert!(copied.success(), "the data can be copied");
}

/// Whether every thread of a process has stopped, as the kernel says.
fn is_stopped(pid: &str) -> bool {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).expect("a process");
    threads.flatten().all(|thread| {
        let stat = std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        // The name in brackets may hold anything.
        let state = stat.rsplit(") ").next();
        state.is_some_and(|state| state.starts_with('T'))
    })
}
