//! Rooms that an operator moves: out of a cluster into a file and into another one, and from one
//! kind of journal to the other and back. Whoever comes later misses nothing and gets nothing twice.

use crate::{
    belonging::settings,
    changed::{Scene, gets_in},
    cluster::{Cluster, PATIENCE, eventually},
    node::{Ended, Node},
    person::{JSON, Person},
    proxy::Proxy,
    retention::admin,
};
use async_nats::HeaderMap;
use scylla::client::session_builder::SessionBuilder;
use serde_json::{Value, json};
use std::path::Path;

/// Flags that let any port be taken.
const ANY_PORTS: [&str; 4] = ["--http-port", "0", "--internal-port", "0"];

/// What was said in the room aaa, as its history has it.
async fn history(node: &Node) -> Vec<Value> {
    let url = format!("{}/rooms/aaa/history?limit=500", node.url());
    let page = reqwest::Client::new().get(url).timeout(PATIENCE).send();
    let page: Value = page.await.expect("an answer").json().await.expect("JSON");
    page["events"].as_array().expect("events").clone()
}

/// Harry comes back to where he was: the events that he missed, up to a place, and nothing else.
async fn resumes(node: &Node, since: u64, head: u64) -> (Person, Vec<Value>) {
    let query = format!("key-harry&since={since}");
    let mut harry = Person::joins(node, "aaa", "harry", &query, JSON).await;
    let welcome = harry.json().await;
    assert_eq!(welcome["recovered"], true, "{welcome}");
    let missed = harry.events_until(head).await;
    (harry, missed)
}

/// What was sent before keeps its place, and what comes now gets the next one.
async fn goes_on(harry: &mut Person, before: &[Value]) {
    let first = before.iter().find(|event| event["id"] == "m1");
    let first = first.expect("a first message");
    harry.says("m1", "Hello").await;
    let again = harry.next("journaled").await;
    assert_eq!(
        (&again["seq"], &again["duplicate"]),
        (&first["seq"], &json!(true))
    );
    let last = before.last().and_then(|event| event["seq"].as_u64());
    let last = last.expect("a place");
    assert!(gets_in(harry, &format!("after-{last}")).await > last);
}

/// The members of the room, as whoever comes is told.
async fn members(node: &Node) -> Vec<Value> {
    let mut reader = Person::joins(node, "aaa", "reader", "key-reader", JSON).await;
    let welcome = reader.json().await;
    welcome["members"].as_array().expect("members").clone()
}

