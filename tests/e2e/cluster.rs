//! A cluster of a test: servers that are there, and names that no other test has.

use crate::{
    node::{Ended, Node},
    support,
};
use async_nats::jetstream;
use safe_chat::{
    bus::{
        Registry,
        nats::{Config, Nats},
    },
    room::{Incarnation, RoomId, Shards},
};
use scylla::client::session_builder::SessionBuilder;
use std::{process::Stdio, time::Duration};
use tokio::{
    process::Command,
    time::{Instant, sleep, timeout},
};

/// How long anything may take that does not say otherwise: longer than a takeover on a busy
/// machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

const SHARDS: u16 = 16;
/// Small streams: a server reserves their whole size, for every test.
const STREAM: u64 = 16 * 1024 * 1024;

/// What the nodes of a test share.
#[derive(Clone)]
pub(crate) struct Cluster {
    nats: String,
    /// Cassandra's address, when it is the journal.
    cassandra: Option<String>,
    prefix: String,
    keyspace: String,
    environment: Vec<(String, String)>,
}

impl Cluster {
    /// With the journal on the bus; `None` without a nats-server.
    pub(crate) fn bus(claim: &str) -> Option<Self> {
        let nats = support::server("SAFE_CHAT_TEST_NATS", &format!("{claim}, as processes"))?;
        Some(Self::nowhere(nats))
    }

    /// With servers that need not be there.
    pub(crate) fn nowhere(nats: String) -> Self {
        Self {
            nats,
            cassandra: None,
            prefix: support::unique('e'),
            keyspace: support::unique('e'),
            environment: Vec::new(),
        }
    }

    /// With the journal in Cassandra; `None` without both servers.
    pub(crate) fn cassandra(claim: &str) -> Option<Self> {
        let cassandra = support::server(
            "SAFE_CHAT_TEST_CASSANDRA",
            &format!("{claim}, as processes with Cassandra"),
        )?;
        Some(Self {
            cassandra: Some(cassandra),
            ..Self::bus(claim)?
        })
    }

    /// The same, with Cassandra found elsewhere.
    pub(crate) fn with_cassandra_at(self, address: String) -> Self {
        Self {
            cassandra: Some(address),
            ..self
        }
    }

    /// The same, with the journal on the bus.
    pub(crate) fn on_the_bus(self) -> Self {
        Self {
            cassandra: None,
            ..self
        }
    }

    /// The same, under another prefix.
    pub(crate) fn with_prefix(self, prefix: &str) -> Self {
        Self {
            prefix: prefix.into(),
            ..self
        }
    }

    /// The same, with another keyspace.
    pub(crate) fn with_keyspace(self, keyspace: &str) -> Self {
        Self {
            keyspace: keyspace.into(),
            ..self
        }
    }

    /// The same, with another nats-server.
    pub(crate) fn with_nats_at(self, nats: String) -> Self {
        Self { nats, ..self }
    }

