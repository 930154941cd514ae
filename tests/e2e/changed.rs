//! What an operator does to the bus under running nodes: each is named by `/ready` and the log
//! within seconds, clients are told, and what is put back heals without a restart.

use crate::{
    cluster::{Cluster, eventually},
    node::Node,
    person::Person,
    server::{Operator, Server},
};
use safe_chat::room::RoomId;
use serde_json::{Value, json};

/// What a test of this file has.
pub(crate) struct Scene {
    pub(crate) server: Server,
    pub(crate) cluster: Cluster,
    pub(crate) operator: Operator,
}

impl Scene {
    pub(crate) async fn new(claim: &str) -> Option<Self> {
        let server = Server::start(claim).await?;
        let (cluster, operator) = (server.cluster(), server.operator().await);
        Some(Self {
            server,
            cluster,
            operator,
        })
    }

    pub(crate) fn stream(&self, kind: &str) -> String {
        format!("{}_{kind}", self.cluster.prefix().to_uppercase())
    }

    pub(crate) fn bucket(&self, kind: &str) -> String {
        format!("KV_{}", self.stream(kind))
    }

    /// The subject of a record.
    pub(crate) fn key(&self, kind: &str, key: &str) -> String {
        format!("$KV.{}.{key}", self.stream(kind))
    }

    /// The subject of commands to a room.
    pub(crate) fn commands_of(&self, room: &str) -> String {
        self.events_of(room).replacen(".evt.", ".cmd.", 1)
    }

    /// The subject of a room's events.
    pub(crate) fn events_of(&self, room: &str) -> String {
        let prefix = self.cluster.prefix();
        let room = RoomId::parse(room).expect("a name");
        format!("{prefix}.evt.{}.{room}", self.cluster.shards().of(&room))
    }
}

/// Sends until it is journaled, as a client does that is told to send again; the place.
pub(crate) async fn gets_in(person: &mut Person, id: &str) -> u64 {
    loop {
        person.says(id, "Hello").await;
        loop {
            let frame = person.json().await;
            match frame["type"].as_str() {
                Some("journaled") if frame["id"] == id => {
                    return frame["seq"].as_u64().expect("a place");
                }
                Some("rejected") if frame["id"] == id => {
                    assert_eq!(frame["reason"], "unavailable", "{frame}");
                    let ms = frame["retry_after_ms"].as_u64().expect("when to try again");
                    tokio::time::sleep(std::time::Duration::from_millis(ms.min(1_000))).await;
                    break;
                }
                _ => {}
            }
        }
    }
}

/// The answer to one attempt: `journaled` or `rejected`.
pub(crate) async fn answer(person: &mut Person, id: &str) -> Value {
    loop {
        let frame = person.json().await;
        let is_final = frame["type"] == "journaled" || frame["type"] == "rejected";
        if is_final && frame["id"] == id {
            return frame;
        }
    }
}