fn done(ended: &Ended) {
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

fn is_refused(ended: &Ended, parts: &[&str]) {
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let named = parts.iter().all(|part| ended.stderr.contains(part));
    assert!(named, "{parts:?} are not all in: {}", ended.stderr);
}

/// It was done before, and is no mistake.
fn is_switched(ended: &Ended) {
    done(ended);
    assert!(ended.stdout.contains("switched already"), "{ended:?}");
}

/// Sends messages with these numbers.
async fn says(person: &mut Person, numbers: std::ops::RangeInclusive<u64>) {
    for n in numbers {
        gets_in(person, &format!("m{n}")).await;
    }
}

async fn export(cluster: &Cluster, to: &Path) -> Ended {
    let to = to.to_str().expect("UTF-8");
    cluster.run(&["journal", "export"], &["--to", to]).await
}

async fn import(cluster: &Cluster, file: &Path) -> Ended {
    let file = file.to_str().expect("UTF-8");
    cluster.run(&["journal", "import", file], &[]).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_on_the_bus_is_saved_in_a_file_and_restored_from_it() {
    let Some(scene) = Scene::new("a journal in a file").await else {
        return;
    };
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("rooms.ndjson");
    let mut node = scene.cluster.node("only").await;
    let mut harry = Person::joins_in_json(&node, "aaa", "harry", "key-harry").await;
    let mut charly = Person::joins_in_json(&node, "aaa", "charly", "key-charly").await;
    says(&mut harry, 1..=5).await;
    gets_in(&mut charly, "c1").await;
    let before = history(&node).await;
    let head = before.len() as u64;

    done(&export(&scene.cluster, &file).await);
    // Not over what is there.
    assert_eq!(export(&scene.cluster, &file).await.code, Some(1));
    let missing = scene
        .cluster
        .run(&["journal", "export", "nobody"], &[])
        .await;
    is_refused(&missing, &["nobody", "does not exist"]);
    let one = scene.cluster.run(&["journal", "export", "aaa"], &[]).await;
    done(&one);
    assert!(one.stdout.contains("\"name\":\"joined\""), "{one:?}");
    // Nothing is written beside a node that runs.
    is_refused(&import(&scene.cluster, &file).await, &["only", "stop"]);

    // Its sessions are open when it dies, and the whole bus is gone.
    node.kill().await;
    let other = scene.cluster.clone().with_prefix("restored");
    done(&import(&other, &file).await);
    let again = import(&other, &file).await;
    done(&again);
    assert!(again.stdout.contains("0 were written"), "{again:?}");
    let verified = other.run(&["journal", "verify", "aaa"], &[]).await;
    done(&verified);
    // Who only looks makes nothing where nothing is.
    let mistyped = scene.cluster.clone().with_prefix("mistyped");
    for look in ["verify", "inspect"] {
        let ended = mistyped.run(&["journal", look, "aaa"], &[]).await;
        is_refused(&ended, &["the prefix mistyped", scene.cluster.prefix()]);
    }
    assert_eq!(scene.operator.config("MISTYPED_SHARDS").await, None);

    let node = other.node("another").await;
    assert_eq!(history(&node).await[..before.len()], before);
    eventually("who was there with a dead node is gone", async || {
        members(&node).await == ["reader"]
    })
    .await;
    let (mut harry, missed) = resumes(&node, 3, head).await;
    assert_eq!(missed, before[3..]);
    goes_on(&mut harry, &before).await;
    let (status, refused) = Person::refused(&node, "aaa", "charly", "another-key").await;
    assert_eq!(
        (status, &refused["error"]["reason"]),
        (403, &json!("key_mismatch"))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_starts_on_an_import_that_did_not_end() {
    let Some(scene) = Scene::new("half an import").await else {
        return;
    };
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("rooms.ndjson");
    let mut node = scene.cluster.node("only").await;
    let mut harry = Person::joins_in_json(&node, "aaa", "harry", "key-harry").await;
    says(&mut harry, 1..=3).await;
    done(&export(&scene.cluster, &file).await);
    // Beside a node nothing is begun.
    is_refused(&import(&scene.cluster, &file).await, &["only", "stop"]);
    assert_eq!(settings(&scene).await.get("incomplete"), None);
    node.kill().await;

    // As a command leaves them that ends before its last room.
    let mut begun = settings(&scene).await;
    begun["incomplete"] = true.into();
    let key = scene.key("SHARDS", "settings");
    let begun = begun.to_string();
    scene.operator.store(&key, HeaderMap::new(), &begun).await;
    for command in ["serve", "export"] {
        let ended = match command {
            "serve" => scene.cluster.run(&["serve"], &ANY_PORTS).await,
            _ => export(&scene.cluster, &directory.path().join("more")).await,
        };
        is_refused(
            &ended,
            &["has begun and not come to its end", "run it again"],
        );
    }
    let looked = scene.cluster.run(&["doctor"], &[]).await;
    let told = format!("{}{}", looked.stdout, looked.stderr);
    assert_eq!(looked.code, Some(1), "{looked:?}");
    assert!(told.contains("has begun and not come to its end"), "{told}");
    assert!(!told.contains("nothing keeps a node"), "{told}");
    // What another file has does not complete it, and is not mixed with it.
    let other = directory.path().join("other");
    let elsewhere = scene.cluster.clone().with_prefix("elsewhere");
    let mut stranger = elsewhere.node("stranger").await;
    let mut sam = Person::joins_in_json(&stranger, "bbb", "sam", "key-sam").await;
    says(&mut sam, 1..=1).await;
    done(&export(&elsewhere, &other).await);
    stranger.kill().await;
    let mut begun: Value = serde_json::from_str(&begun).expect("JSON");
    begun["import"] = "0198c0de-0000-7000-8000-000000000000".into();
    scene
        .operator
        .store(&key, HeaderMap::new(), &begun.to_string())
        .await;
    for file in [&file, &other] {
        let refused = import(&scene.cluster, file).await;
        is_refused(&refused, &["another import", "nats kv put"]);
    }
    begun.as_object_mut().expect("an object").remove("import");
    scene
        .operator
        .store(&key, HeaderMap::new(), &begun.to_string())
        .await;
    done(&import(&scene.cluster, &file).await);
    assert_eq!(settings(&scene).await.get("incomplete"), None);
    let node = scene.cluster.node("again").await;
    assert!(history(&node).await.len() >= 4, "and harry has left");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_moves_from_the_bus_to_cassandra_and_back() {
    let Some(cassandra) = Cluster::cassandra("a cluster that moves") else {
        return;
    };
    let Some(scene) = Scene::new("a cluster that moves").await else {
        return;
    };
    let on_bus = scene.cluster.clone();
    let prefix = on_bus.prefix().to_owned();
    let in_cassandra = cassandra
        .with_nats_at(on_bus.nats().into())
        .with_prefix(&prefix);
    let to_cassandra = ["journal", "copy", "--to", "cassandra"];

    let mut node = on_bus.node("first").await;
    let mut harry = Person::joins_in_json(&node, "aaa", "harry", "key-harry").await;
    says(&mut harry, 1..=5).await;
    done(&in_cassandra.run(&to_cassandra, &[]).await);
    is_refused(
        &in_cassandra.run(&to_cassandra, &["--switch"]).await,
        &["first"],
    );
    says(&mut harry, 6..=8).await;
    let before = history(&node).await;
    node.kill().await;
    let switched = in_cassandra.run(&to_cassandra, &["--switch"]).await;
    done(&switched);
    assert!(switched.stdout.contains("3 events added"), "{switched:?}");
    is_switched(&in_cassandra.run(&to_cassandra, &["--switch"]).await);
    let refused = on_bus.run(&["serve"], &ANY_PORTS).await;
    is_refused(&refused, &["keeps its rooms in Cassandra"]);

    let mut node = in_cassandra.node("second").await;
    let (mut harry, missed) = resumes(&node, 4, before.len() as u64).await;
    assert_eq!(missed, before[4..]);
    goes_on(&mut harry, &before).await;
    // Its stream of events is as it was; the settings say that it is the journal no more.
    let logs = node.logs();
    assert!(!logs.contains("cannot be used"), "{logs}");

    let exported = in_cassandra.run(&["journal", "export", "aaa"], &[]).await;
    done(&exported);
    let total: Value =
        serde_json::from_str(exported.stdout.lines().last().expect("a line")).expect("JSON");
    assert!(
        total["events"].as_u64() >= Some(before.len() as u64),
        "{total}"
    );

    // Back, under another prefix, with a session that is open to the end.
    let back_prefix = format!("{prefix}b");
    let back = on_bus.clone().with_prefix(&back_prefix);
    let to_bus = [
        "journal",
        "copy",
        "--to",
        "bus",
        "--to-prefix",
        &back_prefix,
    ];
    let without = in_cassandra.run(&to_bus[..4], &[]).await;
    is_refused(&without, &["--to-prefix"]);
    let taken = on_bus.with_prefix(&format!("{prefix}c"));
    taken.node("elsewhere").await.kill().await;
    let mut to_taken = to_bus;
    to_taken[5] = taken.prefix();
    let refused = in_cassandra.run(&to_taken, &[]).await;
    is_refused(&refused, &[taken.prefix(), "in use by another cluster"]);
    for _ in 0..2 {
        done(&in_cassandra.run(&to_bus, &[]).await);
    }
    // Its rooms are not all there before the switch.
    let early = back.run(&["serve"], &ANY_PORTS).await;
    is_refused(&early, &["whose end is --switch"]);
    says(&mut harry, 11..=13).await;
    let before = history(&node).await;
    node.kill().await;
    done(&in_cassandra.run(&to_bus, &["--switch"]).await);
    is_switched(&in_cassandra.run(&to_bus, &["--switch"]).await);
    let refused = in_cassandra.run(&["serve"], &ANY_PORTS).await;
    is_refused(&refused, &["were moved", "bus.prefix"]);

    let node = back.node("third").await;
    assert_eq!(history(&node).await[..before.len()], before);
    eventually("who was there with a dead node is gone", async || {
        members(&node).await == ["reader"]
    })
    .await;
    let (mut harry, missed) = resumes(&node, 9, before.len() as u64).await;
    assert_eq!(missed, before[9..]);
    harry.says("m12", "Hello").await;
    assert_eq!(harry.next("journaled").await["duplicate"], true);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_says_which_rooms_have_gone_since() {
    let Some(cassandra) = Cluster::cassandra("rooms that go while they are copied") else {
        return;
    };
    let Some(scene) = Scene::new("rooms that go while they are copied").await else {
        return;
    };
    let prefix = scene.cluster.prefix();
    let in_cassandra = cassandra
        .with_nats_at(scene.cluster.nats().into())
        .with_prefix(prefix);
    let on_bus = (scene.cluster.clone())
        .with("SAFE_CHAT_WRITER__TRIM_MS", "20")
        .with("SAFE_CHAT_WRITER__IDLE_MS", "1000")
        .with("SAFE_CHAT_WRITER__GONE_AFTER_S", "1");
    let mut node = on_bus.node("only").await;
    for room in ["aaa", "bbb"] {
        let mut harry = Person::joins_in_json(&node, room, "harry", "key-harry").await;
        says(&mut harry, 1..=1).await;
    }
    eventually("harry has left", async || node.head("aaa").await == 3).await;
    let copy = ["journal", "copy", "--to", "cassandra"];
    let copied = in_cassandra.run(&copy, &[]).await;
    done(&copied);
    assert!(!copied.stderr.contains("not here"), "{copied:?}");
    admin(&node, &["purge", "aaa", "--yes"]).await;
    eventually("the room is gone", async || {
        node.metrics()
            .await
            .contains("safechat_rooms_removed_total 1")
    })
    .await;
    let copied = in_cassandra.run(&copy, &[]).await;
    done(&copied);
    let warned = copied.stderr.contains("1 rooms are there and not here")
        && copied.stderr.contains(": aaa: --switch will refuse them");
    assert!(warned, "{copied:?}");
    node.kill().await;
    let refused = in_cassandra.run(&copy, &["--switch"]).await;
    is_refused(
        &refused,
        &["there and not here", "aaa", "nothing was switched"],
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_switch_that_is_interrupted_anywhere_is_ended_by_the_same_command() {
    let Some(cassandra) = Cluster::cassandra("a switch that is interrupted") else {
        return;
    };
    let Some(scene) = Scene::new("a switch that is interrupted").await else {
        return;
    };
    let nats = scene.cluster.nats().to_owned();
    let prefix = scene.cluster.prefix();
    let old = cassandra.with_nats_at(nats.clone()).with_prefix(prefix);
    let new_prefix = format!("{prefix}b");
    let new = scene.cluster.clone().with_prefix(&new_prefix);
    let mut node = old.node("first").await;
    let mut harry = Person::joins_in_json(&node, "aaa", "harry", "key-harry").await;
    says(&mut harry, 1..=3).await;
    let before = history(&node).await;
    node.kill().await;

    let copy = ["journal", "copy", "--to", "bus", "--to-prefix", &new_prefix];
    done(&old.run(&copy, &[]).await);
    let address = old.cassandra_address().expect("Cassandra is the journal");
    let bucket = |prefix: &str| format!("{}_SHARDS", prefix.to_uppercase());
    let noted = |prefix: &str| format!("PUB $KV.{}.settings", bucket(prefix));
    let handed = format!("UPDATE {}.metadata", old.keyspace());
    let nats_at = nats.trim_start_matches("nats://");
    let steps = [
        (address, handed, "holds the rooms of cluster", [false; 2]),
        (
            nats_at,
            noted(prefix),
            "holds the rooms of cluster",
            [true, false],
        ),
        (nats_at, noted(&new_prefix), "were moved", [true; 2]),
    ];
    for (server, write, why, [is_handed, is_moved]) in steps {
        let proxy = Proxy::until(server, &write).await;
        let through = match server == address {
            true => old.clone().with_cassandra_at(proxy.address()),
            false => old
                .clone()
                .with_nats_at(format!("nats://{}", proxy.address())),
        };
        let ended = through.run(&copy, &["--switch"]).await;
        assert!(proxy.is_closed(), "{write} was not said: {ended:?}");
        is_refused(&ended, &["the same again goes on"]);
        let left = settings(&scene).await;
        assert_eq!(left.get("moved").is_some(), is_moved, "{write}: {left}");
        if is_handed {
            is_refused(&old.run(&["serve"], &ANY_PORTS).await, &[why]);
        } else {
            // As before.
            let mut node = old.node("still").await;
            assert_eq!(history(&node).await[..before.len()], before);
            node.kill().await;
        }
        // Without the switch too, which changes nothing of it.
        done(&old.run(&copy, &[]).await);
        let early = new.run(&["serve"], &ANY_PORTS).await;
        is_refused(&early, &["whose end is --switch"]);
    }
    let switched = old.run(&copy, &["--switch"]).await;
    done(&switched);
    assert!(
        switched.stdout.contains("cluster is switched: "),
        "{switched:?}"
    );
    is_switched(&old.run(&copy, &["--switch"]).await);
    is_refused(&old.run(&["serve"], &ANY_PORTS).await, &["were moved"]);
    let node = new.node("second").await;
    assert_eq!(history(&node).await[..before.len()], before);
}

/// Forgets what Cassandra has of the room aaa behind a place, as restoring an older backup does.
async fn goes_back(cluster: &Cluster, to: u64) {
    let address = cluster
        .cassandra_address()
        .expect("Cassandra is the journal");
    let session = SessionBuilder::new().known_node(address).build().await;
    let session = session.expect("a session");
    let keyspace = cluster.keyspace();
    for statement in [
        format!(
            "DELETE FROM {keyspace}.journal WHERE room = 'aaa' AND partition_nr = 0 AND seq > {to}"
        ),
        format!("DELETE FROM {keyspace}.snapshots WHERE room = 'aaa'"),
    ] {
        let done = session.query_unpaged(statement, ()).await;
        done.expect("deleted");
    }
}

/// Forgets events of the room aaa that others follow.
async fn loses(cluster: &Cluster, places: std::ops::RangeInclusive<u64>) {
    let address = cluster.cassandra_address().expect("Cassandra");
    let session = SessionBuilder::new().known_node(address).build().await;
    let (keyspace, first, last) = (cluster.keyspace(), places.start(), places.end());
    let statement = format!(
        "DELETE FROM {keyspace}.journal WHERE room = 'aaa' AND partition_nr = 0 AND seq >= {first} \
         AND seq <= {last}"
    );
    let session = session.expect("a session");
    let deleted = session.query_unpaged(statement, ()).await;
    deleted.expect("deleted");
}

/// Makes an event of the room aaa another one than it was, or that again.
async fn is_of_another_time(cluster: &Cluster, place: i64, later_ms: i64) {
    let address = cluster.cassandra_address().expect("Cassandra");
    let session = SessionBuilder::new().known_node(address).build().await;
    let (session, keyspace) = (session.expect("a session"), cluster.keyspace());
    let key = "room = 'aaa' AND partition_nr = 0 AND seq";
    let found = session
        .query_unpaged(
            format!("SELECT epoch, at FROM {keyspace}.journal WHERE {key} = {place}"),
            (),
        )
        .await
        .expect("read")
        .into_rows_result()
        .expect("rows");
    let (epoch, at) = found.single_row::<(i64, i64)>().expect("a row");
    let later = format!(
        "UPDATE {keyspace}.journal SET at = {} WHERE {key} = {place} AND epoch = {epoch}",
        at + later_ms
    );
    session.query_unpaged(later, ()).await.expect("written");
}

/// Puts the name of a room back into Cassandra, as a backup from before its removal does.
async fn notes_a_room(cluster: &Cluster, room: &str) {
    let address = cluster.cassandra_address().expect("Cassandra");
    let session = SessionBuilder::new().known_node(address).build().await;
    let keyspace = cluster.keyspace();
    let statement = format!("INSERT INTO {keyspace}.all_persistence_ids (room) VALUES ('{room}')");
    let noted = session
        .expect("a session")
        .query_unpaged(statement, ())
        .await;
    noted.expect("noted");
}

pub(crate) async fn what_only_the_bus_has_is_written_back_into_an_older_cassandra(
    cluster: Cluster,
) {
    let mut node = cluster.node("first").await;
    let mut harry = Person::joins_in_json(&node, "aaa", "harry", "key-harry").await;
    says(&mut harry, 1..=6).await;
    let before = history(&node).await;
    is_refused(&cluster.run(&["journal", "recover"], &[]).await, &["first"]);
    let ends = async |it: &str| {
        let looked = cluster.run(&["doctor"], &[]).await;
        assert!(looked.stdout.contains(it), "{looked:?}");
    };
    node.kill().await;
    ends("it has what was published last").await;
    goes_back(&cluster, 3).await;
    ends("the journal ends before the bus (room aaa at 3 there").await;
    let recovered = cluster.run(&["journal", "recover"], &[]).await;
    done(&recovered);
    assert!(recovered.stdout.contains("4 events added"), "{recovered:?}");
    let again = cluster.run(&["journal", "recover"], &[]).await;
    assert!(again.stdout.contains("0 were written"), "{again:?}");
    assert!(!again.stderr.contains("the bus nothing"), "{again:?}");
    notes_a_room(&cluster, "removed").await;
    let again = cluster.run(&["journal", "recover"], &[]).await;
    let named = "of 1 rooms Cassandra has something and the bus nothing: removed:";
    assert!(again.stderr.contains(named), "{again:?}");
    ends("it has what was published last").await;
    let mut node = cluster.node("second").await;
    let (mut harry, missed) = resumes(&node, 2, before.len() as u64).await;
    assert_eq!(missed, before[2..]);
    goes_on(&mut harry, &before).await;
    assert!(!node.logs().contains("are gone"), "{}", node.logs());

    // Without that: whoever opens it writes it back.
    let head = node.head("aaa").await;
    let before = history(&node).await;
    node.kill().await;
    goes_back(&cluster, 3).await;
    let mut node = cluster.node("third").await;
    // Before anybody has opened it.
    node.warned("the journal ends before the bus").await;
    let (mut harry, missed) = resumes(&node, 2, head).await;
    assert_eq!(missed, before[2..head as usize]);
    goes_on(&mut harry, &before).await;
    let said = node.logs();
    assert!(said.contains("they were written back"), "{said}");
    assert!(!said.contains("are gone"), "{said}");
    let told = said.matches("the journal ends before the bus").count();
    assert_eq!(told, 1, "{said}");
    node.kill().await;

    // What is missing below the end of a room, no opening sees.
    loses(&cluster, 4..=6).await;
    ends("room aaa lacks events 4 to 6, which the bus still has").await;
    let verified = cluster.run(&["journal", "verify", "aaa"], &[]).await;
    is_refused(&verified, &["events that the bus still has"]);
    assert!(verified.stdout.contains("4 to 6"), "{verified:?}");
    is_of_another_time(&cluster, 7, 1).await;
    ends("room aaa: event 7 here is another one than on the bus").await;
    let verified = cluster.run(&["journal", "verify", "aaa"], &[]).await;
    is_refused(&verified, &["has another event than the bus at 7"]);
    is_refused(&cluster.run(&["journal", "recover"], &[]).await, &["aaa"]);
    is_of_another_time(&cluster, 7, -1).await;
    let recovered = cluster.run(&["journal", "recover"], &[]).await;
    done(&recovered);
    assert!(recovered.stdout.contains("3 events added"), "{recovered:?}");
    done(&cluster.run(&["journal", "verify", "aaa"], &[]).await);
    ends("it has what was published last").await;
    let node = cluster.node("fourth").await;
    let (_harry, missed) = resumes(&node, 2, head).await;
    assert_eq!(missed, before[2..head as usize]);
}
