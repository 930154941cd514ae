//! Terminals in a sealed room, at different nodes: they read each other, also what was said while
//! one of them was not running.

use crate::{
    cluster::{Cluster, PATIENCE},
    lies,
    node::Node,
    retention::admin,
};
use serde_json::Value;
use std::{path::Path, process::Stdio};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::timeout,
};

/// A running terminal client.
struct Terminal {
    program: Child,
    stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Terminal {
    fn open(node: &Node, user: &str, keys: &Path) -> Self {
        let mut program = Command::new(env!("CARGO_BIN_EXE_safe-chat"))
            .args([
                "chat",
                &node.url(),
                "--room",
                "aaa",
                "--seal=open",
                "--user",
                user,
            ])
            .arg("--key-file")
            .arg(keys.join(user))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .spawn()
            .expect("the program");
        let stdin = program.stdin.take().expect("a pipe");
        let lines = BufReader::new(program.stdout.take().expect("a pipe")).lines();
        Self {
            program,
            stdin,
            lines,
        }
    }

    async fn says(&mut self, text: &str) {
        let line = format!("{text}\n");
        self.stdin.write_all(line.as_bytes()).await.expect("a pipe");
        self.reads(&format!("-> *] {text}")).await;
    }

    /// The next line of the room that was said: `[aaa:7 - harry -> *] text`.
    async fn reads(&mut self, end: &str) {
        let next = async {
            loop {
                let line = self.lines.next_line().await.expect("a pipe");
                let line = line.expect("it goes on");
                if line.contains(" -> ") {
                    return line;
                }
            }
        };
        let line = timeout(PATIENCE, next).await.expect("a line");
        assert!(line.ends_with(end), "{line} is not {end}");
    }

    async fn ends(mut self) {
        drop(self.stdin);
        let ended = timeout(PATIENCE, self.program.wait()).await;
        let status = ended.expect("it ends").expect("a status");
        assert!(status.success(), "{status}");
    }
}

/// Harry, whom charly has read and left again.
async fn harry_alone(first: &Node, second: &Node, keys: &Path) -> Terminal {
    let mut harry = Terminal::open(first, "harry", keys);
    harry.says("Hello").await;
    let mut charly = Terminal::open(second, "charly", keys);
    charly.says("I am in").await;
    harry.reads("charly -> *] I am in").await;
    charly.ends().await;
    harry
}

pub(crate) async fn terminals_read_each_other_and_what_was_said_meanwhile(cluster: Cluster) {
    let (first, second) = tokio::join!(cluster.node("first"), cluster.node("second"));
    let keys = tempfile::tempdir().expect("a folder");
    let mut harry = harry_alone(&first, &second, keys.path()).await;
    for text in ["one", "two"] {
        harry.says(text).await;
    }
    let mut charly = Terminal::open(&first, "charly", keys.path());
    charly.reads("harry -> *] one").await;
    charly.reads("harry -> *] two").await;
    charly.says("three").await;
    harry.reads("charly -> *] three").await;
    harry.ends().await;
    // In a pipe nothing leads to one person alone, so what follows that goes to nobody.
    let mut harry = Terminal::open(&first, "harry", keys.path());
    let piped = harry
        .stdin
        .write_all(b"/dm charly\nonly for charly\n")
        .await;
    piped.expect("a pipe");
    let ended = timeout(PATIENCE, harry.program.wait()).await;
    assert!(!ended.expect("it ends").expect("a status").success());
    charly.says("four").await;
    charly.ends().await;
    // Who has no proven key does not even see how much was said.
    let url = format!("{}/rooms/aaa/history", first.url());
    let refused = reqwest::get(url).await.expect("an answer");
    let why: Value = refused.json().await.expect("JSON");
    assert_eq!(why["error"]["reason"], "proof_required", "{why}");
}

pub(crate) async fn a_terminal_that_was_away_at_a_purge_comes_back(cluster: Cluster) {
    let (first, second) = tokio::join!(cluster.node("first"), cluster.node("second"));
    let keys = tempfile::tempdir().expect("a folder");
    let mut harry = harry_alone(&first, &second, keys.path()).await;
    harry.says("while charly is away").await;
    admin(&first, &["purge", "aaa", "--yes"]).await;
    harry.says("behind the purge").await;
    let mut charly = Terminal::open(&first, "charly", keys.path());
    charly.says("I am back").await;
    harry.reads("charly -> *] I am back").await;
    harry.says("welcome back").await;
    charly.reads("harry -> *] welcome back").await;
    harry.ends().await;
    charly.ends().await;
}

/// Of several addresses the first may be down: what a device asks goes where its session is.
pub(crate) async fn a_terminal_comes_in_wherever_its_session_is(cluster: Cluster) {
    let (mut first, second) = tokio::join!(cluster.node("first"), cluster.node("second"));
    let keys = tempfile::tempdir().expect("a folder");
    let key = |name: &str| keys.path().join(name);
    let both = format!("{},{}", first.url(), second.url());
    first.kill().await;
    let sealed = ["--seal=open"];
    let mut harry = lies::open(&both, "aaa", "harry", &key("harry"), &sealed);
    harry.shows("you made the group").await;
    let mut charly = lies::open(&both, "aaa", "charly", &key("charly"), &sealed);
    charly.shows("you came in, to harry").await;
    charly.types("at the second one\r");
    harry.shows("at the second one").await;
}
