//! A cluster knows which it is and where its rooms are: a node that would look for them elsewhere
//! does not start, and is told what it found and what to do.

use crate::{
    changed::{Scene, gets_in},
    cluster::{Cluster, eventually},
    node::Ended,
    person::Person,
};
use async_nats::HeaderMap;
use scylla::client::session_builder::SessionBuilder;
use serde_json::{Value, json};

/// Flags that let any port be taken.
const ANY_PORTS: [&str; 4] = ["--http-port", "0", "--internal-port", "0"];

fn is_refused(ended: &Ended, parts: &[&str]) {
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let last = ended.stderr.lines().last().unwrap_or_default();
    let named = parts.iter().all(|part| last.contains(part));
    assert!(named, "{parts:?} are not all in: {last}");
}

pub(crate) async fn settings(scene: &Scene) -> Value {
    let (bucket, key) = (scene.bucket("SHARDS"), scene.key("SHARDS", "settings"));
    let stored = scene.operator.last(&bucket, &key).await;
    serde_json::from_str(&stored).expect("JSON")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rooms_on_the_bus_are_not_begun_anew_in_cassandra() {
    let Some(scene) = Scene::new("a flipped journal").await else {
        return;
    };
    let mut node = scene.cluster.node("only").await;
    let mut harry = Person::joins_in_json(&node, "aaa", "harry", "key-harry").await;
    assert_eq!(gets_in(&mut harry, "m1").await, 2);
    let noted = settings(&scene).await;
    assert_eq!(noted["journal"], "bus", "{noted}");
    let id = noted["cluster"].as_str().expect("an id").to_owned();
    // Nobody is there: it is refused before it looks for Cassandra.
    let flipped = scene
        .cluster
        .clone()
        .with_cassandra_at("127.0.0.1:9".into());
    let ended = flipped.run(&["serve"], &ANY_PORTS).await;
    let parts = [
        "keeps its rooms on the bus",
        "in Cassandra",
        "journal.kind to bus",
    ];
    is_refused(&ended, &parts);

    // A cluster of before says so by its stream alone, and nothing tells to cut that.
    node.stop().await;
    let key = scene.key("SHARDS", "settings");
    let before = json!({ "shards": 16 }).to_string();
    scene.operator.store(&key, HeaderMap::new(), &before).await;
    let ended = flipped.run(&["serve"], &ANY_PORTS).await;
    is_refused(&ended, &["holds the rooms", "set journal.kind to bus"]);
    assert!(!ended.stderr.contains("--max-bytes"), "{ended:?}");
    // Its first node of this version fills in what was not known then.
    let node = scene.cluster.node("again").await;
    assert!(node.head("aaa").await >= 2, "its rooms are there");
    let noted = settings(&scene).await;
    assert_eq!(noted["journal"], "bus", "{noted}");
    assert_ne!(noted["cluster"], id.as_str(), "it had been forgotten");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_prefix_beside_others_says_which_those_are() {
    let Some(scene) = Scene::new("a mistaken prefix").await else {
        return;
    };
    let first = scene.cluster.node("first").await;
    assert!(
        !first.logs().contains("never used here"),
        "{}",
        first.logs()
    );
    let other = Cluster::nowhere(scene.cluster.nats().into());
    let second = other.node("second").await;
    let said = second.logs();
    let line = said.lines().find(|line| line.contains("never used here"));
    let others = format!("others=\"{}\"", scene.cluster.prefix());
    assert!(line.is_some_and(|line| line.contains(&others)), "{said}");
    // Nothing to say of a prefix that is known.
    let third = other.node("third").await;
    assert!(!third.logs().contains("never used here"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_setting_that_a_stream_makes_idle_is_said() {
    let Some(scene) = Scene::new("an idle setting").await else {
        return;
    };
    let first = scene.cluster.node("first").await;
    assert!(
        !first.logs().contains("counts for nothing"),
        "{}",
        first.logs()
    );
    let more = scene
        .cluster
        .clone()
        .with("SAFE_CHAT_BUS__COMMAND_BYTES", "1048576");
    let second = more.node("second").await;
    let (said, stream) = (second.logs(), scene.stream("CMD"));
    let line =
        format!("bus.command_bytes is 1048576 and counts for nothing, since stream {stream}");
    assert!(said.contains(&line), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_reads_too_little_does_not_start() {
    let Some(scene) = Scene::new("newer forms").await else {
        return;
    };
    let mut node = scene.cluster.node("only").await;
    node.stop().await;
    let mut noted = settings(&scene).await;
    let known = u64::from(safe_chat::bus::FORMATS);
    assert_eq!(
        noted["format"], known,
        "noted once every node reads it: {noted}"
    );
    (noted["format"], noted["later"]) = ((known + 1).into(), "of a later version".into());
    let key = scene.key("SHARDS", "settings");
    scene
        .operator
        .store(&key, HeaderMap::new(), &noted.to_string())
        .await;
    let ended = scene.cluster.run(&["serve"], &ANY_PORTS).await;
    is_refused(&ended, &[&format!("forms up to {}", known + 1), "install"]);
    assert_eq!(settings(&scene).await, noted, "it left the record alone");
}

/// A cluster on a bus of its own, with its rooms in a keyspace of its own.
async fn in_cassandra(claim: &str) -> Option<Scene> {
    let cluster = Cluster::cassandra(claim)?;
    let mut scene = Scene::new(claim).await?;
    let prefix = scene.cluster.prefix().to_owned();
    scene.cluster = cluster
        .with_nats_at(scene.cluster.nats().into())
        .with_prefix(&prefix);
    Some(scene)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_journaled_in_a_keyspace_that_took_the_place_of_the_clusters() {
    let Some(scene) = in_cassandra("a keyspace that is dropped under nodes").await else {
        return;
    };
    let Scene {
        cluster, operator, ..
    } = &scene;
    let mut node = cluster.node("only").await;
    let mut harry = Person::joins_in_json(&node, "aaa", "harry", "key-harry").await;
    assert_eq!(gets_in(&mut harry, "m1").await, 2);
    let address = cluster.cassandra_address().expect("Cassandra");
    let session = SessionBuilder::new().known_node(address).build().await;
    let (session, keyspace) = (session.expect("a session"), cluster.keyspace());
    let dropped = session.query_unpaged(format!("DROP KEYSPACE {keyspace}"), ());
    dropped.await.expect("dropped");
    eventually("it says that the keyspace is gone", async || {
        node.unready().await.contains("is gone")
    })
    .await;
    let made = cluster.run(&["migrate"], &[]).await;
    assert_eq!(made.code, Some(0), "{made:?}");
    eventually("it says that another one took the place", async || {
        node.unready().await.contains("was put in the place")
    })
    .await;
    harry.says("m2", "into nothing").await;
    node.stop().await;
    // What was sent there counts for nobody.
    while let Ok(frame) = harry.json_or_close().await {
        assert!(
            frame["type"] != "journaled" && frame["type"] != "event",
            "{frame}"
        );
    }
    let ended = cluster.run(&["serve"], &ANY_PORTS).await;
    is_refused(&ended, &["keyspace", "cannot be used"]);

    // Without a backup: what the bus has is written there when the settings leave it open.
    let mut noted = settings(&scene).await;
    noted.as_object_mut().expect("an object").remove("keyspace");
    let key = scene.key("SHARDS", "settings");
    operator
        .store(&key, HeaderMap::new(), &noted.to_string())
        .await;
    let recovered = cluster.run(&["journal", "recover"], &[]).await;
    assert_eq!(recovered.code, Some(0), "{recovered:?}");
    let mut node = cluster.node("again").await;
    assert!(node.head("aaa").await >= 2, "its rooms are there");
    node.ready().await;
}

/// What stands behind the last `nats kv put ... settings` of a line.
fn typed(line: &str) -> &str {
    let (_, value) = line.rsplit_once("settings '").expect("a command");
    value.trim_end().trim_end_matches('\'')
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_clusters_do_not_share_a_keyspace_nor_one_cluster_two_of_them() {
    let Some(scene) = in_cassandra("two clusters in one keyspace").await else {
        return;
    };
    let prefix = scene.cluster.prefix().to_owned();
    let mut node = scene.cluster.node("only").await;
    let mut harry = Person::joins_in_json(&node, "aaa", "harry", "key-harry").await;
    assert_eq!(gets_in(&mut harry, "m1").await, 2);
    let noted = settings(&scene).await;
    assert_eq!(noted["journal"], "cassandra", "{noted}");
    let (id, keyspace) = (noted["cluster"].clone(), noted["keyspace"].clone());
    assert!(id.is_string() && keyspace.is_string(), "{noted}");

    // One of another prefix in the keyspace: nothing of it is taken, nothing is made or noted, and
    // nobody is told how to take it from a cluster that lives.
    let intruder = scene.cluster.clone().with_prefix(&format!("{prefix}x"));
    let ended = intruder.run(&["serve"], &ANY_PORTS).await;
    let theirs = format!("the rooms of cluster {}", id.as_str().expect("an id"));
    let mine = format!("Set bus.prefix to {prefix},");
    is_refused(&ended, &[&theirs, "cassandra.keyspace", &mine]);
    assert!(!ended.stderr.contains("nats kv put"), "{ended:?}");
    let made = format!("{}X_CMD", prefix.to_uppercase());
    assert_eq!(scene.operator.config(&made).await, None);
    // The cluster in another keyspace.
    let astray = format!("{}x", scene.cluster.keyspace());
    let astray = scene.cluster.clone().with_keyspace(&astray);
    let ended = astray.run(&["serve"], &ANY_PORTS).await;
    is_refused(&ended, &["keyspace with the id", "cassandra.keyspace"]);
    // Flipped to the bus.
    let ended = scene
        .cluster
        .clone()
        .on_the_bus()
        .run(&["serve"], &ANY_PORTS)
        .await;
    is_refused(
        &ended,
        &["keeps its rooms in Cassandra", "journal.kind to cassandra"],
    );

    // Its settings alone are gone: the keyspace says which cluster it is.
    node.kill().await;
    let key = scene.key("SHARDS", "settings");
    let mut removed = HeaderMap::new();
    removed.insert("KV-Operation", "DEL");
    for (headers, payload) in [(removed, ""), (HeaderMap::new(), "garbage")] {
        scene.operator.store(&key, headers, payload).await;
        let looked = scene.cluster.run(&["doctor"], &[]).await;
        let told = looked.stdout.contains("the settings of the cluster");
        assert!(told && looked.code == Some(1), "{looked:?}");
        let mut node = scene.cluster.node("found").await;
        let noted = settings(&scene).await;
        assert_eq!((&noted["cluster"], &noted["keyspace"]), (&id, &keyspace));
        assert!(node.head("aaa").await >= 2, "its rooms are there");
        let said = node.logs();
        assert!(said.contains("the id that its keyspace has"), "{said}");
        node.kill().await;
    }

    // The bus is gone as a whole: what the refusal says to type makes it the same cluster again.
    for bucket in ["SHARDS", "NODES", "SESSIONS", "SNAPSHOTS"] {
        scene.operator.delete(&scene.bucket(bucket)).await;
    }
    for stream in ["CMD", "EVT"] {
        scene.operator.delete(&scene.stream(stream)).await;
    }
    let ended = scene.cluster.run(&["serve"], &ANY_PORTS).await;
    is_refused(
        &ended,
        &[&theirs, "Only if the bus of that cluster is lost"],
    );
    let last = ended.stderr.lines().last().expect("a line");
    scene
        .operator
        .store(&key, HeaderMap::new(), typed(last))
        .await;
    let node = scene.cluster.node("again").await;
    assert!(node.head("aaa").await >= 2, "its rooms are there");
    let noted = settings(&scene).await;
    assert_eq!((&noted["cluster"], &noted["keyspace"]), (&id, &keyspace));
}
