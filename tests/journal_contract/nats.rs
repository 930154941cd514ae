//! The contract on the bus journal over a real NATS: SAFE_CHAT_TEST_NATS=nats://host:port.

use crate::{
    bus::take_lease,
    cluster::{Cluster, Node, shards},
    support,
};
use async_nats::{HeaderMap, jetstream};
use async_trait::async_trait;
use prost::Message;
use safe_chat::{
    bus::nats::{Config, Nats},
    journal::{Error, bus::OnBus},
    proto::journal::v1::{Commit, StoredEvent},
    room::{Epoch, Incarnation, RoomId, ShardId},
};
use std::{sync::Arc, time::Duration};
use tokio::sync::OnceCell;

struct Server(Config);

impl Server {
    async fn connect(&self) -> Nats {
        Nats::connect(&self.0).await.unwrap()
    }
}

#[async_trait]
impl Cluster for Server {
    async fn node(&self) -> Node {
        Arc::new(OnBus::new(Arc::new(self.connect().await), shards()))
    }

    async fn elect(
        &self,
        shard: ShardId,
        owner: Incarnation,
        least: Epoch,
    ) -> Result<Epoch, Error> {
        take_lease(&self.connect().await, shard, owner, least).await
    }

    async fn store(&self, room: &RoomId, event: StoredEvent, epoch: Epoch) -> bool {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("Chat-Seq", event.seq),
            ("Chat-Epoch", epoch.0),
            ("Chat-Events", 1),
        ] {
            headers.insert(name, value.to_string().as_str());
        }
        headers.insert("Chat-Type", "commit");
        let payload = Commit {
            epoch: epoch.0,
            events: vec![event],
        }
        .encode_to_vec();
        let subject = format!("{}.evt.{}.{room}", self.0.prefix, shards().of(room));
        let client = async_nats::connect(&self.0.servers).await.unwrap();
        jetstream::new(client)
            .publish_with_headers(subject, headers, payload.into())
            .await
            .unwrap()
            .await
            .is_ok()
    }

    async fn stored(&self, room: &RoomId) -> Vec<String> {
        let client = async_nats::connect(&self.0.servers).await.unwrap();
        let stream = jetstream::new(client)
            .get_stream(format!("{}_EVT", self.0.prefix.to_uppercase()))
            .await
            .unwrap();
        let subject = format!("{}.evt.{}.{room}", self.0.prefix, shards().of(room));
        let mut lines = Vec::new();
        let mut next = 1;
        while let Ok(message) = stream
            .get_first_raw_message_by_subject(&subject, next)
            .await
        {
            next = message.sequence + 1;
            let kind = message
                .headers
                .get("Chat-Type")
                .map(|kind| kind.to_string())
                .unwrap_or_default();
            lines.push(format!("{kind} {:?}", message.payload));
        }
        lines
    }
}

/// The tests of a run share the streams; every claim has its own shard and rooms.
async fn cluster() -> Option<impl Cluster> {
    static CONFIG: OnceCell<Option<Config>> = OnceCell::const_new();
    let config = CONFIG.get_or_init(async || {
        let servers = vec![support::server(
            "SAFE_CHAT_TEST_NATS",
            "the bus journal on a real NATS",
        )?];
        let (prefix, deadline) = (support::unique('j'), Duration::from_secs(20));
        let config = Config {
            servers,
            prefix,
            shards: shards(),
            deadline,
            registry_deadline: deadline,
            ..Config::default()
        };
        Nats::connect(&config).await.unwrap();
        Some(config)
    });
    config.await.clone().map(Server)
}

crate::contract!(cluster());
