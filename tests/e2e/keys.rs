//! Key packages and welcomes, through several nodes and over real servers.

use crate::{
    changed::{Scene, gets_in},
    cluster::{Cluster, eventually},
    devices::{Device, now, send},
    person::Person,
    retention::admin,
    roles::Bus,
};
use futures::future::join_all;
use safe_chat::{
    bus::{
        Admissions,
        admissions::{Kept, Place},
        packages::BURST,
    },
    room::{Millis, RoomId, Seq},
};
use safe_chat_client::keys::{Claimed, Devices, Removed, Welcome, Welcomes};
use seal::delivery::Admission;
use serde_json::{Value, json};
use std::collections::BTreeSet;

pub(crate) async fn each_key_package_goes_to_one_whichever_node_is_asked(cluster: Cluster) {
    let (first, second) = tokio::join!(cluster.node("first"), cluster.node("second"));
    let urls = [first.url(), second.url()];
    let mut harry = Device::new(1, "harry", "phone", &urls[0]);
    assert_eq!(harry.publishes(30).await.status, 200);
    let forged = Device::keys_at(2, &urls[1]).left("harry", now());
    let mut stolen = Device::keys_at(1, &urls[1]).left("harry", now());
    stolen.proof = forged.proof;
    assert_eq!(send(&stolen).await.status, 403);

    let mut seen = BTreeSet::new();
    for round in 0..BURST as u8 / 4 {
        let asks = (0..4).map(|n| {
            let asker = Device::keys_at(100 + 4 * round + n, &urls[usize::from(n) % 2]);
            let request = asker.claim(&harry.identity(), "harry", now());
            async move { send(&request).await.is::<Claimed>() }
        });
        for claimed in join_all(asks).await {
            let [package] = &claimed.packages[..] else {
                panic!("{claimed:?}")
            };
            assert!(!package.last_resort, "there are some");
            assert!(seen.insert(package.package.clone()), "given twice");
        }
    }
    let asker = Device::keys_at(200, &urls[1]);
    let last: Claimed = send(&asker.claim(&harry.identity(), "harry", now()))
        .await
        .is();
    assert!(last.packages[0].last_resort);
    let own = Device::keys_at(1, &urls[1]);
    let left: Devices = send(&own.left("harry", now())).await.is();
    assert_eq!(left.devices[0].one_time, 30 - BURST as usize);
    let metrics = first.internal("metrics").await;
    assert!(metrics.contains("safechat_key_packages_total{outcome=\"published\"} 1"));
    assert!(metrics.contains("safechat_bus_stored_bytes{store=\"packages\"}"));
    let removed: Removed = send(&own.remove("harry", "phone", now())).await.is();
    assert!(removed.removed);
    let gone = send(&Device::keys_at(201, &urls[0]).claim(&harry.identity(), "harry", now())).await;
    assert_eq!(gone.status, 404);
}

pub(crate) async fn a_welcome_waits_at_every_node_until_its_device_has_it(cluster: Cluster) {
    let (first, second) = tokio::join!(cluster.node("first"), cluster.node("second"));
    let harry = Device::new(1, "harry", "phone", &first.url());
    let kim = Device::new(2, "kim", "laptop", &first.url());
    let place = Place {
        room: RoomId::parse("aaa").unwrap(),
        seq: Seq(9),
        epoch: 4,
    };
    let admission = Admission {
        welcome: vec![1; 400],
        tree: vec![2; 700_000],
    };
    let writer = cluster.bus_of_it().await;
    let (by, to) = (&harry.certificate, std::slice::from_ref(&kim.certificate));
    let kept = writer
        .put_admission(&place, by, to, &admission, Millis(1))
        .await;
    assert_eq!(kept.unwrap(), [Kept::Waits]);

    let [at_first, at_second] = [&first, &second].map(|node| Device::keys_at(2, &node.url()));
    let list = send(&at_second.welcomes("kim", "laptop", now())).await;
    let list: Welcomes = list.is();
    let id = &list.welcomes[0].id;
    let whole: Welcome = send(&at_first.welcome("kim", "laptop", id, now()))
        .await
        .is();
    assert_eq!(
        (whole.tree, whole.welcome),
        (admission.tree, admission.welcome)
    );
    let request = at_second.confirm("kim", "laptop", id, now());
    assert!(send(&request).await.is::<Removed>().removed);
    let list: Welcomes = send(&at_first.welcomes("kim", "laptop", now())).await.is();
    assert_eq!(list.welcomes, []);
}