    /// The same, with a variable in the environment of every process.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    pub(crate) fn nats(&self) -> &str {
        &self.nats
    }

    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    pub(crate) fn cassandra_address(&self) -> Option<&str> {
        self.cassandra.as_deref()
    }

    pub(crate) fn shards(&self) -> Shards {
        Shards::new(SHARDS).expect("a valid count")
    }

    pub(crate) fn keyspace(&self) -> &str {
        &self.keyspace
    }

    /// Starts a node and waits until it is ready.
    pub(crate) async fn node(&self, name: &str) -> Node {
        self.node_with(name, &[]).await
    }

    /// The same, with more flags.
    pub(crate) async fn node_with(&self, name: &str, flags: &[&str]) -> Node {
        let mut node = self.launch(name, flags);
        node.ready().await;
        node
    }

    /// Starts a node.
    pub(crate) fn launch(&self, name: &str, flags: &[&str]) -> Node {
        Node::launch(name, |flags| self.command(&["serve"], flags), flags)
    }

    /// Starts a node whose log goes elsewhere.
    pub(crate) fn launch_to(&self, name: &str, stderr: Stdio) -> Node {
        Node::launch_to(
            name,
            |flags| self.command(&["serve"], flags),
            &[],
            Some(stderr),
        )
    }

    /// Runs a command of the program to its end.
    pub(crate) async fn run(&self, words: &[&str], flags: &[&str]) -> Ended {
        let output = timeout(
            PATIENCE,
            self.command(words, flags).kill_on_drop(true).output(),
        )
        .await;
        let output = output
            .expect("a command that ends in time")
            .expect("the program can be run");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
        Ended {
            code: output.status.code(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }

    /// Which run of a node writes a room.
    pub(crate) async fn owner(&self, room: &str) -> Incarnation {
        let shards = Shards::new(SHARDS).expect("a valid count");
        let bus = self.bus_of_it().await;
        let record = bus
            .shard(shards.of(&RoomId::parse(room).expect("a room")))
            .await
            .expect("an answer");
        record
            .and_then(|(record, _)| record.owner)
            .expect("a room that is written has an owner")
    }

    /// The bus as its nodes have it.
    pub(crate) async fn bus_of_it(&self) -> Nats {
        let shards = Shards::new(SHARDS).expect("a valid count");
        let (servers, prefix, event_bytes) = (
            vec![self.nats.clone()],
            self.prefix.clone(),
            self.cassandra.as_ref().map(|_| STREAM),
        );
        let config = Config {
            servers,
            prefix,
            shards,
            command_bytes: STREAM,
            key_bytes: STREAM,
            welcome_bytes: STREAM,
            event_bytes,
            ..Config::default()
        };
        Nats::connect(&config).await.expect("a connection")
    }

    /// A cluster from before, whose operator may delete events.
    pub(crate) async fn let_events_go(&self) {
        if self.cassandra.is_none() {
            support::let_events_go(&self.nats, &self.prefix).await;
        }
    }

    /// Deletes the events of a room from `first` to `last`, as an operator does.
    pub(crate) async fn lose(&self, room: &str, first: u64, last: u64) {
        let Some(address) = &self.cassandra else {
            let stream = self.events().await;
            let shards = Shards::new(SHARDS).expect("a valid count");
            let shard = shards.of(&RoomId::parse(room).expect("a room"));
            let subject = format!("{}.evt.{shard}.{room}", self.prefix);
            let mut next = 1;
            while let Ok(message) = stream
                .get_first_raw_message_by_subject(&subject, next)
                .await
            {
                next = message.sequence + 1;
                let seq = message.headers.get("Chat-Seq").expect("a place").as_str();
                if (first..=last).contains(&seq.parse().expect("a number")) {
                    stream
                        .delete_message(message.sequence)
                        .await
                        .expect("deleted");
                }
            }
            return;
        };
        let session = SessionBuilder::new()
            .known_node(address)
            .build()
            .await
            .expect("a session");
        let delete = format!(
            "DELETE FROM {}.journal WHERE room = '{room}' AND partition_nr = 0 \
             AND seq >= {first} AND seq <= {last}",
            self.keyspace
        );
        session.query_unpaged(delete, ()).await.expect("deleted");
    }

    /// Purges the stream of events but for the newest messages.
    pub(crate) async fn keep(&self, messages: u64) {
        let stream = self.events().await;
        stream.purge().keep(messages).await.expect("purged");
    }

    async fn events(&self) -> jetstream::stream::Stream {
        let client = async_nats::connect(&self.nats).await.expect("a connection");
        let name = format!("{}_EVT", self.prefix.to_uppercase());
        let stream = jetstream::new(client).get_stream(name).await;
        stream.expect("a stream of events")
    }

    pub(crate) fn command(&self, words: &[&str], flags: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_safe-chat"));
        command.env_clear().args(words).args([
            "--nats",
            &self.nats,
            "--prefix",
            &self.prefix,
            "--keyspace",
            &self.keyspace,
        ]);
        if !flags.contains(&"--shards") {
            command.args(["--shards", &SHARDS.to_string()]);
        }
        match &self.cassandra {
            None => command.args(["--journal", "bus"]),
            Some(address) => command.args([
                "--journal",
                "cassandra",
                "--cassandra",
                address,
                "--auto-migrate",
            ]),
        };
        command.args(flags);
        let stream = STREAM.to_string();
        command
            .env("SAFE_CHAT_BUS__COMMAND_BYTES", &stream)
            .env("SAFE_CHAT_BUS__KEY_BYTES", &stream)
            .env("SAFE_CHAT_BUS__WELCOME_BYTES", &stream)
            .env("SAFE_CHAT_BUS__EVENT_BYTES", &stream);
        // Several tests make tables at the same time.
        command.env("SAFE_CHAT_CASSANDRA__REQUEST_TIMEOUT_MS", "20000");
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }
}

/// Waits until something is so that gives no signal.
pub(crate) async fn eventually(what: &str, is_so: impl AsyncFn() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !is_so().await {
        assert!(Instant::now() < until, "not within {PATIENCE:?}: {what}");
        sleep(Duration::from_millis(20)).await;
    }
}
