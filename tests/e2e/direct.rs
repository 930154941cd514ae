//! Two people at terminals who go from a sealed room to where they are alone, and back.

use crate::{cluster::Cluster, node::Node, terminal::Terminal};
use std::path::Path;

pub(crate) fn open(node: &Node, user: &str, keys: &Path) -> Terminal {
    let (url, key) = (node.url(), keys.join(user));
    let key = key.to_str().expect("a path of text");
    let of = ["--seal=open", "--room", "aaa", "--user", user];
    let arguments = [&[&url, "--key-file", key][..], &of].concat();
    Terminal::open(&arguments, 200)
}

pub(crate) async fn two_people_meet_alone_and_go_back(cluster: Cluster) {
    let (first, second) = tokio::join!(cluster.node("first"), cluster.node("second"));
    let keys = tempfile::tempdir().expect("a folder");
    let mut harry = open(&first, "harry", keys.path());
    harry.shows("you made the group").await;
    harry.types("/dm charly\r");
    harry.shows("charly is not in the group of this room").await;
    let mut charly = open(&second, "charly", keys.path());
    charly.shows("you came in, to harry").await;
    harry.shows("charly came in").await;
    charly.types("/quit\r");
    assert_eq!(charly.ends().await, Some(0));

    harry.types("/dm charly\r");
    harry.shows("you made the group").await;
    harry.shows("you let in charly").await;
    harry.types("only for you\r");
    let mut charly = open(&second, "charly", keys.path());
    charly.shows("harry writes to you alone: /dm harry").await;
    charly.types("/dm harry\r");
    charly.shows("only for you").await;
    charly.types("only for you, too\r");
    harry.shows("only for you, too").await;

    charly.types("/quit\r");
    assert_eq!(charly.ends().await, Some(0));
    harry.types("are you there?\r");
    harry.shows("are you there?").await;
    let mut charly = open(&second, "charly", keys.path());
    charly.shows("harry writes to you alone: /dm harry").await;
    charly.types("/dm harry\r");
    charly.shows("are you there?").await;
    // All of the room is read then.
    charly.shows("charly joined").await;
    charly.types("/leave\r");
    assert_eq!(charly.ends().await, Some(0));
    harry
        .shows("charly has no device in this group any more")
        .await;
    harry.types("/back\r");
    harry.shows("joined #aaa").await;
    harry.types("/quit\r");
    assert_eq!(harry.ends().await, Some(0));
}