pub(crate) fn count(text: &str, part: &str) -> usize {
    text.matches(part).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_that_are_deleted_are_made_again_and_no_send_stays_unanswered() {
    let Some(scene) = Scene::new("commands deleted").await else {
        return;
    };
    let node = scene.cluster.node("only").await;
    let mut harry = Person::joins_in_json(&node, "aaa", "harry", "key-harry").await;
    assert_eq!(gets_in(&mut harry, "m1").await, 2);
    scene.operator.delete(&scene.stream("CMD")).await;
    harry.says("m2", "into nothing").await;
    harry.says("m3", "behind it").await;
    let ids = ["m2", "m3"];
    for (id, answer) in ids.iter().zip(harry.answers(ids).await) {
        if answer["type"] == "rejected" {
            gets_in(&mut harry, id).await;
        }
    }
    let mut charly = Person::joins_in_json(&node, "aaa", "charly", "key-charly").await;
    gets_in(&mut charly, "m4").await;
    let logs = node.logs();
    let line = format!(
        "a stream was missing and is made again, empty stream={}",
        scene.stream("CMD")
    );
    assert_eq!(count(&logs, &line), 1, "{logs}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_journal_that_is_deleted_is_named_refuses_sends_and_begins_anew_when_it_is_made() {
    let Some(scene) = Scene::new("events deleted").await else {
        return;
    };
    let events = scene.stream("EVT");
    let mut node = scene.cluster.node("only").await;
    let mut harry = Person::joins_in_json(&node, "aaa", "harry", "key-harry").await;
    assert_eq!(gets_in(&mut harry, "m1").await, 2);
    let config = scene.operator.config(&events).await.expect("a stream");
    scene.operator.delete(&events).await;
    harry.says("m2", "never stored").await;

    let why = node.unready().await;
    assert!(
        why.contains(&events) && why.contains("nats stream restore"),
        "{why}"
    );
    let refused = answer(&mut harry, "m2").await;
    assert_eq!(
        (&refused["type"], &refused["reason"]),
        (&json!("rejected"), &json!("unavailable"))
    );
    assert!(refused["retry_after_ms"].is_u64(), "{refused}");
    harry.says("m3", "refused at once").await;
    assert_eq!(harry.json().await["type"], "rejected");
    let (status, body) = Person::refused(&node, "aaa", "charly", "key-charly").await;
    assert_eq!(
        (status, body["error"]["reason"].as_str()),
        (503, Some("unavailable"))
    );
    assert_eq!(
        count(&node.logs(), "is missing: restore it"),
        1,
        "one warning"
    );

    // A node that starts makes no empty journal beside a cluster that had one.
    let mut other = scene.cluster.launch("other", &[]);
    let ended = other.ended().await;
    assert!(
        !ended.success() && other.logs().contains("nats stream restore"),
        "{}",
        other.logs()
    );
    assert_eq!(scene.operator.config(&events).await, None);

    // The operator lets all rooms begin anew.
    scene.operator.create(&config).await;
    assert_eq!(harry.closed().await, 4010);
    node.ready().await;
    let mut harry = Person::joins(
        &node,
        "aaa",
        "harry",
        "key-harry&since=2",
        crate::person::JSON,
    )
    .await;
    assert_eq!(harry.json().await["recovered"], false);
    assert_eq!(harry.json().await["type"], "reset");
    let seq = gets_in(&mut harry, "m4").await;
    let before = page(&node).await;
    assert_eq!(before.last().expect("an event")["seq"], seq, "{before:?}");
    is_dense(&before);
    node.kill().await;
    node.restart().await;
    assert_eq!(page(&node).await[..before.len()], before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_buffer_of_events_that_is_deleted_is_made_again_and_costs_no_session() {
    let Some(cluster) = Cluster::cassandra("events deleted beside Cassandra") else {
        return;
    };
    let Some(mut scene) = Scene::new("events deleted beside Cassandra").await else {
        return;
    };
    scene.cluster = cluster.with_nats_at(scene.cluster.nats().into());
    let node = scene.cluster.node("only").await;
    let mut harry = Person::joins_in_json(&node, "aaa", "harry", "key-harry").await;
    assert_eq!(gets_in(&mut harry, "m1").await, 2);
    scene.operator.delete(&scene.stream("EVT")).await;
    for (id, seq) in [("m2", 3), ("m3", 4)] {
        assert_eq!(gets_in(&mut harry, id).await, seq);
    }
    let mut charly = Person::joins_in_json(&node, "aaa", "charly", "key-charly&since=0").await;
    assert_eq!(charly.events_until(5).await.len(), 5);
    // The sessions did not wait for that, so it may come after them.
    let line = format!("made again, empty stream={}", scene.stream("EVT"));
    let made = async || count(&node.logs(), &line) == 1;
    eventually("the stream is made again and said once", made).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_journal_that_is_put_back_as_it_was_costs_no_session() {
    let Some(mut scene) = Scene::new("store put back").await else {
        return;
    };
    let node = scene.cluster.node("only").await;
    let mut harry = Person::joins_in_json(&node, "aaa", "harry", "key-harry").await;
    assert_eq!(gets_in(&mut harry, "m1").await, 2);
    scene.server.stop();
    scene.server.back_up();
    scene.server.restore();
    scene.server.run().await;
    assert_eq!(gets_in(&mut harry, "m2").await, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn buckets_that_are_deleted_are_made_again_and_filled_again() {
    let Some(scene) = Scene::new("buckets deleted").await else {
        return;
    };
    let (mut first, second) =
        tokio::join!(scene.cluster.node("first"), scene.cluster.node("second"));
    let mut harry = Person::joins_in_json(&first, "aaa", "harry", "key-harry").await;
    assert_eq!(gets_in(&mut harry, "m1").await, 2);
    let marks = scene.bucket("SESSIONS");
    for kind in ["SESSIONS", "NODES", "SHARDS", "SNAPSHOTS"] {
        let bucket = scene.bucket(kind);
        scene.operator.delete(&bucket).await;
        eventually("a bucket is made again", async || {
            scene.operator.config(&bucket).await.is_some()
        })
        .await;
        gets_in(&mut harry, &format!("after-{kind}")).await;
        let mut charly = Person::joins_in_json(&second, "aaa", "charly", "key-charly").await;
        gets_in(&mut charly, &format!("charly-after-{kind}")).await;
    }
    eventually("the marks are there again", async || {
        scene.operator.count(&marks, ">").await >= 1
    })
    .await;
    let settings = scene.bucket("SHARDS");
    eventually(
        "the records of all shards and the settings are there again",
        async || scene.operator.count(&settings, ">").await == 17,
    )
    .await;
    // What only the notes know: that harry was at a node that dies.
    first.kill().await;
    let mut charly = Person::joins_in_json(&second, "aaa", "charly", "key-charly").await;
    loop {
        let event = charly.next("event").await;
        if (&event["kind"], &event["from"]) == (&json!("left"), &json!("harry")) {
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_definition_is_named_and_heals_when_it_is_put_back() {
    let Some(scene) = Scene::new("definitions changed").await else {
        return;
    };
    let mut node = scene.cluster.node("only").await;
    let mut harry = Person::joins_in_json(&node, "aaa", "harry", "key-harry").await;
    gets_in(&mut harry, "m0").await;
    let (commands, events) = (scene.stream("CMD"), scene.stream("EVT"));
    let elsewhere = format!("{}.elsewhere.>", scene.cluster.prefix());
    let changes = [
        (&commands, "subjects", json!([elsewhere])),
        (&commands, "discard", json!("old")),
        (&commands, "max_age", json!(3_600_000_000_000_u64)),
        (&commands, "no_ack", json!(true)),
        (&events, "republish", json!(null)),
        (&events, "max_msgs_per_subject", json!(10_000)),
        (&events, "allow_direct", json!(false)),
    ];
    for (at, (stream, key, value)) in changes.into_iter().enumerate() {
        let before = scene.operator.edit(stream, &json!({ key: value })).await;
        let why = node.unready().await;
        assert!(why.contains(stream.as_str()) && why.contains(key), "{why}");
        let id = format!("m{}", at + 1);
        harry.says(&id, "refused").await;
        let refused = answer(&mut harry, &id).await;
        assert_eq!(refused["reason"], "unavailable", "{key}: {refused}");
        assert!(node.head("aaa").await >= 2, "reading goes on");
        scene.operator.update(&before).await;
        node.ready().await;
        gets_in(&mut harry, &id).await;
        assert_eq!(
            count(&node.logs(), &format!("its `{key}` is")),
            1,
            "one warning"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn consumers_that_are_deleted_are_made_again() {
    let Some(scene) = Scene::new("consumers deleted").await else {
        return;
    };
    let node = scene.cluster.node("only").await;
    let mut harry = Person::joins_in_json(&node, "aaa", "harry", "key-harry").await;
    gets_in(&mut harry, "m1").await;
    assert!(scene.operator.delete_consumers(&scene.stream("CMD")).await >= 1);
    gets_in(&mut harry, "m2").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_the_servers_do_not_take_holds_up_no_other() {
    let Some(scene) = Scene::new("max_payload lowered").await else {
        return;
    };
    let mut node = scene.cluster.node("only").await;
    let mut harry = Person::joins_in_json(&node, "aaa", "harry", "key-harry").await;
    gets_in(&mut harry, "m0").await;
    let sealed = "A".repeat(64 * 1024 / 3 * 4 + 2);
    let large = |id: &str| json!({ "type": "send", "id": id, "sealed": sealed }).to_string();

    scene.server.configure("max_payload: 64KB");
    scene.server.reload();
    scene.server.takes_at_most(64 * 1024).await;
    harry.types(&large("big-1")).await;
    harry.says("hi-1", "hi").await;
    let [refused, taken] = harry.answers(["big-1", "hi-1"]).await;
    assert_eq!(refused["reason"], "unavailable", "{refused}");
    assert!(refused["retry_after_ms"].is_u64(), "{refused}");
    assert_eq!(taken["type"], "journaled", "{taken}");
    node.warned("max_payload").await;
    node.ready().await;
    assert_eq!(
        count(&node.logs(), "max_payload of the nats-servers is 65536"),
        1
    );

    scene.server.configure("max_payload: 1MB");
    scene.server.reload();
    eventually("the warning is gone", async || {
        !node.internal("ready").await.contains("max_payload")
    })
    .await;
    harry.types(&large("big-1")).await;
    assert_eq!(answer(&mut harry, "big-1").await["type"], "journaled");

    for kind in ["CMD", "EVT"] {
        let (stream, id) = (scene.stream(kind), format!("big-{kind}"));
        let before = scene
            .operator
            .edit(&stream, &json!({ "max_msg_size": 65_536 }))
            .await;
        harry.types(&large(&id)).await;
        let small = format!("hi-{kind}");
        harry.says(&small, "hi").await;
        let [refused, taken] = harry.answers([&id, &small]).await;
        assert_eq!(refused["reason"], "unavailable", "{refused}");
        assert_eq!(taken["type"], "journaled", "{taken}");
        node.warned(&stream).await;
        scene.operator.update(&before).await;
        eventually("the warning is gone", async || {
            !node.internal("ready").await.contains(&stream)
        })
        .await;
        harry.types(&large(&id)).await;
        assert_eq!(answer(&mut harry, &id).await["type"], "journaled");
    }
}

/// The number of shards above all: a node that starts must not choose another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_that_cannot_be_put_back_at_once_are_put_back_later() {
    let Some(scene) = Scene::new("settings lost").await else {
        return;
    };
    let mut node = scene.cluster.node("only").await;
    let bucket = scene.bucket("SHARDS");
    let before = scene.operator.config(&bucket).await.expect("a bucket");
    let mut takes_nothing = before.clone();
    takes_nothing["max_msg_size"] = json!(1);
    scene.operator.delete(&bucket).await;
    scene.operator.create(&takes_nothing).await;
    node.warned("settings").await;
    scene.operator.update(&before).await;
    let settings = format!("$KV.{}.settings", scene.stream("SHARDS"));
    eventually("the settings are stored again", async || {
        scene.operator.count(&bucket, &settings).await == 1
    })
    .await;
    node.ready().await;
}

/// Two rooms, both with more to store than a message may have now, in the middle of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_far_below_a_commit_stops_no_room() {
    let Some(scene) = Scene::new("max_payload far below a commit").await else {
        return;
    };
    let mut node = scene.cluster.node("only").await;
    let mut people = [
        Person::joins_in_json(&node, "aaa", "harry", "key-harry").await,
        Person::joins_in_json(&node, "bbb", "charly", "key-charly").await,
    ];
    let (small, large) = ("s".repeat(2_000), "l".repeat(12_000));
    let says = async |people: &mut [Person; 2], id: &str, text: &str| {
        for person in people {
            person.says(id, text).await;
        }
    };
    for n in 0..8 {
        says(&mut people, &format!("before-{n}"), &small).await;
    }
    scene.server.configure("max_payload: 6KB");
    scene.server.reload();
    scene.server.takes_at_most(6 * 1024).await;
    says(&mut people, "large", &large).await;
    for n in 0..8 {
        says(&mut people, &format!("after-{n}"), &small).await;
    }
    for person in &mut people {
        // Whoever refuses the large one, a lane or the writer, answers beside the events.
        let [refused, last] = person.answers(["large", "after-7"]).await;
        assert_eq!(refused["reason"], "unavailable", "{refused}");
        assert_eq!(last["type"], "journaled", "{last}");
        assert_eq!(last["seq"], 17, "all of them, once");
    }
    node.kill().await;
    node.restart().await;
    let mut harry = Person::joins_in_json(&node, "aaa", "harry", "key-harry&since=0").await;
    assert!(harry.events_until(17).await.len() >= 17);
    gets_in(&mut harry, "goes-on").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_store_is_never_shown_beside_what_was_seen() {
    let Some(mut scene) = Scene::new("an older store").await else {
        return;
    };
    let (first, second) = tokio::join!(scene.cluster.node("first"), scene.cluster.node("second"));
    let mut harry = Person::joins_in_json(&first, "aaa", "harry", "key-harry").await;
    for id in ["m1", "m2"] {
        gets_in(&mut harry, id).await;
    }
    scene.server.stop();
    scene.server.back_up();
    scene.server.run().await;
    for id in ["m3", "m4", "m5"] {
        gets_in(&mut harry, id).await;
    }
    let mut charly = Person::joins_in_json(&second, "aaa", "charly", "key-charly").await;
    assert_eq!(
        charly.events_until(7).await.len(),
        7,
        "six of harry's, and the own"
    );

    scene.server.stop();
    scene.server.restore();
    scene.server.run().await;
    for person in [&mut harry, &mut charly] {
        person.says("more", "what is stored next").await;
        assert_eq!(
            person.closed().await,
            4010,
            "nothing is shown at a place twice"
        );
    }
    // Who comes back while the shard changes hands may be sent away again, but never goes on.
    let mut charly = loop {
        let since = "key-charly&since=7";
        let coming = Person::comes(&second, "aaa", "charly", since, crate::person::JSON).await;
        let Ok(mut charly) = coming.inspect_err(|status| assert_eq!(*status, 503)) else {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            continue;
        };
        let welcome = charly.json().await;
        assert_eq!(welcome["recovered"], false, "whatever came: {welcome}");
        match charly.json_or_close().await {
            Ok(reset) => {
                assert_eq!(reset["type"], "reset", "{reset}");
                break charly;
            }
            Err(code) => assert_eq!(code, 4010),
        }
    };
    let last = gets_in(&mut charly, "m9").await;
    eventually("the other node has it too", async || {
        first.head("aaa").await == last
    })
    .await;
    // What is stored is dense, and all that see it see the same.
    let pages = [page(&first).await, page(&second).await];
    assert_eq!(pages[0], pages[1]);
    is_dense(&pages[0]);
}

pub(crate) fn is_dense(events: &[Value]) {
    let seqs = events.iter().map(|event| event["seq"].as_u64());
    assert!(seqs.eq((1..=events.len() as u64).map(Some)), "{events:?}");
}

pub(crate) async fn page(node: &Node) -> Vec<Value> {
    let page = reqwest::get(format!("{}/rooms/aaa/history", node.url())).await;
    let page: Value = page.expect("an answer").json().await.expect("JSON");
    page["events"].as_array().cloned().expect("events")
}

/// The server's configuration with an account that has JetStream, or has it no more.
fn account(jetstream: &str) -> String {
    format!(
        "accounts {{ CHAT {{ jetstream: {jetstream}, users: [{{ user: u, password: p }}] }} }}\nno_auth_user: u"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_without_jetstream_is_named_and_refuses_until_it_has_it_again() {
    let Some(mut scene) = Scene::new("no JetStream").await else {
        return;
    };
    scene.server.stop();
    scene.server.configure(&account("enabled"));
    scene.server.run().await;
    let mut node = scene.cluster.node("only").await;
    let mut harry = Person::joins_in_json(&node, "aaa", "harry", "key-harry").await;
    gets_in(&mut harry, "m1").await;
    scene.server.configure(&account("disabled"));
    scene.server.reload();
    eventually("the account is named", async || {
        node.internal("ready")
            .await
            .contains("give the account JetStream")
    })
    .await;
    harry.says("m2", "refused").await;
    assert_eq!(answer(&mut harry, "m2").await["reason"], "unavailable");
    scene.server.configure(&account("enabled"));
    scene.server.reload();
    node.ready().await;
    gets_in(&mut harry, "m2").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sealed_stream_is_named_and_refuses_sends() {
    let Some(scene) = Scene::new("sealed").await else {
        return;
    };
    let node = scene.cluster.node("only").await;
    let mut harry = Person::joins_in_json(&node, "aaa", "harry", "key-harry").await;
    gets_in(&mut harry, "m1").await;
    let events = scene.stream("EVT");
    scene
        .operator
        .edit(&events, &json!({ "sealed": true }))
        .await;
    harry.says("m2", "refused").await;
    assert_eq!(answer(&mut harry, "m2").await["reason"], "unavailable");
    let why = node.unready().await;
    assert!(why.contains(&events) && why.contains("sealed"), "{why}");
    assert_eq!(node.head("aaa").await, 2, "reading goes on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_space_is_named_and_answers_busy() {
    let Some(scene) = Scene::new("no space").await else {
        return;
    };
    let mut node = scene.cluster.node("only").await;
    let mut harry = Person::joins_in_json(&node, "aaa", "harry", "key-harry").await;
    gets_in(&mut harry, "m1").await;
    let commands = scene.stream("CMD");
    let before = scene
        .operator
        .edit(&commands, &json!({ "max_bytes": 1 }))
        .await;
    harry.says("m2", "no space").await;
    assert_eq!(answer(&mut harry, "m2").await["reason"], "busy");
    node.warned("full").await;
    scene.operator.update(&before).await;
    gets_in(&mut harry, "m2").await;
    node.ready().await;
    eventually("the warning is gone", async || {
        !node.internal("ready").await.contains("full")
    })
    .await;
}
