//! What somebody said in a room is erased, on either journal: after a while it is stored nowhere,
//! and everything else is.

use crate::{
    cluster::{Cluster, eventually},
    http::post,
    node::Node,
    person::Person,
    retention::admin,
    server::Server,
};
use safe_chat::{
    bus::{Feed, Position},
    room::{Body, Kind, RoomId},
};

const SAID: u64 = 40;
/// What goes, and what stays.
const SECRET: &str = "a-word-that-goes";
const OTHER: &str = "a-word-that-stays";
/// Large messages, some 5 MB of them: more than half of a file of a stream of NATS.
const LARGE: u64 = 300;
const BYTES: usize = 16_000;

/// What is stored of the room.
async fn stored(cluster: &Cluster) -> String {
    let (bus, room) = (cluster.bus_of_it().await, RoomId::parse("aaa").unwrap());
    let published = bus.stored(&room, Position::ZERO, 1000).await.unwrap();
    let mut all = String::new();
    for event in published.iter().flat_map(|message| &message.events) {
        if let Kind::Message {
            body: Body::Text(text),
            ..
        } = &event.kind
        {
            all.push_str(text);
        }
    }
    let words = ["journal", "inspect", "aaa"];
    all.push_str(&cluster.run(&words, &["--content"]).await.stdout);
    all
}

/// How often a word is on the page of everything.
async fn shown(node: &Node, word: &str) -> usize {
    let url = format!("{}/rooms/aaa/history?limit=500", node.url());
    let page = reqwest::get(url).await.expect("an answer");
    page.text().await.expect("a page").matches(word).count()
}

pub(crate) async fn what_somebody_said_is_stored_nowhere_and_the_room_goes_on(cluster: Cluster) {
    let (mut first, second) = (cluster.node("first").await, cluster.node("second").await);
    let mut harry = Person::joins_in_json(&second, "aaa", "harry", "key-harry").await;
    let mut charly = Person::joins_in_json(&first, "aaa", "charly", "key-charly").await;
    for n in 0..SAID {
        harry.says(&format!("h{n}"), &format!("{SECRET}-{n}")).await;
        charly.says(&format!("c{n}"), &format!("{OTHER}-{n}")).await;
    }
    let said = 2 + 2 * SAID;
    let _ = (
        harry.events_until(said).await,
        charly.events_until(said).await,
    );
    assert!(stored(&cluster).await.contains(SECRET), "it would be found");
    assert_eq!(shown(&first, SECRET).await as u64, SAID);

    let answer = admin(&first, &["erase", "aaa", "harry", "--yes"]).await;
    let erased = answer["seq"].as_u64().expect("a place");
    for person in [&mut harry, &mut charly] {
        let told = person.events_until(erased).await;
        assert_eq!(told.last().expect("events")["kind"], "erased");
    }
    for node in [&first, &second] {
        assert_eq!(shown(node, SECRET).await, 0);
        assert_eq!(shown(node, OTHER).await as u64, SAID);
    }
    // An owner dies meanwhile.
    first.kill().await;
    first.restart().await;
    eventually("it is stored nowhere", async || {
        !stored(&cluster).await.contains(SECRET)
    })
    .await;
    assert!(stored(&cluster).await.contains(&format!("{OTHER}-0")));
    for node in [&first, &second] {
        assert_eq!(shown(node, SECRET).await, 0);
        assert_eq!(shown(node, OTHER).await as u64, SAID);
    }
    let new = post(&second, "new").await;
    assert_eq!(new["duplicate"], false);
    drop((first, second));
    let verified = cluster.run(&["journal", "verify", "aaa"], &[]).await;
    assert_eq!(verified.code, Some(0), "{verified:?}");
}

/// A server writes a file anew without what was removed once it is not the last one of its stream,
/// and less than half of it stays: a quiet stream keeps it, and so does a file full of other things
/// (docs/operations.md).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_somebody_said_is_in_no_file_of_nats_once_more_is_said() {
    let Some(mut server) = Server::start("what is erased, in files").await else {
        return;
    };
    server.syncs_every("1s").await;
    let cluster = ["SESSION", "USER", "ADDRESS"]
        .iter()
        .fold(server.cluster(), |cluster, whose| {
            cluster.with(
                &format!("SAFE_CHAT_GATEWAY__{whose}_BYTES_RATE"),
                "50000000",
            )
        });
    let node = cluster.node("only").await;
    let mut harry = Person::joins_in_json(&node, "aaa", "harry", "key-harry").await;
    let mut charly = Person::joins_in_json(&node, "aaa", "charly", "key-charly").await;
    let large = "x".repeat(BYTES);
    charly.says("c", OTHER).await;
    for n in 0..LARGE {
        harry
            .says(&format!("h{n}"), &format!("{SECRET} {large}"))
            .await;
        harry.events_until(4 + n).await;
    }
    let prefix = cluster.prefix().to_uppercase();
    let found = server.has_in_files(SECRET);
    assert!(found.contains(&format!("{prefix}_EVT")), "{found:?}");
    admin(&node, &["erase", "aaa", "harry", "--yes"]).await;
    eventually("it is stored nowhere", async || {
        !stored(&cluster).await.contains(SECRET)
    })
    .await;
    // The files are full then.
    let mut kim = Person::joins_in_json(&node, "bbb", "kim", "key-kim").await;
    for n in 0..LARGE {
        kim.says(&format!("l{n}"), &large).await;
        kim.events_until(2 + n).await;
    }
    eventually("it is in no file", async || {
        server.has_in_files(SECRET).is_empty()
    })
    .await;
    let copies = format!("KV_{prefix}_SNAPSHOTS");
    assert_eq!(server.has_in_files(OTHER), [copies], "what stays is found");
}
