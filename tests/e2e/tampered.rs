//! What an operator or a stranger does to what lies in the streams, or reads them: consumers,
//! records, messages, bounds. Nobody waits for ever, and what is wrong is named with a remedy.

use crate::{
    changed::{Scene, answer, count, gets_in, is_dense, page},
    cluster::eventually,
    person::Person,
};
use async_nats::HeaderMap;
use safe_chat::{bus::Commit, journal::codec::encode_commit, room::Epoch};
use serde_json::json;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn consumers_that_are_paused_or_changed_are_made_anew() {
    let Some(scene) = Scene::new("consumers paused").await else {
        return;
    };
    let mut node = scene.cluster.node("only").await;
    let mut harry = Person::joins_in_json(&node, "aaa", "harry", "key-harry").await;
    gets_in(&mut harry, "m1").await;
    let commands = scene.stream("CMD");
    assert!(scene.operator.pause_consumers(&commands).await >= 1);
    gets_in(&mut harry, "m2").await;
    let elsewhere = json!({ "headers_only": true });
    assert!(scene.operator.change_consumers(&commands, &elsewhere).await >= 1);
    gets_in(&mut harry, "m3").await;
    for why in ["it was paused", "it was changed"] {
        let line = format!("its stream stream={commands}");
        let lines = node.logs();
        let lines = lines
            .lines()
            .filter(|text| text.contains(&line) && text.contains(why));
        assert_eq!(lines.count(), 1, "{why}: {}", node.logs());
    }
    // Of nodes and shards: a node that dies is replaced.
    let mut other = scene.cluster.node("other").await;
    for kind in ["NODES", "SHARDS"] {
        assert!(scene.operator.pause_consumers(&scene.bucket(kind)).await >= 2);
    }
    node.kill().await;
    other.ready().await;
    let mut harry = Person::joins_in_json(&other, "aaa", "harry", "key-harry").await;
    gets_in(&mut harry, "m4").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_and_records_that_are_removed_or_garbled_are_put_back() {
    let Some(scene) = Scene::new("records removed").await else {
        return;
    };
    let (bucket, settings) = (scene.bucket("SHARDS"), scene.key("SHARDS", "settings"));
    let mut node = scene.cluster.node("only").await;
    let mut harry = Person::joins_in_json(&node, "aaa", "harry", "key-harry").await;
    gets_in(&mut harry, "m1").await;
    let mut removed = HeaderMap::new();
    removed.insert("KV-Operation", "DEL");
    // With the forms that are stored, which are noted a moment later.
    eventually("the settings are whole", async || {
        let stored = scene.operator.last(&bucket, &settings).await;
        ["shards", "cluster", "journal", "format"]
            .iter()
            .all(|part| stored.contains(part))
    })
    .await;
    let ours = scene.operator.last(&bucket, &settings).await;
    for (headers, payload) in [(removed.clone(), ""), (HeaderMap::new(), "garbage")] {
        scene.operator.store(&settings, headers, payload).await;
        eventually("the settings are there again", async || {
            scene.operator.last(&bucket, &settings).await == ours
        })
        .await;
    }
    // The line comes behind the record.
    eventually("both are said", async || {
        count(&node.logs(), "stored its own again") == 2
    })
    .await;

    // Another number is nothing that a node may decide, nor one that starts with it.
    let other = r#"{"shards":8}"#;
    scene
        .operator
        .store(&settings, HeaderMap::new(), other)
        .await;
    let why = node.unready().await;
    assert!(
        why.contains("8 shards") && why.contains("nats kv put"),
        "{why}"
    );
    let mut eight = scene.cluster.launch("eight", &["--shards", "8"]);
    let ended = eight.ended().await;
    let said = eight.logs();
    assert!(
        !ended.success() && said.contains("a record of shard 15"),
        "{said}"
    );
    // As an operator types it who knows the number alone.
    scene
        .operator
        .store(&settings, HeaderMap::new(), r#"{"shards":16}"#)
        .await;
    node.ready().await;
    eventually("the rest is filled in", async || {
        scene.operator.last(&bucket, &settings).await == ours
    })
    .await;

    // Records of shards, under their owner and over its death.
    for shard in 0..16 {
        let key = scene.key("SHARDS", &shard.to_string());
        let (headers, payload) = match shard % 2 {
            0 => (removed.clone(), ""),
            _ => (HeaderMap::new(), "garbage"),
        };
        scene.operator.store(&key, headers, payload).await;
    }
    for room in ["aaa", "bbb", "ccc"] {
        let mut charly = Person::joins_in_json(&node, room, "charly", "key-charly").await;
        gets_in(&mut charly, "m2").await;
    }
    node.kill().await;
    let mut known = 0;
    for shard in 0..16 {
        let key = scene.key("SHARDS", &shard.to_string());
        known += usize::from(scene.operator.last(&bucket, &key).await.contains("epoch"));
    }
    assert!(known > 0, "somebody has written a record again");
    scene.operator.store(&settings, removed, "").await;
    // The highest record tells whether a start is certain; without it an operator must say so.
    let key = scene.key("SHARDS", "15");
    scene
        .operator
        .store(&key, HeaderMap::new(), "garbage")
        .await;
    let mut unsure = scene.cluster.launch("unsure", &[]);
    let ended = unsure.ended().await;
    let said = unsure.logs();
    assert!(!ended.success() && said.contains("nats kv put"), "{said}");
    let record = r#"{"owner":null,"epoch":1,"floor":0}"#;
    scene.operator.store(&key, HeaderMap::new(), record).await;
    node.restart().await;
    let again = scene.operator.last(&bucket, &settings).await;
    assert!(again.starts_with(r#"{"shards":16,"#), "{again}");
    let mut harry = Person::joins_in_json(&node, "aaa", "harry", "key-harry").await;
    gets_in(&mut harry, "m3").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_of_strangers_among_the_events_are_skipped_and_named() {
    let Some(scene) = Scene::new("foreign messages").await else {
        return;
    };
    scene.cluster.let_events_go().await;
    let (events, subject) = (scene.stream("EVT"), scene.events_of("aaa"));
    let mut node = scene.cluster.node("only").await;
    let mut harry = Person::joins_in_json(&node, "aaa", "harry", "key-harry").await;
    gets_in(&mut harry, "m1").await;
    let mut ours = HeaderMap::new();
    for (name, value) in [
        ("Chat-Seq", "77"),
        ("Chat-Epoch", "1"),
        ("Chat-Type", "commit"),
    ] {
        ours.insert(name, value);
    }
    let strangers = [
        (HeaderMap::new(), "garbage"),
        (HeaderMap::new(), ""),
        (ours.clone(), "garbage"),
        (ours, ""),
    ];
    let mut positions = Vec::new();
    for (at, (headers, payload)) in strangers.clone().into_iter().enumerate() {
        positions.push(scene.operator.store(&subject, headers, payload).await);
        assert_eq!(gets_in(&mut harry, &format!("n{at}")).await, at as u64 + 3);
    }
    let hint = format!("nats stream rmm {events} {} -f", positions[0]);
    node.warned(&hint).await;
    assert_eq!(count(&node.logs(), &hint), 1, "one warning");
    let before = page(&node).await;
    is_dense(&before);

    // At the end of a room, and in one that was never written, over the death of its owner.
    let unwritten = scene.events_of("bbb");
    for (headers, payload) in strangers {
        for subject in [&subject, &unwritten] {
            let headers = headers.clone();
            positions.push(scene.operator.store(subject, headers, payload).await);
        }
    }
    node.kill().await;
    node.restart().await;
    let mut charly = Person::joins_in_json(&node, "bbb", "charly", "key-charly").await;
    assert_eq!(gets_in(&mut charly, "m1").await, 2);
    let mut harry = Person::joins_in_json(&node, "aaa", "harry", "key-harry").await;
    gets_in(&mut harry, "m2").await;
    let after = page(&node).await;
    assert_eq!(after[..before.len()], before);
    is_dense(&after);
    for position in positions {
        scene.operator.remove(&events, position).await;
    }
    eventually("nothing is left to be named", async || {
        !node.internal("ready").await.contains("rmm")
    })
    .await;
    gets_in(&mut harry, "m3").await;
}

/// Somebody writes the highest number that there is where owners write their epochs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_epoch_that_nobody_can_have_makes_no_shard_unownable() {
    let Some(scene) = Scene::new("impossible epochs").await else {
        return;
    };
    let subject = scene.events_of("aaa");
    let mut node = scene.cluster.node("only").await;
    let mut harry = Person::joins_in_json(&node, "aaa", "harry", "key-harry").await;
    gets_in(&mut harry, "m1").await;
    let most = i64::MAX as u64;
    let mut claim = HeaderMap::new();
    for (name, value) in [("Chat-Seq", 2), ("Chat-Epoch", most)] {
        claim.insert(name, value.to_string().as_str());
    }
    claim.insert("Chat-Type", "claim");
    let content = encode_commit(&Commit {
        epoch: Epoch(most),
        events: Vec::new(),
    });
    let forge = async || {
        let claim = claim.clone();
        scene
            .operator
            .store_bytes(&subject, claim, content.clone())
            .await;
        for shard in 0..16 {
            let key = scene.key("SHARDS", &shard.to_string());
            let record = format!(r#"{{"owner":null,"epoch":{most},"floor":{most}}}"#);
            scene.operator.store(&key, HeaderMap::new(), &record).await;
        }
    };
    forge().await;
    gets_in(&mut harry, "m2").await;
    node.warned("higher than any owner's can be").await;
    // Nor is it one for whoever comes after its owner, and knows nothing from before.
    node.kill().await;
    forge().await;
    node.restart().await;
    let mut harry = Person::joins_in_json(&node, "aaa", "harry", "key-harry").await;
    gets_in(&mut harry, "m3").await;
    let said = page(&node).await;
    is_dense(&said);
    for id in ["m1", "m2", "m3"] {
        assert_eq!(
            said.iter().filter(|event| event["id"] == id).count(),
            1,
            "{id}"
        );
    }
    let told = count(&node.logs(), "skipped; more of its kind");
    assert!(told <= 2, "once for each kind: {}", node.logs());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_that_are_removed_under_running_nodes_are_named() {
    let Some(scene) = Scene::new("events removed").await else {
        return;
    };
    scene.cluster.let_events_go().await;
    let node = scene.cluster.node("only").await;
    let mut harry = Person::joins_in_json(&node, "aaa", "harry", "key-harry").await;
    for id in ["m1", "m2", "m3", "m4"] {
        gets_in(&mut harry, id).await;
    }
    let events = scene.stream("EVT");
    scene.operator.purge(&events, 3).await;
    node.warned("removed from stream").await;
    gets_in(&mut harry, "m5").await;
    let count_of = |text: &str| count(text, "messages were removed from stream");
    assert_eq!(count_of(&node.logs()), 1, "{}", node.logs());
    let (first, _) = scene.operator.range(&events).await;
    scene.operator.remove(&events, first + 1).await;
    eventually("a second removal is told", async || {
        count_of(&node.logs()) == 2
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bounds_that_leave_no_space_for_what_is_needed_are_named() {
    let Some(scene) = Scene::new("small bounds").await else {
        return;
    };
    let mut node = scene.cluster.node("only").await;
    let mut harry = Person::joins_in_json(&node, "aaa", "harry", "key-harry").await;
    gets_in(&mut harry, "m0").await;
    let bound = |bytes: u64| json!({ "max_msg_size": bytes });
    for kind in ["NODES", "SHARDS", "SESSIONS"] {
        let bucket = scene.bucket(kind);
        let before = scene.operator.edit(&bucket, &bound(10)).await;
        let why = node.unready().await;
        assert!(
            why.contains(&bucket) && why.contains("max_msg_size"),
            "{why}"
        );
        scene.operator.update(&before).await;
        node.ready().await;
    }
    let snapshots = scene.bucket("SNAPSHOTS");
    scene.operator.edit(&snapshots, &bound(10)).await;
    node.warned("snapshots are not saved").await;
    node.ready().await;
    for kind in ["CMD", "EVT"] {
        let stream = scene.stream(kind);
        let before = scene.operator.edit(&stream, &bound(4096)).await;
        node.warned(&format!("stream {stream} takes messages of 4096 bytes"))
            .await;
        harry.says(&format!("small-{kind}"), "hi").await;
        let answered = answer(&mut harry, &format!("small-{kind}")).await;
        assert_eq!(answered["type"], "journaled", "{answered}");
        scene.operator.edit(&stream, &bound(3000)).await;
        let why = node.unready().await;
        assert!(why.contains(&stream) && why.contains("3000 bytes"), "{why}");
        scene.operator.update(&before).await;
        node.ready().await;
    }
    // What cannot be taken back: the way that is named works.
    let commands = scene.stream("CMD");
    scene
        .operator
        .edit(&commands, &json!({ "deny_purge": true }))
        .await;
    let why = node.unready().await;
    assert!(
        why.contains(&format!("nats stream rm {commands} -f")),
        "{why}"
    );
    scene.operator.delete(&commands).await;
    node.ready().await;
    gets_in(&mut harry, "last").await;
}
