//! Names that are proven: the terminal client does it by itself, and an operator frees a name.

use crate::{
    cluster::{Cluster, PATIENCE},
    node::Node,
    person::Person,
};
use serde_json::{Value, json};
use std::{path::Path, process::Stdio};
use tokio::{io::AsyncWriteExt, process::Command, time::timeout};

/// Says something with the terminal client and a key file; what it prints, and whether it could.
async fn says(node: &Node, user: &str, key: &Path, text: &str) -> (bool, String) {
    let mut chat = Command::new(env!("CARGO_BIN_EXE_safe-chat"))
        .args(["chat", &node.url(), "--room", "aaa", "--user", user])
        .arg("--key-file")
        .arg(key)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("the program");
    let mut stdin = chat.stdin.take().expect("a pipe");
    // One that was refused reads nothing.
    let _ = stdin.write_all(format!("{text}\n").as_bytes()).await;
    drop(stdin);
    let ended = timeout(PATIENCE, chat.wait_with_output()).await;
    let ended = ended.expect("it ends").expect("its output");
    let all = [ended.stdout, ended.stderr].concat();
    let all = String::from_utf8_lossy(&all).into_owned();
    (ended.status.success(), all)
}

async fn history(node: &Node) -> Vec<(String, String)> {
    let url = format!("{}/rooms/aaa/history", node.url());
    let answer = reqwest::get(url).await.expect("an answer");
    let page: Value = answer.json().await.expect("JSON");
    let word = |event: &Value, name: &str| event[name].as_str().unwrap_or_default().to_owned();
    let events = page["events"].as_array().expect("events").iter();
    events
        .map(|event| (word(event, "kind"), word(event, "from")))
        .collect()
}

pub(crate) async fn a_name_is_proven_at_one_node_and_freed_by_an_operator(cluster: Cluster) {
    let (first, second) = tokio::join!(cluster.node("first"), cluster.node("second"));
    let folder = tempfile::tempdir().expect("a folder");
    let (mine, theirs) = (folder.path().join("mine"), folder.path().join("theirs"));

    let (done, said) = says(&first, "harry", &mine, "Hello").await;
    assert!(done && said.contains("] Hello"), "{said}");
    // Whoever else brings a key, or names harry's: at the other node as well.
    let (done, said) = says(&second, "harry", &theirs, "I am harry").await;
    assert!(!done && said.contains("key_mismatch"), "{said}");
    let (status, _) = Person::refused(&second, "aaa", "harry", "key").await;
    assert_eq!(status, 403);

    let admin = |words: &'static [&'static str]| {
        let at = first.internal_url().replacen("http://", "", 1);
        let mut admin = Command::new(env!("CARGO_BIN_EXE_safe-chat"));
        admin.args(["admin", "--json", "--at", &at]).args(words);
        async move {
            let ended = admin.output().await.expect("the program");
            serde_json::from_slice::<Value>(&ended.stdout).expect("JSON")
        }
    };
    let mut watcher = Person::joins_in_json(&second, "aaa", "charly", "key2").await;
    let freed = admin(&["unpin", "aaa", "harry"]).await;
    assert_eq!(
        freed,
        json!({"room": "aaa", "user": "harry", "was_pinned": true})
    );
    let again = admin(&["unpin", "aaa", "harry"]).await;
    assert_eq!(again["was_pinned"], false);
    let at = first.internal_url().replacen("http://", "", 1);
    let mut nowhere = Command::new(env!("CARGO_BIN_EXE_safe-chat"));
    nowhere.args(["admin", "--at", &at, "unpin", "never-written", "harry"]);
    let refused = nowhere.output().await.expect("the program");
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.contains("nothing was ever written"), "{said}");
    // The room sees it, also who is in it.
    let seen = loop {
        let frame = watcher.json().await;
        if frame["kind"] == "unpinned" {
            break frame;
        }
    };
    assert_eq!((&seen["from"], seen.get("text")), (&json!("harry"), None));
    assert!(
        history(&first)
            .await
            .contains(&("unpinned".into(), "harry".into()))
    );

    let (done, said) = says(&second, "harry", &theirs, "I am harry now").await;
    assert!(done, "{said}");
    let (done, said) = says(&first, "harry", &mine, "and I?").await;
    assert!(!done && said.contains("key_mismatch"), "{said}");

    // Another key takes its place, which the former one signs at the next visit.
    let old = folder.path().join("old");
    std::fs::copy(&theirs, &old).expect("a copy");
    let mut change = Command::new(env!("CARGO_BIN_EXE_safe-chat"));
    change.args(["keys", "change", "--key-file"]).arg(&theirs);
    let changed = change.output().await.expect("the program");
    assert!(changed.status.success(), "{changed:?}");
    let (done, said) = says(&first, "harry", &theirs, "with a new key").await;
    assert!(done && said.contains("(changed)"), "{said}");
    let (done, said) = says(&second, "harry", &old, "with the former one").await;
    assert!(!done && said.contains("key_mismatch"), "{said}");
    let (done, said) = says(&second, "harry", &theirs, "once more").await;
    assert!(done, "{said}");
}
