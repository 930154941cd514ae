//! A terminal in a sealed room says what it knows: of what it shares, of whom it was to let in, and
//! of why it waits.

use crate::{
    cluster::{Cluster, eventually},
    liar::{Liar, Said},
    lies::open,
    terminal::Terminal,
};
use safe_chat_client::KeyPair;
use serde_json::json;
use std::{
    path::Path,
    sync::{Arc, Mutex},
};

fn open_at(url: &str, user: &str, keys: &Path) -> Terminal {
    open(url, "aaa", user, &keys.join(user), &["--seal=open"])
}

pub(crate) async fn what_is_shared_is_of_before_somebody_came_also_after_a_restart(
    cluster: Cluster,
) {
    let node = cluster.node("only").await;
    let keys = tempfile::tempdir().expect("a folder");
    let mut harry = open_at(&node.url(), "harry", keys.path());
    harry.shows("you made the group").await;
    harry.types("before\r");
    harry.shows("before ✓").await;
    let mut kim = open_at(&node.url(), "kim", keys.path());
    kim.shows("you came in, to harry").await;
    harry.shows("kim came in").await;
    for text in ["one", "two", "three"] {
        harry.types(&format!("{text}\r"));
        harry.shows(&format!("{text} ✓")).await;
        kim.shows(text).await;
    }
    harry.types("/quit\r");
    assert_eq!(harry.ends().await, Some(0));
    let mut harry = open_at(&node.url(), "harry", keys.path());
    harry.shows("joined #aaa").await;
    harry.types("/share kim 3\r");
    harry.shows("you shared 1 earlier message with kim").await;
    let said = kim.shows_up_to("| #").await;
    assert!(
        said.contains("harry shared 1 earlier message with you"),
        "{said}"
    );
    assert!(!said.contains("not shown"), "{said}");
    // She came later than he, and has read nothing that he has not.
    kim.types("/share harry 3\r");
    kim.shows("! /share harry: there is nothing to share: all that this device has kept")
        .await;
}

pub(crate) async fn who_waits_to_be_let_in_is_not_asked_for_any_more_after_a_remove(
    cluster: Cluster,
) {
    let node = cluster.node("only").await;
    let liar = Liar::before(&node.url()).await;
    let keys = tempfile::tempdir().expect("a folder");
    let mut harry = open_at(&liar.url(), "harry", keys.path());
    harry.shows("you made the group").await;
    let claimed = Arc::new(Mutex::new(Vec::new()));
    let claims = claimed.clone();
    liar.tells(move |said, _| {
        if let Said::Answer(path) = said
            && path.ends_with("/claim")
        {
            claims.lock().expect("no panic").push(path.to_owned());
        }
    });
    let times = |user: &str| {
        let claimed = claimed.lock().expect("no panic");
        let of_user = claimed.iter().filter(|path| path.contains(user));
        of_user.count()
    };
    let add = |user: &str| format!("/add {user} {}\r", KeyPair::generate().0.public());
    harry.types(&add("kim"));
    harry.shows("They are let in as soon as it is there").await;
    harry.types("/remove kim\r");
    harry
        .shows("/remove kim: the /add of kim that waited is withdrawn, and lets nobody in")
        .await;
    // What is asked for later is asked for again later.
    harry.types(&add("mary"));
    eventually("mary is asked for again", async || times("/mary/") == 2).await;
    assert_eq!(times("/kim/"), 1);
    harry.types("/remove kim\r");
    harry
        .shows("! /remove kim: nobody of that name is in the group")
        .await;
}

pub(crate) async fn what_waits_for_an_answer_about_the_group_says_so(cluster: Cluster) {
    let node = cluster.node("only").await;
    let liar = Liar::before(&node.url()).await;
    let keys = tempfile::tempdir().expect("a folder");
    let mut maker = open_at(&node.url(), "harry", keys.path());
    maker.shows("you made the group").await;
    liar.tells(|said, answer| {
        if matches!(said, Said::Answer(path) if path.ends_with("/group")) {
            *answer = json!("something else");
        }
    });
    let mut kim = open_at(&liar.url(), "kim", keys.path());
    kim.shows(
        "! the service does not say how to come into the group: what answers is no safe-chat",
    )
    .await;
    kim.types("hello\r");
    kim.shows(
        "waiting to be sent, until the service says how to come into the group, which it does",
    )
    .await;
    liar.tells(|_, _| {});
    let until = kim.shows_up_to("hello ✓").await;
    assert!(!until.contains("does not say how"), "{until}");
}
