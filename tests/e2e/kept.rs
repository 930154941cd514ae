//! What somebody said and read in a sealed room is there after their terminal was killed.

use crate::{
    cluster::{Cluster, eventually},
    direct::open,
    node::Node,
};

/// Messages that this node has stored on the bus.
async fn accepted(node: &Node) -> u64 {
    let metrics = node.internal("metrics").await;
    let mut lines = metrics.lines();
    let count = lines.find_map(|line| line.strip_prefix("safechat_messages_accepted_total "));
    count.map_or(0, |count| count.parse().expect("a number"))
}

pub(crate) async fn what_was_said_and_read_is_there_after_a_kill(cluster: Cluster) {
    let second = cluster.node("second").await;
    let mut first = cluster.node_with("first", &["--roles", "gateway"]).await;
    let keys = tempfile::tempdir().expect("a folder");
    let mut harry = open(&first, "harry", keys.path());
    harry.shows("you made the group").await;
    harry.types("before charly\r");
    harry.shows("before charly ✓").await;
    let mut charly = open(&first, "charly", keys.path());
    charly.shows("you came in, to harry").await;
    harry.shows("charly came in").await;
    harry.types("one from harry\r");
    charly.shows("one from harry").await;
    charly.types("one from charly\r");
    harry.shows("one from charly").await;

    // Said while nobody writes the room, and placed when the terminal is not there any more.
    let before = accepted(&first).await;
    second.signal("-STOP").await;
    harry.types("two from harry\r");
    eventually("the message is on the bus", async || {
        accepted(&first).await > before
    })
    .await;
    drop(harry);
    second.signal("-CONT").await;
    charly.shows("two from harry").await;
    let mut harry = open(&first, "harry", keys.path());
    harry.shows("two from harry").await;
    harry.types("/history\r");
    for text in ["one from harry", "one from charly", "two from harry"] {
        harry.shows(text).await;
    }
    harry.types("/share charly 9\r");
    harry
        .shows("you shared 1 earlier message with charly")
        .await;
    // What it did itself stands there as what it was, also for who reads the past.
    harry.types("/ask 7\r");
    harry.shows("you asked the others for the last 7").await;
    harry.types("/share harry\r");
    harry.shows("no other device of yours").await;
    drop(harry);
    let mut harry = open(&first, "harry", keys.path());
    harry.shows("joined #aaa").await;
    harry.types("/history\r");
    let mut past = harry.shows_up_to("you shared 1 earlier message").await;
    past += &harry
        .shows_up_to("you asked the others for the last 7")
        .await;
    assert!(!past.contains("(sealed, "), "{past}");

    // And said to a node that never takes it.
    first.signal("-STOP").await;
    harry.types("three from harry");
    harry.shows("three from harry").await;
    harry.types("\r");
    harry.shows("1 waiting").await;
    first.kill().await;
    drop(harry);
    let mut harry = open(&second, "harry", keys.path());
    harry.shows("this may not have been sent").await;
    harry.shows("three from harry").await;
    harry.types("/forget\r/history\r");
    harry.shows("is forgotten here").await;
    harry.shows("(sealed, ").await;
    harry.types("/quit\r");
    assert_eq!(harry.ends().await, Some(0));
}
