//! Two people at terminals who go from a sealed room to where they are alone, and back.

use crate::{
    cluster::Cluster,
    liar::{Liar, Said},
    node::Node,
    terminal::Terminal,
};
use serde_json::{Value, json};
use std::path::Path;

pub(crate) fn open(node: &Node, user: &str, keys: &Path) -> Terminal {
    open_at(&node.url(), user, keys)
}

fn open_at(url: &str, user: &str, keys: &Path) -> Terminal {
    let key = keys.join(user);
    let key = key.to_str().expect("a path of text");
    let of = ["--seal=open", "--room", "aaa", "--user", user, "--no-color"];
    let arguments = [&[url, "--key-file", key][..], &of].concat();
    Terminal::open(&arguments, 200)
}

/// Harry and charly, who are both in the sealed room aaa: harry's node may lie.
async fn two(harry: &str, charly: &str, keys: &Path) -> (Terminal, Terminal) {
    let mut harry = open_at(harry, "harry", keys);
    harry.shows("you made the group").await;
    let mut charly = open_at(charly, "charly", keys);
    charly.shows("you came in, to harry").await;
    harry.shows("charly came in").await;
    (harry, charly)
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

pub(crate) async fn what_is_typed_goes_where_the_user_goes_and_not_into_the_room(cluster: Cluster) {
    let node = cluster.node("only").await;
    let keys = tempfile::tempdir().expect("a folder");
    let (mut harry, mut charly) = two(&node.url(), &node.url(), keys.path()).await;
    // At once, so that the first line is not in the room yet when the others are read.
    harry.types("for all\r/dm charly\rfor charly alone\r");
    let before = harry.shows_up_to("for charly alone ✓").await;
    assert!(before.contains("joined #charly alone"), "{before}");
    harry.types("one more\r/back\rfor all again\r");
    harry.shows("for all again ✓").await;
    let shown = charly.shows_up_to("for all again").await;
    assert!(shown.contains("for all"), "{shown}");
    assert!(!shown.contains("for charly alone"), "{shown}");
    charly.types("/dm harry\r");
    charly.shows("for charly alone").await;
    charly.shows("one more").await;
    charly.types("/back\r");
    charly.shows("joined #aaa").await;

    // Nor where there is no way there.
    harry.types("/dm kim\ronly for kim\r");
    harry.shows("kim is not in the group of this room").await;
    harry
        .shows("not sent, for you are in #aaa still, and it may be meant for")
        .await;
    harry.types("what else\r");
    harry.shows("not sent, for you are in #aaa").await;
    harry.types("what else\r");
    let shown = charly.shows_up_to("what else").await;
    assert!(!shown.contains("only for kim"), "{shown}");
}

pub(crate) async fn what_is_said_where_two_cannot_meet_is_named_and_sent_nowhere(cluster: Cluster) {
    let node = cluster.node("only").await;
    let liar = Liar::before(&node.url()).await;
    let keys = tempfile::tempdir().expect("a folder");
    let (mut harry, mut charly) = two(&liar.url(), &node.url(), keys.path()).await;
    liar.tells(|said, frame| {
        let is_of_two = frame["room"]
            .as_str()
            .is_some_and(|room| room.starts_with("dm-"));
        if matches!(said, Said::Frame) && frame["type"] == "welcome" && is_of_two {
            frame["policy"] = Value::Null;
        }
    });
    harry.types("/dm charly\rfor charly alone\r");
    harry
        .shows("not sent, and not kept: for charly alone")
        .await;
    harry.shows("you cannot write to charly alone there").await;
    harry.types("again for charly\r");
    harry.shows("not sent, for you are in #aaa still").await;
    charly.types("what is it?\r");
    let shown = charly.shows_up_to("what is it? ✓").await;
    assert!(!shown.contains("charly alone"), "{shown}");
    assert!(!shown.contains("again for charly"), "{shown}");
}

pub(crate) async fn the_first_words_wait_until_the_other_one_can_read_them(cluster: Cluster) {
    let node = cluster.node("only").await;
    let liar = Liar::before(&node.url()).await;
    let keys = tempfile::tempdir().expect("a folder");
    let (mut harry, mut charly) = two(&liar.url(), &node.url(), keys.path()).await;
    // As it is before a device has published what adds it.
    liar.tells(|said, answer| {
        if matches!(said, Said::Answer(path) if path.ends_with("/claim")) {
            *answer = json!(null);
        }
    });
    harry.types("/dm charly\r");
    harry.shows("you made the group").await;
    harry.types("first words\r");
    harry
        .shows("waiting to be sent, until the other one is in this group")
        .await;
    harry
        .shows("has not published what adds a device yet")
        .await;
    liar.tells(|_, _| {});
    let before = harry.shows_up_to("first words ✓").await;
    assert!(before.contains("you let in charly"), "{before}");
    charly.types("/dm harry\r");
    charly.shows("first words").await;
}
