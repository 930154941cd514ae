//! Two people at terminals who go from a sealed room to where they are alone, and back.

use crate::{
    cluster::Cluster,
    liar::{Liar, Said},
    lies,
    node::Node,
    terminal::Terminal,
};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use safe_chat_client::KeyPair;
use serde_json::{Value, json};
use std::{fs, path::Path};

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

/// The public half of the pair in a key file.
fn public_in(file: &Path) -> String {
    let text = fs::read_to_string(file).expect("a key");
    let secret = text.trim().strip_prefix("ed25519:").expect("a pair");
    let seed = BASE64_URL_SAFE_NO_PAD.decode(secret).expect("base64url");
    let pair = KeyPair::from_seed(&seed.try_into().expect("32 bytes"));
    pair.public().to_string()
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

pub(crate) async fn who_waits_to_be_let_in_is_when_the_user_is_back(cluster: Cluster) {
    let node = cluster.node("only").await;
    let liar = Liar::before(&node.url()).await;
    let keys = tempfile::tempdir().expect("a folder");
    let (mut harry, _charly) = two(&liar.url(), &node.url(), keys.path()).await;
    let of_kim = keys.path().join("kim");
    let mut kim = lies::open(&node.url(), "bbb", "kim", &of_kim, &["--seal=invited"]);
    kim.shows("you made the group").await;
    let of_kim = public_in(&of_kim);
    lies::packages_of(&node.url(), &of_kim, "kim").await;
    liar.tells(|said, answer| {
        if matches!(said, Said::Answer(path) if path.ends_with("/claim")) {
            *answer = json!(null);
        }
    });
    harry.types(&format!("/add kim {of_kim}\r"));
    harry.shows("They are let in as soon as it is there").await;
    harry.types("/dm charly\r");
    harry
        .shows("/add kim: waits while you are elsewhere, and goes on when you are back in #aaa")
        .await;
    harry.shows("joined #charly alone").await;
    liar.tells(|_, _| {});
    harry.types("/back\r");
    harry.shows("joined #aaa").await;
    harry.shows("you let in kim").await;

    // What cannot be taken up again is named where it ends.
    let (nobodys, _) = KeyPair::generate();
    let add = format!("/add nobody {}", nobodys.public());
    harry.types(&format!("{add}\r"));
    harry
        .shows("has not published what adds a device yet")
        .await;
    harry.types("/dm charly\r");
    harry.shows("joined #charly alone").await;
    harry.types("/quit\r");
    harry
        .shows(&format!(
            "! not done in #aaa, and not kept: type it again when you are there: {add}"
        ))
        .await;
    assert_eq!(harry.ends().await, Some(0));
}

pub(crate) async fn what_waits_when_a_room_refuses_is_named_with_what_to_do(cluster: Cluster) {
    let node = cluster.node("only").await;
    let liar = Liar::before(&node.url()).await;
    let keys = tempfile::tempdir().expect("a folder");
    let mut harry = open_at(&liar.url(), "harry", keys.path());
    harry.shows("you made the group").await;
    harry.types("from before\r");
    harry.shows("from before ✓").await;
    let mut charly = open_at(&node.url(), "charly", keys.path());
    charly.shows("you came in, to harry").await;
    harry.shows("charly came in").await;
    liar.refuses(|_| Some((503, json!({ "error": { "reason": "unavailable" } }))));
    harry.shows("reconnecting in").await;
    harry.types("/code\r");
    harry
        .shows("the room is not read up to its end yet: this is of before")
        .await;
    harry.types("/share charly 5\r/ask 3\r/remove charly\rlost words\r");
    harry
        .shows("kept only as long as this runs: lost words")
        .await;
    liar.refuses(|_| Some((403, json!({ "error": { "reason": "key_mismatch" } }))));
    harry.shows("! not sent, and not kept: lost words").await;
    harry
        .shows("! /share charly 1: what was to be shared is not known to be in the room")
        .await;
    harry
        .shows("! /ask 3: the question is not known to be in the room, and is not kept")
        .await;
    harry
        .shows("! /remove charly: not known to be in the room, and kept")
        .await;
    assert_eq!(harry.ends().await, Some(1));
    // What was said of it is so.
    liar.refuses(|_| None);
    let mut harry = open_at(&liar.url(), "harry", keys.path());
    harry.shows("you removed charly").await;
}

pub(crate) async fn why_two_cannot_meet_is_what_is_known_of_it(cluster: Cluster) {
    let node = cluster.node("only").await;
    let liar = Liar::before(&node.url()).await;
    let keys = tempfile::tempdir().expect("a folder");
    let (mut harry, _charly) = two(&liar.url(), &node.url(), keys.path()).await;
    let of_two = |status: u16, reason: &'static str| {
        move |path: &str| {
            let error = json!({ "error": { "reason": reason } });
            path.contains("/dm-").then_some((status, error))
        }
    };
    let first = "somebody else may have made that room first";
    for (status, reason, said, is_first) in [
        (302, "", "alone now (HTTP 302: ", false),
        (404, "", "alone now (HTTP 404: ", false),
        (403, "key_mismatch", "alone there (key_mismatch", true),
    ] {
        liar.refuses(of_two(status, reason));
        harry.types("/dm charly\r");
        harry.shows(said).await;
        let said = harry.shows_up_to("joined #aaa").await;
        assert_eq!(said.contains(first), is_first, "{said}");
    }
    liar.refuses(|_| None);
    harry.types("/dm charly\r");
    harry.shows("joined #charly alone").await;
    harry.shows("you let in charly").await;
    // Whoever has been there knows that they made it.
    liar.refuses(of_two(403, "key_mismatch"));
    harry.shows("alone now (key_mismatch").await;
    let said = harry.shows_up_to("joined #aaa").await;
    assert!(!said.contains(first), "{said}");
}
