//! The contract on the bus journal over a real NATS: SAFE_CHAT_TEST_NATS=nats://host:port.

use crate::{
    bus::{messages_below, take_lease},
    claims::{journal, owner},
    cluster::{Case, Cluster, Node, shards},
    events::commit,
    support,
};
use async_nats::{HeaderMap, jetstream};
use async_trait::async_trait;
use prost::Message;
use safe_chat::{
    bus::{
        Feed, Position,
        nats::{Config, Nats},
    },
    journal::{Error, bus::OnBus},
    proto::journal::v1::{Commit, StoredEvent},
    room::{Epoch, Incarnation, RoomId, Seq, ShardId},
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

    async fn lose(&self, room: &RoomId, first: Seq, last: Seq) {
        let bus = self.connect().await;
        let client = async_nats::connect(&self.0.servers).await.unwrap();
        let stream = jetstream::new(client)
            .get_stream(format!("{}_EVT", self.0.prefix.to_uppercase()))
            .await
            .unwrap();
        for message in bus.stored(room, Position::ZERO, 1000).await.unwrap() {
            if (first..=last).contains(&message.seq) {
                assert!(stream.delete_message(message.position.0).await.unwrap());
            }
        }
    }

    async fn lose_snapshots(&self, room: &RoomId) {
        let client = async_nats::connect(&self.0.servers).await.unwrap();
        let bucket = format!("{}_SNAPSHOTS", self.0.prefix.to_uppercase());
        let bucket = jetstream::new(client).get_key_value(bucket).await.unwrap();
        for slot in 0..2 {
            bucket
                .purge(format!("snapshot.{room}.{slot}.0"))
                .await
                .unwrap();
        }
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

    async fn stored_below(&self, room: &RoomId, place: Seq) -> Vec<String> {
        messages_below(&self.connect().await, room, place).await
    }
}

/// Streams of their own, as nodes make them.
async fn own_streams() -> Option<Config> {
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
    Some(config)
}

/// Streams of their own, where single events can be deleted.
async fn streams() -> Option<Config> {
    let config = own_streams().await?;
    support::let_events_go(&config.servers.join(","), &config.prefix).await;
    Nats::connect(&config).await.unwrap();
    Some(config)
}

/// The tests of a run share the streams; every claim has its own shard and rooms.
async fn cluster() -> Option<impl Cluster> {
    static CONFIG: OnceCell<Option<Config>> = OnceCell::const_new();
    CONFIG.get_or_init(streams).await.clone().map(Server)
}

crate::contract!(cluster());

/// What is deleted counts for all rooms of a stream, so each of these has streams of its own.
mod holes {
    async fn cluster() -> Option<impl super::Cluster> {
        super::streams().await.map(super::Server)
    }

    crate::holes!(cluster());
}

mod records {
    crate::records!(super::cluster());
}

mod trims {
    use super::{Cluster, Config, Nats, OnceCell, Server};

    async fn cluster() -> Option<impl Cluster> {
        static CONFIG: OnceCell<Option<Config>> = OnceCell::const_new();
        let made = async || {
            let config = super::own_streams().await?;
            Nats::connect(&config).await.unwrap();
            Some(config)
        };
        CONFIG.get_or_init(made).await.clone().map(Server)
    }

    crate::trims!(cluster());

    mod copies {
        crate::copies!(super::cluster());
    }
}

/// A stream of before keeps everything, and says what to do.
#[tokio::test]
async fn where_nobody_may_purge_every_room_keeps_its_past() {
    let Some(config) = own_streams().await else {
        return;
    };
    let server = Server(config);
    server.connect().await;
    let client = async_nats::connect(&server.0.servers).await.unwrap();
    let context = jetstream::new(client);
    let name = format!("{}_EVT", server.0.prefix.to_uppercase());
    let mut stream = context.get_stream(&name).await.unwrap();
    let mut before = stream.info().await.unwrap().config.clone();
    before.deny_purge = true;
    context.update_stream(&before).await.unwrap();
    let node = server.node().await;
    let Err(Error::Denied(why)) = node.trims().await else {
        panic!("not refused");
    };
    assert!(why.contains(&name) && why.contains("deny_purge"), "{why}");
    // What is erased would stay.
    let case = Case::new(server);
    let (node, claim, _) = owner(&case).await;
    let said = commit(claim, 1, 1, "Hello");
    journal(&node, &case, claim, &said).await.unwrap();
    let Err(Error::Denied(again)) = node.rewrite(&case.room, claim, &said.events).await else {
        panic!("not refused");
    };
    assert_eq!(again, why);
}
