//! The servers' own backup, where rooms are kept on the bus: of all streams, one after the other,
//! while nodes run, and restored into servers that have nothing (nats/README.md). What is asked of
//! the servers is what `nats account backup` and `nats stream restore` ask.

use crate::{
    changed::{Scene, gets_in},
    cluster::{Cluster, eventually},
    node::Node,
    person::Person,
    retention::admin,
    server::{Backup, Server},
};
use serde_json::Value;
use std::collections::BTreeMap;

/// What comes of a backup, whose streams are of one moment after another.
struct Restored {
    /// What was said before it ended.
    said: Vec<Value>,
    node: Node,
    cluster: Cluster,
    _servers: [Server; 2],
}

/// Backs up while somebody talks and the room is saved, between every two streams, and restores
/// into empty servers. `is_last`: the stream of events is taken once more, at last.
async fn restored(claim: &str, is_last: bool) -> Option<Restored> {
    let Scene {
        server,
        cluster,
        operator,
    } = Scene::new(claim).await?;
    let cluster = cluster.with("SAFE_CHAT_WRITER__CARRY_MS", "20");
    let mut node = cluster.node("before").await;
    let mut harry = Person::joins_in_json(&node, "aaa", "harry", "key-harry").await;
    let mut streams = operator.streams().await;
    let events = streams.iter().find(|stream| stream.ends_with("_EVT"));
    let again = events.filter(|_| is_last).cloned();
    streams.extend(again);
    let mut backups = BTreeMap::new();
    for (n, stream) in streams.into_iter().enumerate() {
        gets_in(&mut harry, &format!("m{n}")).await;
        let saved = snapshots(&node).await;
        let (status, refused) = Person::refused(&node, "aaa", "harry", "another-key").await;
        assert_eq!(status, 403, "{refused}");
        eventually("the room is saved", async || snapshots(&node).await > saved).await;
        backups.insert(stream.clone(), operator.back_up(&stream).await);
    }
    let said = texts(&page(&node, "").await);
    node.stop().await;
    Restored::of(claim, said, backups.values(), cluster, server).await
}

impl Restored {
    /// From backups of streams, in empty servers.
    async fn of(
        claim: &str,
        said: Vec<Value>,
        backups: impl Iterator<Item = &Backup>,
        cluster: Cluster,
        server: Server,
    ) -> Option<Self> {
        let empty = Server::start(claim).await?;
        let operator = empty.operator().await;
        for backup in backups {
            operator.restore(backup).await;
        }
        let cluster = cluster.with_nats_at(empty.cluster().nats().into());
        Some(Self {
            said,
            node: cluster.node("after").await,
            cluster,
            _servers: [server, empty],
        })
    }
}