/// A node of this version where the operator has no such bucket, and nobody can make one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_without_the_store_of_keys_says_so_and_serves_everything_else() {
    let Some(scene) = Scene::new("no store of keys").await else {
        return;
    };
    let other = json!({ "name": "OTHER", "subjects": [scene.key("KEYS", ">")] });
    scene.operator.create(&other).await;
    let node = scene.cluster.node("only").await;
    node.warned(&scene.bucket("KEYS")).await;
    let mut harry = Device::new(1, "harry", "phone", &node.url());
    let refused = harry.publishes(1).await;
    assert_eq!((refused.status, refused.reason()), (503, "unavailable"));
    assert!(refused.retry_after.is_some());
    let welcomes = harry.keys.welcomes("harry", "phone", now());
    assert_eq!(send(&welcomes).await.status, 200, "that one is there");
    let person = Person::joins_in_json(&node, "aaa", "harry", "key").await;
    drop(person);

    scene.operator.delete("OTHER").await;
    eventually("the store is made", async || {
        let request = harry.keys.left("harry", now());
        send(&request).await.status == 200
    })
    .await;
    assert_eq!(harry.publishes(1).await.status, 200);
}

/// A login of before rooms could be purged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_that_may_not_purge_is_warned_of() {
    let is_new = |line: &&str| line.contains("STREAM.PURGE.KV_") && line.contains("SNAPSHOTS");
    let of_before = |accounts: String| {
        let lines = accounts.lines().filter(|line| !is_new(line));
        lines.map(|line| format!("{line}\n")).collect()
    };
    let Some(mut bus) = Bus::with("a login that may not purge", of_before).await else {
        return;
    };
    // What is removed is the room, once it is gone.
    bus.cluster = (bus.cluster.clone())
        .with("SAFE_CHAT_WRITER__TRIM_MS", "20")
        .with("SAFE_CHAT_WRITER__IDLE_MS", "1000")
        .with("SAFE_CHAT_WRITER__GONE_AFTER_S", "1");
    let only = bus.node("first", "service", "gateway,writer").await;
    let mut harry = Person::joins_in_json(&only, "aaa", "harry", "key-harry").await;
    gets_in(&mut harry, "m1").await;
    let before: Value = serde_json::from_str(&only.internal("ready").await).expect("JSON");
    assert!(!before.to_string().contains("purge"), "{before}");
    drop(harry);
    eventually("harry has left", async || only.head("aaa").await == 3).await;
    admin(&only, &["purge", "aaa", "--yes"]).await;
    only.warned(&format!(
        "$JS.API.STREAM.PURGE.KV_{}",
        bus.stream("SNAPSHOTS")
    ))
    .await;
    let log = only.logs();
    let warned = log
        .lines()
        .filter(|line| line.contains("does not let this login purge"));
    assert_eq!(warned.count(), 1, "{log}");
}

/// Nodes of this version, while the logins at NATS have the rights of the version before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logins_with_the_rights_of_before_do_all_that_they_did_before() {
    let is_new = |line: &&str| line.contains("_KEYS") || line.contains("_WELCOMES");
    let of_before = |accounts: String| {
        let lines = accounts.lines().filter(|line| !is_new(line));
        lines.map(|line| format!("{line}\n")).collect()
    };
    let Some(bus) = Bus::with("rights of before at NATS", of_before).await else {
        return;
    };
    let _writer = bus.node("first", "writer", "writer").await;
    let one = bus.node("one", "one", "gateway").await;
    let mut harry = Person::joins_in_json(&one, "aaa", "harry", "key-harry").await;
    gets_in(&mut harry, "m1").await;
    for store in ["_KEYS", "_WELCOMES"] {
        one.warned(store).await;
    }
    let mut phone = Device::new(1, "harry", "phone", &one.url());
    let refused = phone.publishes(1).await;
    assert_eq!((refused.status, refused.reason()), (503, "unavailable"));
    let listed = send(&phone.keys.welcomes("harry", "phone", now())).await;
    assert_eq!(listed.status, 503);
    gets_in(&mut harry, "m2").await;
}
