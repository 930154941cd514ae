//! Rooms that ask for tokens, with the program as it is: tokens of the command line, of an issuer
//! that publishes its keys, and of strangers. None of them stands in a log.

use crate::{
    cluster::{Cluster, PATIENCE, eventually},
    issuer::{self, Publisher, by_secret, claims, with},
    logs::forms,
    node::Node,
    support::unique,
};
use jsonwebtoken::Algorithm;
use reqwest::Client;
use serde_json::{Value, json};
use std::{fs, process::Stdio};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    process::{Child, Command},
    time::timeout,
};

const ROOM: &str = "team-red";

pub(crate) async fn tokens_let_people_in_and_stand_in_no_log(cluster: Cluster) {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name).display().to_string();
    fs::write(at("secret"), issuer::SECRET).expect("written");
    let public = issuer::key(Algorithm::EdDSA).1.expect("a file");
    let publisher = Publisher::start().await;
    publisher.publish(&[Algorithm::RS256]);
    let cluster = cluster
        .with("SAFE_CHAT_LOG__LEVEL", crate::logs::EVERYTHING)
        .with("SAFE_CHAT_ACCESS__ROOMS", "lobby=open,team-*=token")
        .with("SAFE_CHAT_ACCESS__KEYS", &public.display().to_string())
        .with("SAFE_CHAT_ACCESS__HS256_KEYS", &at("secret"))
        .with("SAFE_CHAT_ACCESS__JWKS", &publisher.address)
        .with("SAFE_CHAT_ACCESS__LEEWAY_S", "0");
    let mut node = cluster.node("guarded").await;

    // As the how-to has it: a token of the command line, for the terminal.
    let key = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/keys/ed25519.pem");
    let words = ["token", "--key", key, "--user", "harry", "--room", "team-*"];
    let token_for = async |time: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_safe-chat"))
            .args(words)
            .args(["--expires", time])
            .output()
            .await
            .expect("the program can be run");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout)
            .expect("text")
            .trim()
            .to_owned()
    };
    let long = token_for("1h").await;
    let short = token_for("6s").await;
    fs::write(at("token"), &short).expect("written");
    let mut chat = Terminal::joins(&node, &at("token"));
    chat.until("welcome").await;
    // Whoever renews the file does it in time, and the session goes on.
    fs::write(at("token"), &long).expect("written");
    chat.until("expiring").await;
    chat.until("refreshed").await;
    chat.says("Hello").await;
    chat.until("journaled").await;

    let published = Publisher::token(Algorithm::RS256, "RS256");
    let tokens = [
        long,
        published.clone(),
        by_secret(&claims()),
        by_secret(&with("exp", issuer::now() - 60)),
        by_secret(&with("sub", "charly")),
        format!("{published}x"),
        unique('t').repeat(20),
    ];
    let mut told = Vec::new();
    for (token, expected) in tokens.iter().zip([200, 200, 200, 401, 403, 401, 401]) {
        let url = format!("{}/rooms/{ROOM}/messages?user=harry", node.url());
        let message = json!({"id": unique('m'), "text": "Hello"});
        let request = Client::new().post(&url).bearer_auth(token).json(&message);
        let answer = request.timeout(PATIENCE).send().await.expect("an answer");
        assert_eq!(answer.status().as_u16(), expected, "{answer:?}");
        told.push(answer.text().await.expect("text"));
        // Where it is not taken from.
        let url = format!("{}/rooms/{ROOM}/history?token={token}", node.url());
        let answer = reqwest::get(url).await.expect("an answer");
        assert_eq!(answer.status(), 401);
        told.push(answer.text().await.expect("text"));
    }
    let refused = "safechat_admissions_refused_total{reason=\"forbidden\"} 1";
    let metrics = node.metrics().await;
    assert!(metrics.contains(refused), "{metrics}");
    let page: Value = serde_json::from_str(&told[0]).expect("JSON");
    assert_eq!(page["type"], "journaled");
    told.push(metrics);
    told.push(cluster.run(&["config", "check"], &[]).await.stdout);
    chat.leaves().await;
    assert_eq!(node.stop().await.code(), Some(0));

    let all = [node.logs(), told.join("\n")].concat();
    assert!(all.contains("DEBUG"), "nothing was logged at level debug");
    for token in tokens.iter().chain([&short]) {
        // A token is given away by its signature, and by any longer part of it.
        for part in token.split('.').filter(|part| part.len() > 30) {
            let parts = [part, &part[..30]];
            let lines: Vec<_> = all
                .lines()
                .filter(|line| parts.iter().any(|part| line.contains(part)))
                .collect();
            assert!(
                lines.is_empty(),
                "a token is logged or told:\n{}",
                lines.join("\n")
            );
        }
    }
    for form in forms(issuer::SECRET) {
        assert!(!all.contains(&form), "a secret is logged or told");
    }
    eventually("the issuer was asked", async || publisher.asked() > 0).await;
}

/// `safe-chat chat` for a script.
struct Terminal {
    child: Child,
    lines: tokio::io::Lines<BufReader<tokio::process::ChildStdout>>,
}

impl Terminal {
    fn joins(node: &Node, token_file: &str) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_safe-chat"))
            .args(["chat", &node.url(), "--room", ROOM, "--user", "harry"])
            .args(["--key", "some-key", "--json", "--token-file", token_file])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("the program can be run");
        let stdout = child.stdout.take().expect("a pipe");
        Self {
            child,
            lines: BufReader::new(stdout).lines(),
        }
    }

    /// Frames until one of a type.
    async fn until(&mut self, kind: &str) {
        let mine = format!("{{\"type\":\"{kind}\"");
        loop {
            let line = timeout(PATIENCE, self.lines.next_line()).await;
            let line = line.expect("a frame in time").expect("a pipe");
            if line
                .unwrap_or_else(|| panic!("it ended before {kind}"))
                .starts_with(&mine)
            {
                return;
            }
        }
    }

    async fn says(&mut self, text: &str) {
        let stdin = self.child.stdin.as_mut().expect("a pipe");
        let line = format!("{text}\n");
        stdin.write_all(line.as_bytes()).await.expect("a pipe");
    }

    async fn leaves(mut self) {
        drop(self.child.stdin.take());
        let ended = timeout(PATIENCE, self.child.wait()).await;
        assert!(ended.expect("an end in time").expect("a child").success());
    }
}
