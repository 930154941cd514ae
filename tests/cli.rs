//! The program as a person starts it: what it says, on which stream, with which exit code. What needs a NATS runs when there is one.

mod support;

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    process::{Child, Command, Output, Stdio},
};
use support::{server, unique};

/// The program without the environment of whoever runs the tests.
fn safe_chat(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_safe-chat"));
    command.args(args).env_clear();
    command
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// It failed with exit code 1, nothing on stdout, and one line on stderr that begins with `error: `.
fn refusal(output: &Output) -> String {
    let stderr = text(&output.stderr).trim_end();
    let line = stderr.lines().last().unwrap_or_default();
    assert_eq!(
        (output.status.code(), text(&output.stdout)),
        (Some(1), ""),
        "{stderr}"
    );
    assert!(line.starts_with("error: "), "{stderr}");
    line.to_owned()
}

#[test]
fn the_version_says_how_it_was_built() {
    let output = safe_chat(&["--version"]).output().unwrap();
    for fact in [
        env!("CARGO_PKG_VERSION"),
        "commit ",
        "rustc ",
        "profile ",
        "target ",
    ] {
        assert!(text(&output.stdout).contains(fact), "{fact}");
    }
}

#[test]
fn config_check_shows_sources_and_misspelt_names_but_no_password() {
    let mut command = safe_chat(&[
        "config",
        "check",
        "--http-port",
        "99",
        "--nats",
        "nats://me:topsecret@a:1,b:2",
    ]);
    let output = command
        .env("CAS_PWS", "verysecret")
        .env("SAFE_CHAT_GATWAY__PORT", "1")
        .output()
        .unwrap();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert!(
        stderr.contains("did you mean SAFE_CHAT_GATEWAY__PORT?"),
        "{stderr}"
    );
    assert_eq!(
        (output.status.code(), stderr.lines().last()),
        (
            Some(1),
            Some("error: a key is not known: see the warning above")
        )
    );
    assert!(
        stdout
            .lines()
            .any(|line| line.starts_with("port = 99 ") && line.ends_with("# flag --http-port")),
        "{stdout}"
    );
    assert!(
        stdout.contains(r#"servers = ["nats://(hidden)@a:1", "b:2"]"#),
        "{stdout}"
    );
    assert!(!stdout.contains("secret"), "{stdout}");
}

#[test]
fn a_value_that_cannot_be_is_refused_in_one_line() {
    let line = refusal(
        &safe_chat(&["serve", "--http-port", "many"])
            .output()
            .unwrap(),
    );
    assert!(
        line.contains("gateway.port (flag --http-port)") && line.contains("many"),
        "{line}"
    );
}

#[test]
fn a_configuration_without_unknown_keys_passes_the_check() {
    assert!(
        safe_chat(&["config", "check"])
            .output()
            .unwrap()
            .status
            .success()
    );
}

#[test]
fn a_word_that_cannot_be_is_refused_with_those_that_can() {
    let line = refusal(&safe_chat(&["serve", "--journal", "foo"]).output().unwrap());
    assert_eq!(
        line,
        "error: journal.kind (flag --journal) cannot be `foo`: it must be bus or cassandra"
    );
}

#[test]
fn a_script_that_reaches_nobody_ends_with_an_error() {
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let mut chat = safe_chat(&[
        "chat",
        &format!("http://{free}"),
        "--room",
        "aaa",
        "--user",
        "harry",
        "--key",
        "KEY",
    ]);
    let line = refusal(&chat.stdin(Stdio::null()).output().unwrap());
    assert!(
        line.contains(&free.to_string()) && line.ends_with("gave up after 5 attempts"),
        "{line}"
    );
}

#[test]
fn a_start_without_nats_names_the_address_and_gives_up() {
    // A port that was free a moment ago, and that nobody was told of.
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let nats = format!("nats://me:topsecret@{free}");
    let mut command = safe_chat(&["serve", "--internal-port", "0", "--nats", &nats]);
    let output = command
        .env("SAFE_CHAT_NODE__START_TIMEOUT_MS", "1500")
        .output()
        .unwrap();
    let line = refusal(&output);
    assert!(
        line.contains(&format!(
            "NATS at nats://(hidden)@{free} was not there within 1.5 s"
        )) && line.contains("--nats"),
        "{line}"
    );
    assert!(
        text(&output.stderr).contains("giving up in")
            && !text(&output.stderr).contains("topsecret"),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn an_internal_port_that_is_in_use_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let line = refusal(
        &safe_chat(&["serve", "--internal-port", &port])
            .output()
            .unwrap(),
    );
    assert!(
        line.contains(&format!("127.0.0.1:{port}")) && line.contains("--internal-port"),
        "{line}"
    );
}

#[test]
fn decode_makes_a_line_of_anything() {
    let mut decode = safe_chat(&["decode"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    decode
        .stdin
        .take()
        .unwrap()
        .write_all(b"\xff not a message")
        .unwrap();
    let output = decode.wait_with_output().unwrap();
    assert!(output.status.success());
    assert_eq!(text(&output.stdout).lines().count(), 1);
}

/// A node on free ports that is ready.
struct Node {
    process: Child,
    log: std::io::Lines<BufReader<std::process::ChildStderr>>,
    seen: Vec<String>,
}

impl Node {
    fn start(nats: &str, prefix: &str) -> Self {
        let args = [
            "serve",
            "--node",
            "n1",
            "--http-port",
            "0",
            "--internal-port",
            "0",
            "--shards",
            "4",
            "--nats",
            nats,
            "--prefix",
            prefix,
        ];
        let mut process = safe_chat(&args).stderr(Stdio::piped()).spawn().unwrap();
        let log = BufReader::new(process.stderr.take().unwrap()).lines();
        let mut node = Self {
            process,
            log,
            seen: Vec::new(),
        };
        node.reads("writes 4 of 4 shards");
        node
    }

    /// Reads its log until a line says so.
    fn reads(&mut self, what: &str) {
        loop {
            let line = self
                .log
                .next()
                .unwrap_or_else(|| panic!("{what} is missing in\n{}", self.seen.join("\n")))
                .unwrap();
            self.seen.push(line);
            if self.seen.last().is_some_and(|line| line.contains(what)) {
                return;
            }
        }
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args([name, &self.process.id().to_string()])
            .status()
            .unwrap();
        assert!(sent.success());
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn a_node_says_what_it_is_and_drains_on_sigterm() {
    let Some(nats) = server("SAFE_CHAT_TEST_NATS", "a whole node as a process") else {
        return;
    };
    let mut node = Node::start(&nats, &unique('c'));
    let banner = node.seen.join("\n");
    for fact in [
        "node      n1",
        "roles     gateway, writer",
        "journal   on the bus",
        "Message -> text@2",
        "shards    4",
        "cores",
    ] {
        assert!(banner.contains(fact), "{fact} is missing in\n{banner}");
    }
    node.signal("-TERM");
    node.reads("drained in");
    assert_eq!(node.process.wait().unwrap().code(), Some(0));
}

#[test]
fn a_node_with_another_number_of_shards_refuses_to_start_beside_the_others() {
    let Some(nats) = server("SAFE_CHAT_TEST_NATS", "two nodes that differ") else {
        return;
    };
    let prefix = unique('c');
    let _node = Node::start(&nats, &prefix);
    let args = [
        "serve",
        "--http-port",
        "0",
        "--internal-port",
        "0",
        "--shards",
        "8",
        "--nats",
        &nats,
        "--prefix",
        &prefix,
    ];
    let line = refusal(&safe_chat(&args).output().unwrap());
    assert!(
        line.contains("the cluster has 4 shards, this node is configured with 8"),
        "{line}"
    );
}