/// Between the backup of snapshots and that of events somebody comes, what somebody else said is
/// erased, and the room is told to keep less.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_removed_between_backups_while_that_is_held() {
    let claim = "a backup while removals are held";
    let Some(Scene {
        server,
        cluster,
        operator,
    }) = Scene::new(claim).await
    else {
        return;
    };
    let cluster = cluster
        .with("SAFE_CHAT_WRITER__CARRY_MS", "20")
        .with("SAFE_CHAT_WRITER__TRIM_MS", "100");
    let mut node = cluster.node("before").await;
    let mut harry = Person::joins_in_json(&node, "aaa", "harry", "key-harry").await;
    let mut alice = Person::joins_in_json(&node, "aaa", "alice", "key-alice").await;
    gets_in(&mut harry, "said").await;
    let held = cluster.run(&["journal", "hold", "30"], &[]).await;
    assert_eq!(held.code, Some(0), "{held:?}");
    let shorter = cluster.run(&["journal", "hold", "1"], &[]).await;
    assert_eq!(
        shorter.stdout, held.stdout,
        "another backup takes no hold away"
    );
    let seen = cluster.run(&["doctor"], &[]).await;
    assert!(
        seen.stdout.contains("`safe-chat journal hold 0`"),
        "{seen:?}"
    );
    let streams = operator.streams().await.into_iter();
    let (events, beside): (Vec<_>, Vec<_>) = streams.partition(|it| it.ends_with("_EVT"));
    let mut backups = Vec::new();
    for stream in beside {
        backups.push(operator.back_up(&stream).await);
    }
    let mut kim = Person::joins_in_json(&node, "aaa", "kim", "key-kim").await;
    gets_in(&mut kim, "here").await;
    for n in 0..20 {
        gets_in(&mut alice, &format!("m{n}")).await;
    }
    admin(&node, &["retain", "aaa", "--events", "5"]).await;
    eventually("it is let go", async || {
        admin(&node, &["room", "aaa"]).await["first"].as_u64() > Some(10)
    })
    .await;
    admin(&node, &["erase", "aaa", "harry", "--yes"]).await;
    node.warned("journal hold").await;
    backups.push(operator.back_up(&events[0]).await);
    node.stop().await;

    let restored = Restored::of(claim, Vec::new(), backups.iter(), cluster, server).await;
    let Restored { node, cluster, .. } = &restored.expect("servers");
    let verified = cluster.run(&["journal", "verify", "aaa"], &[]).await;
    assert_eq!(verified.code, Some(0), "{verified:?}");
    let (status, refused) = Person::refused(node, "aaa", "kim", "another-key").await;
    assert_eq!(status, 403, "{refused}");
    let ended = cluster.run(&["journal", "hold", "0"], &[]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    eventually("what was to go goes", async || {
        let there = page(node, "").await;
        let is_short = there
            .first()
            .is_some_and(|first| first["seq"].as_u64() > Some(10));
        is_short && texts(&there).len() >= 4
    })
    .await;
    assert!(!node.logs().contains("are gone"), "{}", node.logs());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_of_running_servers_is_restored_into_empty_ones() {
    let Some(restored) = restored("a backup of running servers", true).await else {
        return;
    };
    let Restored {
        said,
        node,
        cluster,
        ..
    } = &restored;
    assert_eq!(texts(&page(node, "").await), *said);
    let verified = cluster.run(&["journal", "verify", "aaa"], &[]).await;
    assert_eq!(verified.code, Some(0), "{verified:?}");
    // Who was there goes on, and so does the room.
    let last = said.last().expect("texts")["seq"]
        .as_u64()
        .expect("a place");
    let since = format!("key-harry&since={}", last - 1);
    let mut harry = Person::joins_in_json(node, "aaa", "harry", &since).await;
    assert_eq!(
        texts(&harry.events_until(last).await),
        said[said.len() - 1..]
    );
    assert!(gets_in(&mut harry, "after").await > last);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_older_backup_of_the_events_lacks_is_named() {
    let Some(restored) = restored("events older than snapshots", false).await else {
        return;
    };
    let Restored {
        said,
        node,
        cluster,
        ..
    } = &restored;
    eventually("it is said", async || {
        node.logs().contains("events of the room are gone")
    })
    .await;
    let verified = cluster.run(&["journal", "verify", "aaa"], &[]).await;
    assert_eq!(verified.code, Some(1), "{verified:?}");
    assert!(verified.stdout.contains("HAS HOLES"), "{verified:?}");
    // What is there is there, and no place is given twice.
    assert_eq!(texts(&page(node, "?before=4").await), said[..2]);
    let mut harry = Person::joins_in_json(node, "aaa", "harry", "key-harry&since=4").await;
    harry.reads_until("reset").await;
    let last = said.last().expect("texts")["seq"]
        .as_u64()
        .expect("a place");
    assert!(gets_in(&mut harry, "after").await > last - 2);
}

/// The events of a page of history.
async fn page(node: &Node, query: &str) -> Vec<Value> {
    let page = reqwest::get(format!("{}/rooms/aaa/history{query}", node.url())).await;
    let page: Value = page.expect("an answer").json().await.expect("JSON");
    page["events"].as_array().cloned().expect("events")
}

fn texts(events: &[Value]) -> Vec<Value> {
    let texts = events.iter().filter(|event| event["kind"] == "text");
    texts.cloned().collect()
}

/// How often a room was saved.
async fn snapshots(node: &Node) -> u64 {
    let metrics = node.metrics().await;
    let saved = metrics.lines().filter_map(|line| {
        let (outcome, count) = line
            .strip_prefix("safechat_snapshots_total")?
            .split_once(' ')?;
        Some((outcome, count.parse::<u64>().ok()?))
    });
    saved
        .filter(|(outcome, _)| !outcome.contains("failed"))
        .map(|(_, count)| count)
        .sum()
}
