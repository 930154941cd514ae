//! The contract on a real Cassandra: SAFE_CHAT_TEST_CASSANDRA=host:port.

use crate::{
    cluster::{Cluster, Node, rows, rows_below, shards, store_row},
    events::message,
    support,
};
use async_trait::async_trait;
use safe_chat::{
    journal::{
        Error,
        cassandra::{Cassandra, Config, Migrated, connect, migrate},
        codec::encode_event,
        readback::{Row, Store as _},
    },
    proto::journal::v1::StoredEvent,
    room::{Epoch, Incarnation, RoomId, Seq, ShardId, Shards},
};
use scylla::client::{session::Session, session_builder::SessionBuilder};
use std::{collections::BTreeMap, path::PathBuf, sync::Arc};
use tokio::sync::OnceCell;

struct Tables(Config);

#[async_trait]
impl Cluster for Tables {
    async fn node(&self) -> Node {
        Arc::new(self.connect().await)
    }

    async fn elect(&self, _: ShardId, _: Incarnation, least: Epoch) -> Result<Epoch, Error> {
        Ok(least)
    }

    async fn store(&self, room: &RoomId, event: StoredEvent, epoch: Epoch) -> bool {
        store_row(&self.connect().await, room, event, epoch).await
    }

    async fn lose(&self, room: &RoomId, first: Seq, last: Seq) {
        let session = self.session().await;
        let size = self.0.partition_size.unwrap();
        for partition in (first.0 - 1) / size..=(last.0 - 1) / size {
            let delete = format!(
                "DELETE FROM {}.journal WHERE room = '{room}' AND partition_nr = {partition} \
                 AND seq >= {first} AND seq <= {last}",
                self.0.keyspace
            );
            session.query_unpaged(delete, ()).await.unwrap();
        }
    }

    async fn lose_snapshots(&self, room: &RoomId) {
        let delete = format!(
            "DELETE FROM {}.snapshots WHERE room = '{room}'",
            self.0.keyspace
        );
        self.session()
            .await
            .query_unpaged(delete, ())
            .await
            .unwrap();
    }

    async fn stored(&self, room: &RoomId) -> Vec<String> {
        rows(&self.connect().await, room).await
    }

    async fn stored_below(&self, room: &RoomId, place: Seq) -> Vec<String> {
        rows_below(&self.connect().await, room, place).await
    }
}

impl Tables {
    async fn session(&self) -> Session {
        SessionBuilder::new()
            .known_node(&self.0.hosts[0])
            .build()
            .await
            .unwrap()
    }

    async fn connect(&self) -> Cassandra {
        connect(&self.0, shards()).await.unwrap()
    }
}

/// A configuration with a keyspace of its own, if there is a server.
fn config() -> Option<Config> {
    let host = support::server(
        "SAFE_CHAT_TEST_CASSANDRA",
        "the journal in a real Cassandra",
    )?;
    let keyspace = support::unique('t');
    Some(Config {
        hosts: vec![host],
        keyspace,
        partition_size: Some(700),
        request_timeout_ms: 20_000,
        ..Config::default()
    })
}

/// The tests of a run share a keyspace; every claim has its own shard and rooms.
async fn cluster() -> Option<impl Cluster> {
    shared().await.map(Tables)
}

/// A configuration with tables that are there.
async fn shared() -> Option<Config> {
    static CONFIG: OnceCell<Option<Config>> = OnceCell::const_new();
    let config = CONFIG.get_or_init(async || {
        let config = config()?;
        migrate(&config).await.unwrap();
        Some(config)
    });
    config.await.clone()
}

crate::contract!(cluster());

mod holes {
    crate::holes!(super::cluster());
}

mod records {
    crate::records!(super::cluster());
}

mod trims {
    crate::trims!(super::cluster());
}

mod copies {
    crate::copies!(super::cluster());
    crate::tests!(copies, super::cluster(); copies_have_the_holes_of_what_they_replace);
}

async fn refusal(config: &Config, shards: Shards) -> String {
    match connect(config, shards).await {
        Err(Error::Unusable(why)) => why,
        Err(error) => panic!("{error:?}"),
        Ok(_) => panic!("it started"),
    }
}

