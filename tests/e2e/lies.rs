//! Terminals in a sealed room at a server that is not honest: what the person is told, and what is
//! not done.

use crate::{
    cluster::{Cluster, eventually},
    liar::{Liar, Said},
    terminal::Terminal,
};
use safe_chat_client::{
    KeyPair,
    keys::{Keys, PROOF_HEADER},
};
use serde_json::{Value, json};
use std::{
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

const FAKE: &str = "send me money";

/// A terminal of somebody, with the key of this name.
pub(crate) fn open(url: &str, room: &str, user: &str, key: &Path, more: &[&str]) -> Terminal {
    let key = key.to_str().expect("a path of text");
    let of = [
        url,
        "--key-file",
        key,
        "--room",
        room,
        "--user",
        user,
        "--no-color",
    ];
    Terminal::open(&[&of[..], more].concat(), 200)
}

/// The key that others need to let somebody in, as their terminal says.
async fn key_of(terminal: &mut Terminal, user: &str) -> String {
    terminal.shows(&format!("/add {user} ")).await;
    let key = terminal.shows_up_to("\r").await;
    assert_eq!(key.len(), 43, "{key}");
    key
}

/// What the service gives to whoever wants to add these devices; waits until there is something.
pub(crate) async fn packages_of(node: &str, key: &str, user: &str) -> Value {
    let (pair, _) = KeyPair::generate();
    let keys = Keys::new(pair, &node.parse().expect("an address"));
    let claim = async || {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = since.expect("a time of today").as_millis() as u64;
        let asked = keys.claim(key, user, now);
        let sent = reqwest::Client::new().post(&asked.url);
        let sent = sent.header(PROOF_HEADER, asked.proof).send().await;
        let answer: Value = sent.expect("an answer").json().await.expect("JSON");
        answer["packages"].clone()
    };
    eventually("there are key packages", async || claim().await.is_array()).await;
    claim().await
}

/// What others have made of these kinds is shown as one that nobody knows, also in the past.
fn hide(frame: &mut Value, kinds: &[&str]) {
    let hide_one = |event: &mut Value| {
        if kinds.iter().any(|kind| event["kind"] == *kind) && event["from"] != "charly" {
            event["kind"] = json!("later");
        }
    };
    hide_one(frame);
    let events = frame["events"].as_array_mut();
    events.into_iter().flatten().for_each(hide_one);
}

pub(crate) async fn keys_of_somebody_else_than_was_named_let_nobody_in(cluster: Cluster) {
    let node = cluster.node("only").await;
    let liar = Liar::before(&node.url()).await;
    let keys = tempfile::tempdir().expect("a folder");
    let key = |name: &str| keys.path().join(name);
    let sealed = ["--seal=invited"];
    let mut harry = open(&liar.url(), "aaa", "harry", &key("harry"), &sealed);
    harry.shows("you made the group").await;
    let mut charly = open(&node.url(), "aaa", "charly", &key("charly"), &sealed);
    let hers = key_of(&mut charly, "charly").await;
    // Of a room of their own, where no name is taken: the same name with another key, and charly's
    // key under another name.
    let mut maker = open(&node.url(), "bbb", "maker", &key("maker"), &sealed);
    maker.shows("you made the group").await;
    let mut twin = open(&node.url(), "bbb", "charly", &key("mallory"), &sealed);
    let mallory = key_of(&mut twin, "charly").await;
    let mut bob = open(&node.url(), "bbb", "bob", &key("charly"), &sealed);
    assert_eq!(key_of(&mut bob, "bob").await, hers);
    let fakes = [
        packages_of(&node.url(), &mallory, "charly").await,
        packages_of(&node.url(), &hers, "bob").await,
    ];
    for fake in fakes {
        liar.tells(move |said, answer| {
            if matches!(said, Said::Answer(path) if path.ends_with("/claim")) {
                answer["packages"] = fake.clone();
            }
        });
        harry.types(&format!("/add charly {hers}\r"));
        let named = format!("of another key than {hers}, or of another name");
        harry.shows(&named).await;
        harry.shows("nobody was added").await;
    }
    // What the node gives lets her in, and nobody else is there.
    liar.tells(|_, _| {});
    harry.types(&format!("/add charly {hers}\r"));
    let before = harry.shows_up_to("you let in charly (").await;
    assert!(!before.contains("let in"), "{before}");
    charly.shows("harry let you in, to harry").await;
    assert!(!liar.was_sent().is_empty());
}

pub(crate) async fn nothing_that_no_member_encrypted_is_shown_as_said(cluster: Cluster) {
    let node = cluster.node("only").await;
    let liar = Liar::before(&node.url()).await;
    let keys = tempfile::tempdir().expect("a folder");
    let key = |name: &str| keys.path().join(name);
    let sealed = ["--seal=open"];
    let mut harry = open(&liar.url(), "aaa", "harry", &key("harry"), &sealed);
    harry.shows("you made the group").await;
    // In the place of an event that members expect, and of which they know nothing else.
    let of_charly = |event: &Value, kind: &str| event["kind"] == kind && event["from"] == "charly";
    liar.tells(move |said, frame| {
        if matches!(said, Said::Frame) && of_charly(frame, "joined") {
            frame["kind"] = json!("text");
            frame["text"] = json!(FAKE);
        }
        if matches!(said, Said::Frame) && of_charly(frame, "left") {
            frame["from"] = json!(format!("charly     {FAKE}"));
        }
    });
    let mut charly = open(&node.url(), "aaa", "charly", &key("charly"), &sealed);
    let warning = "the service shows something unencrypted as from charly";
    let mut shown = harry.shows_up_to(warning).await;
    shown += &harry.shows_up_to("charly came in").await;
    charly.shows("you came in").await;
    charly.types("from charly\r");
    shown += &harry.shows_up_to("from charly").await;
    charly.types("/quit\r");
    assert_eq!(charly.ends().await, Some(0));
    shown += &harry.shows_up_to("(no name) left").await;
    harry.types("/history\r");
    shown += &harry.shows_up_to("end of the earlier part").await;
    assert!(!shown.contains(FAKE), "{shown}");
}

pub(crate) async fn a_room_that_is_called_open_is_not_entered_by_who_knows_it_as_sealed(
    cluster: Cluster,
) {
    let node = cluster.node("only").await;
    let liar = Liar::before(&node.url()).await;
    let keys = tempfile::tempdir().expect("a folder");
    let key = keys.path().join("harry");
    let sealed = ["--seal=open"];
    let mut harry = open(&liar.url(), "aaa", "harry", &key, &sealed);
    harry.shows("you made the group").await;
    harry.types("only for members\r");
    harry.shows("only for members").await;
    harry.shows("✓").await;
    harry.types("/quit\r");
    assert_eq!(harry.ends().await, Some(0));

    liar.tells(|said, frame| {
        if matches!(said, Said::Frame) && frame["type"] == "welcome" {
            frame["policy"].take();
        }
    });
    let before = liar.was_sent().len();
    for (seal, why) in [
        (&sealed[..], "the service says that aaa is not sealed"),
        (&[], "you were in the sealed room aaa with this key"),
    ] {
        let mut harry = open(&liar.url(), "aaa", "harry", &key, seal);
        harry.types("only for members\r");
        harry.shows(why).await;
        assert_eq!(harry.client.wait().expect("an end").code(), Some(1));
    }
    let sent = liar.was_sent();
    assert!(!sent.iter().any(|frame| frame.contains("only for members")));
    let is_message = |frame: &&String| frame.contains("\"send\"");
    assert_eq!(sent[before..].iter().filter(is_message).count(), 0);
    assert!(
        sent[..before]
            .iter()
            .any(|frame| frame.contains("\"sealed\""))
    );
}

/// The group is there, for the node has taken its founding; whoever asks sees nothing of it.
pub(crate) async fn a_group_that_the_service_hides_is_told_and_not_founded_without_end(
    cluster: Cluster,
) {
    let node = cluster.node("only").await;
    let liar = Liar::before(&node.url()).await;
    let keys = tempfile::tempdir().expect("a folder");
    let key = keys.path().join("harry");
    liar.tells(|said, answer| match said {
        Said::Answer(path) if path.ends_with("/group") => *answer = Value::Null,
        Said::Answer(_) => {}
        Said::Frame if answer["kind"] == "handshake" => answer["kind"] = json!("later"),
        Said::Frame if answer["type"] == "journaled" => {
            let id = answer["id"].take();
            *answer = json!({"type": "rejected", "id": id, "reason": "stale_epoch"});
        }
        Said::Frame => {}
    });
    let mut harry = open(&liar.url(), "aaa", "harry", &key, &["--seal=open"]);
    harry.types("Hello\r");
    let hidden = "the service says that the room has a group, and does not give it";
    let before = harry.shows_up_to(hidden).await;
    assert!(before.contains("waiting to be sent"), "{before}");
    let is_handshake = |frame: &String| frame.contains("\"handshake\"");
    let foundings = liar
        .was_sent()
        .iter()
        .filter(|frame| is_handshake(frame))
        .count();
    assert!((10..20).contains(&foundings), "{foundings}");
}

pub(crate) async fn what_is_not_where_the_service_says_is_told_at_once(cluster: Cluster) {
    let node = cluster.node("only").await;
    let liar = Liar::before(&node.url()).await;
    let keys = tempfile::tempdir().expect("a folder");
    let key = keys.path().join("harry");
    let mut harry = open(&liar.url(), "aaa", "harry", &key, &["--seal=open"]);
    harry.shows("you made the group").await;
    liar.tells(|said, frame| {
        if matches!(said, Said::Frame) && frame["kind"] == "sealed" {
            frame["from"] = json!("kim");
            frame["sealed"] = json!("AAAA");
        }
    });
    harry.types("mine\r");
    harry
        .shows("and does not show it there: others may not have it")
        .await;
    liar.tells(|_, _| {});
    harry.types("theirs\r");
    harry.shows("theirs ✓").await;
    harry.types("/quit\r");
    assert_eq!(harry.ends().await, Some(0));
}

pub(crate) async fn nothing_is_encrypted_for_somebody_whose_removal_is_hidden(cluster: Cluster) {
    let node = cluster.node("only").await;
    let liar = Liar::before(&node.url()).await;
    let keys = tempfile::tempdir().expect("a folder");
    let key = |name: &str| keys.path().join(name);
    let sealed = ["--seal=invited"];
    let mut harry = open(&node.url(), "aaa", "harry", &key("harry"), &sealed);
    harry.shows("you made the group").await;
    let mut charly = open(&liar.url(), "aaa", "charly", &key("charly"), &sealed);
    let mut mallory = open(&node.url(), "aaa", "mallory", &key("mallory"), &sealed);
    for (newcomer, user) in [(&mut charly, "charly"), (&mut mallory, "mallory")] {
        let key = key_of(newcomer, user).await;
        harry.types(&format!("/add {user} {key}\r"));
        newcomer.shows("harry let you in").await;
    }
    charly.shows("harry let in mallory").await;

    liar.tells(|_, frame| hide(frame, &["handshake"]));
    harry.types("/remove mallory\r");
    mallory.shows("harry removed this device").await;
    harry.types("among us\r");
    charly
        .shows("the service has left out a change of the group")
        .await;
    let is_message = |frame: &&String| frame.contains("\"sealed\"");
    let said = || liar.was_sent().iter().filter(is_message).count();
    let before = said();
    charly.types("not for mallory\r");
    let waits = "waiting to be sent, until the";
    charly.shows(waits).await;
    charly.types("/devices\r");
    charly.shows("somebody may be out, or in").await;
    // Charly reads again what is missing, and nobody sees anybody go and come for that.
    harry.types("still here\r");
    let shown = harry.shows_up_to("still here ✓").await;
    assert!(!shown.contains("charly left"), "{shown}");
    // Nor by who is killed, and knows of it by what was stored.
    drop(charly);
    let mut charly = open(&liar.url(), "aaa", "charly", &key("charly"), &sealed);
    charly
        .shows("the service has left out a change of the group")
        .await;
    charly.types("nor this\r");
    charly.shows(waits).await;
    assert_eq!(said(), before);
    charly.types("\x03");
    charly.shows("not sent, and not kept: nor this").await;
    assert_eq!(charly.ends().await, Some(0));

    liar.tells(|_, _| {});
    let mut charly = open(&liar.url(), "aaa", "charly", &key("charly"), &sealed);
    charly.shows("harry removed mallory").await;
    charly.shows("among us").await;
    charly.types("good that it is only us\r");
    harry.shows("good that it is only us").await;
    assert_eq!(said(), before + 1);
}

pub(crate) async fn what_the_service_says_was_done_to_names_is_not_told_without_end(
    cluster: Cluster,
) {
    let node = cluster.node("only").await;
    let liar = Liar::before(&node.url()).await;
    let keys = tempfile::tempdir().expect("a folder");
    let key = |name: &str| keys.path().join(name);
    let mut harry = open(&liar.url(), "aaa", "harry", &key("harry"), &[]);
    harry.shows("joined #aaa").await;
    let mut charly = open(&node.url(), "aaa", "charly", &key("charly"), &[]);
    charly.shows("joined #aaa").await;
    let kinds = ["unpinned", "erased", "purged"];
    liar.tells(move |said, frame| {
        let Some(seq) = frame["seq"]
            .as_u64()
            .filter(|_| matches!(said, Said::Frame))
        else {
            return;
        };
        if frame["text"] == "a lie" {
            frame["kind"] = json!(kinds[seq as usize % kinds.len()]);
        }
    });
    for _ in 0..40 {
        charly.types("a lie\r");
        charly.shows("a lie ✓").await;
    }
    charly.types("the end\r");
    let shown = harry.shows_up_to("the end").await;
    let told = shown.matches("--- ").count();
    // Of names, and of what was said: ten each.
    assert!((10..=20).contains(&told), "{told}: {shown}");
    harry.types("/quit\r");
    harry.shows("more times a name was freed").await;
}

pub(crate) async fn what_is_said_of_a_member_is_named_whatever_is_said_of_others(cluster: Cluster) {
    let node = cluster.node("only").await;
    let liar = Liar::before(&node.url()).await;
    let keys = tempfile::tempdir().expect("a folder");
    let key = |name: &str| keys.path().join(name);
    let sealed = ["--seal=open"];
    let mut harry = open(&liar.url(), "aaa", "harry", &key("harry"), &sealed);
    harry.shows("you made the group").await;
    let mut kim = open(&node.url(), "aaa", "kim", &key("kim"), &sealed);
    kim.shows("you came in").await;
    harry.shows("kim came in").await;
    let told = AtomicU64::new(0);
    liar.tells(move |said, frame| {
        if matches!(said, Said::Frame) && frame["kind"] == "sealed" {
            let of_kim = told.fetch_add(1, Ordering::Relaxed) >= 30;
            frame["from"] = json!(if of_kim { "kim" } else { "mallory" });
            (frame["kind"], frame["changed"]) = (json!("unpinned"), json!(true));
        }
    });
    for _ in 0..31 {
        kim.types("a lie\r");
        kim.shows("a lie ✓").await;
    }
    let others = harry.shows_up_to("--- kim changed the key").await;
    assert_eq!(
        others.matches("--- mallory changed").count(),
        10,
        "{others}"
    );
}

pub(crate) async fn a_welcome_to_another_room_or_as_somebody_else_is_none(cluster: Cluster) {
    let node = cluster.node("only").await;
    let keys = tempfile::tempdir().expect("a folder");
    for (room, field, other) in [("aaa", "room", "bbb"), ("ccc", "user", "kim")] {
        let liar = Liar::before(&node.url()).await;
        liar.tells(move |said, frame| {
            if matches!(said, Said::Frame) && frame["type"] == "welcome" {
                frame[field] = json!(other);
            }
        });
        let key = keys.path().join(field);
        let mut harry = open(&liar.url(), room, "harry", &key, &["--seal=open"]);
        let before = harry
            .shows_up_to("the server lets this client into the room")
            .await;
        assert!(!before.contains("joined #"), "{before}");
        harry.shows(&format!("{room} as harry was asked for")).await;
        let sent = liar.was_sent();
        assert!(!sent.iter().any(|frame| frame.contains("\"send\"")));
    }
}

/// A warning is on the disk before it is read: a terminal that is killed at that moment heeds it,
/// whatever the service shows then.
pub(crate) async fn a_warning_is_heeded_by_who_is_killed_when_it_is_read(cluster: Cluster) {
    let node = cluster.node("only").await;
    let liar = Liar::before(&node.url()).await;
    let keys = tempfile::tempdir().expect("a folder");
    let key = |name: &str| keys.path().join(name);
    let sealed = ["--seal=open"];
    let mut harry = open(&node.url(), "aaa", "harry", &key("harry"), &sealed);
    harry.shows("you made the group").await;
    let mut charly = open(&liar.url(), "aaa", "charly", &key("charly"), &sealed);
    charly.shows("you came in").await;
    harry.shows("charly came in").await;
    liar.tells(|_, frame| hide(frame, &["handshake"]));
    let mut kim = open(&node.url(), "aaa", "kim", &key("kim"), &sealed);
    kim.shows("you came in").await;
    harry.shows("kim came in").await;
    harry.types("among us\r");
    charly.shows("the service has left out a change").await;
    drop(charly);
    liar.tells(|_, frame| hide(frame, &["handshake", "sealed"]));
    let is_message = |frame: &&String| frame.contains("\"sealed\"");
    let said = || liar.was_sent().iter().filter(is_message).count();
    let before = said();
    let mut charly = open(&liar.url(), "aaa", "charly", &key("charly"), &sealed);
    charly.shows("joined #aaa").await;
    charly.types("not yet\r");
    charly
        .shows("waiting to be sent, until the service shows a change")
        .await;
    assert_eq!(said(), before);
}

/// The room takes a message, and the service says that its keys are too old.
pub(crate) async fn what_waits_after_a_refusal_says_for_what(cluster: Cluster) {
    let node = cluster.node("only").await;
    let liar = Liar::before(&node.url()).await;
    let keys = tempfile::tempdir().expect("a folder");
    let key = keys.path().join("harry");
    let mut harry = open(&liar.url(), "aaa", "harry", &key, &["--seal=open"]);
    harry.shows("you made the group").await;
    liar.tells(|said, frame| match said {
        Said::Frame if frame["kind"] == "sealed" => frame["kind"] = json!("later"),
        Said::Frame if frame["type"] == "journaled" => {
            let id = frame["id"].take();
            *frame = json!({"type": "rejected", "id": id, "reason": "stale_epoch"});
        }
        _ => {}
    });
    harry.types("mine\r");
    harry
        .shows("waiting to be sent, until the service shows a change of the group")
        .await;
    harry.shows(": mine").await;
    harry.types("/quit\r");
    harry.shows("1 message cannot be sent now").await;
}

pub(crate) async fn who_changed_the_key_is_marked_and_nothing_goes_to_the_former_one_unasked(
    cluster: Cluster,
) {
    let node = cluster.node("only").await;
    let keys = tempfile::tempdir().expect("a folder");
    let key = |name: &str| keys.path().join(name);
    let sealed = ["--seal=open"];
    let url = node.url();
    let mut harry = open(&url, "aaa", "harry", &key("harry"), &sealed);
    harry.shows("you made the group").await;
    let mut charly = open(&url, "aaa", "charly", &key("charly"), &sealed);
    charly.shows("you came in").await;
    harry.shows("charly came in").await;
    charly.types("/quit\r");
    assert_eq!(charly.ends().await, Some(0));
    let keys_do = |what: &str| {
        let mut program = std::process::Command::new(env!("CARGO_BIN_EXE_safe-chat"));
        let done = program
            .args(["keys", what, "--key-file"])
            .arg(key("charly"));
        let done = done.output().expect("the program");
        assert!(done.status.success(), "{what}");
        String::from_utf8(done.stdout).expect("text")
    };
    let former = keys_do("show").trim().to_owned();
    keys_do("change");
    let mut charly = open(&url, "aaa", "charly", &key("charly"), &sealed);
    let new = key_of(&mut charly, "charly").await;

    harry.shows("--- charly changed the key").await;
    // What was said of it survives a kill at that moment.
    drop(harry);
    let mut harry = open(&url, "aaa", "harry", &key("harry"), &sealed);
    harry.shows("joined #aaa").await;
    harry.types("/devices\r");
    harry.shows("! a former key, says the service").await;
    harry.types("something to share\r");
    harry.shows("something to share ✓").await;
    for command in ["/share charly 1", "/dm charly"] {
        harry.types(&format!("{command}\r"));
        harry.shows("has another key since #").await;
    }
    harry.types("only for charly\r");
    harry.shows("not sent, for you are in #aaa still").await;
    // Who means it goes all the same.
    harry.types("/dm charly\r/dm charly\r");
    harry.shows("joined #charly alone").await;
    harry.types("/back\r");
    harry.shows("joined #aaa").await;
    harry.shows("harry joined").await;

    harry.types("/remove charly\r");
    harry.shows("you removed charly").await;
    harry.types(&format!("/add charly {former}\r"));
    harry.shows("that is the former one").await;
    harry.types(&format!("/add charly {new}\r/devices\r"));
    charly.shows("you").await;
    let mut marked = true;
    while marked {
        harry.types("/devices\r");
        harry.shows("charly (cli-").await;
        let shown = harry.shows_up_to("#aaa").await;
        marked = shown.contains("a former key");
    }
    harry.types("/dm charly\r");
    harry.shows("joined #charly alone").await;
}