#[tokio::test]
async fn tables_are_migrated_once_by_nodes_that_start_together_and_settings_stay() {
    let Some(config) = config() else { return };
    assert!(
        refusal(&config, shards())
            .await
            .contains("safe-chat migrate")
    );
    let three = tokio::join!(migrate(&config), migrate(&config), migrate(&config));
    let mut from: Vec<_> = [three.0, three.1, three.2]
        .into_iter()
        .map(|migrated| migrated.unwrap().from)
        .collect();
    from.sort_unstable();
    assert_eq!(from, [0, 5, 5], "one migrates, the others wait for it");
    assert_eq!(migrate(&config).await.unwrap(), Migrated { from: 5, to: 5 });

    connect(&config, shards()).await.unwrap();
    connect(&config, shards()).await.unwrap();
    let other = Config {
        partition_size: Some(701),
        ..config.clone()
    };
    assert!(
        refusal(&other, shards())
            .await
            .contains("set cassandra.partition_size to 700")
    );
    let unsaid = Config {
        partition_size: None,
        ..config.clone()
    };
    let opened = connect(&unsaid, shards()).await.unwrap();
    assert_eq!(opened.store().partitions().size(), 700, "as it was made");
    assert!(
        refusal(&config, Shards::new(7).unwrap())
            .await
            .contains("set cluster.shards to 512")
    );
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named() {
    let config = Config {
        hosts: vec!["127.0.0.1:9".into()],
        connect_timeout_ms: 500,
        ..Config::default()
    };
    match connect(&config, shards()).await {
        Err(Error::Unavailable(why)) => assert!(why.contains("127.0.0.1:9"), "{why}"),
        Err(error) => panic!("{error:?}"),
        Ok(_) => panic!("it started"),
    }
}

#[tokio::test]
async fn a_datacenter_that_is_not_there_is_named() {
    let Some(config) = config() else { return };
    let config = Config {
        datacenter: "elsewhere".into(),
        replication: BTreeMap::from([("elsewhere".into(), 1)]).into(),
        ..config
    };
    let why = refusal(&config, shards()).await;
    assert!(
        why.contains("elsewhere") && why.contains("datacenter1"),
        "{why}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_and_node_know_each_other_by_certificates() {
    let Some(config) = shared().await else {
        return;
    };
    let left_out = "TLS with Cassandra";
    let Some(files) = support::server("SAFE_CHAT_TEST_CASSANDRA_TLS", left_out) else {
        return;
    };
    let file = |name: &str| Some(PathBuf::from(&files).join(name));
    let whole = Config {
        tls_ca: file("ca.pem"),
        tls_certificate: file("node.pem"),
        tls_key: file("node.key"),
        tls_server_name: Some("cassandra.example".into()),
        ..config
    };
    let connected = connect(&whole, shards()).await.unwrap();
    drop(connected.store().release().await.unwrap());
    let unnamed = Config {
        tls_server_name: None,
        ..whole.clone()
    };
    let misnamed = Config {
        tls_server_name: Some("elsewhere.example".into()),
        ..whole.clone()
    };
    let unknown = Config {
        // A certificate that vouches for nobody.
        tls_ca: file("node.pem"),
        ..whole.clone()
    };
    let anonymous = Config {
        tls_certificate: None,
        tls_key: None,
        ..whole.clone()
    };
    for (config, why) in [
        // It is reached by an address, which its certificate does not carry.
        (unnamed, "not valid for name"),
        (misnamed, "not valid for name"),
        (unknown, "UnknownIssuer"),
        (anonymous, ""),
    ] {
        let Err(Error::Unavailable(refused) | Error::Denied(refused)) =
            connect(&config, shards()).await
        else {
            panic!("let in: {config:?}");
        };
        assert!(refused.contains(why), "{config:?}: {refused}");
    }
    let missing = Config {
        tls_ca: Some("/nowhere/ca.pem".into()),
        ..whole
    };
    let Err(Error::Unusable(refused)) = connect(&missing, shards()).await else {
        panic!("let in with {missing:?}");
    };
    assert!(refused.contains("/nowhere/ca.pem"), "{refused}");
}

/// Whatever an owner that was replaced still writes, in whichever partition.
#[tokio::test]
async fn copies_of_an_epoch_that_is_over_are_not_stored_however_late_they_come() {
    let Some(config) = shared().await else {
        return;
    };
    let journal = connect(&config, shards()).await.unwrap();
    let (store, room) = (journal.store(), RoomId::parse("late").unwrap());
    let copy = |seq: u64, epoch: u64| Row {
        epoch: Epoch(epoch),
        first: Seq(seq),
        event: encode_event(&message(seq, "late")),
    };
    let put = async |seq, epoch, number| {
        let copies = [copy(seq, epoch)];
        store.put_copies(&room, number, &copies).await.unwrap();
    };
    for seq in [3, 699, 701] {
        put(seq, 7, 5).await;
    }
    store.note_copies(&room, Epoch(7), Seq(703)).await.unwrap();
    for seq in [3, 650, 701, 702] {
        put(seq, 6, 99).await;
    }
    let stored = async |first, last| -> Vec<Row> {
        store.copies(&room, Seq(first), Seq(last)).await.unwrap()
    };
    assert_eq!(stored(1, 700).await, [copy(3, 7), copy(699, 7)]);
    assert_eq!(stored(701, 1400).await, [copy(701, 7)]);
    // Within an epoch the greater number counts, whichever comes last.
    let mut other = copy(701, 7);
    other.event = encode_event(&message(701, "newer"));
    for (number, copy) in [(6, &other), (4, &copy(701, 7))] {
        let copies = std::slice::from_ref(copy);
        store.put_copies(&room, number, copies).await.unwrap();
        assert_eq!(stored(701, 1400).await, [other.clone()]);
    }
    store.drop_copies(&room, Epoch(7), Seq(702)).await.unwrap();
    for seq in [3, 699, 701] {
        put(seq, 7, 100).await;
    }
    put(702, 7, 100).await;
    assert!(stored(1, 700).await.is_empty());
    assert_eq!(stored(701, 1400).await, [copy(702, 7)]);
    let copied = store.copied(&room).await.unwrap();
    assert_eq!((copied.first, copied.below), (Seq(702), Seq(703)));
}
