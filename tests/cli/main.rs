//! The program as a person starts it: what it says, on which stream, with which exit code. What needs a NATS runs when there is one.

mod config;
mod keys;
mod operators;
#[path = "../support/mod.rs"]
mod support;

use std::{
    fs::File,
    io::{BufRead, BufReader, PipeWriter, Write, pipe},
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
    refusal_with(1, output)
}

fn refusal_with(code: i32, output: &Output) -> String {
    let stderr = text(&output.stderr).trim_end();
    let line = stderr.lines().last().unwrap_or_default();
    assert_eq!(
        (output.status.code(), text(&output.stdout)),
        (Some(code), ""),
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
        // Everything is tested with the features that are on by default.
        "features cassandra, jemalloc",
    ] {
        assert!(text(&output.stdout).contains(fact), "{fact}");
    }
}

/// A pipe that nobody reads.
fn unread() -> PipeWriter {
    let (reader, writer) = pipe().unwrap();
    drop(reader);
    writer
}

#[test]
fn short_commands_end_quietly_when_nobody_reads_on() {
    for words in [
        &["config", "check"][..],
        &["--help"],
        &["--version"],
        &["serve", "--help"],
        &["decode"],
    ] {
        let output = safe_chat(words)
            .stdin(Stdio::null())
            .stdout(unread())
            .output()
            .unwrap();
        let ended = (output.status.code(), text(&output.stderr));
        assert_eq!(ended, (Some(0), ""), "{words:?}");
        // Without a reader of stderr the exit code alone remains.
        let mut refused = safe_chat(words);
        refused.env("CASSANDRA", "no host").stdin(Stdio::null());
        let status = refused.stdout(unread()).stderr(unread()).status().unwrap();
        let code = if words[0] == "config" { 78 } else { 0 };
        assert_eq!(status.code(), Some(code), "{words:?}");
    }
}

#[test]
fn a_full_disk_is_an_error_of_what_is_printed_there() {
    let full = || File::options().write(true).open("/dev/full").unwrap();
    for words in [&["config", "check"][..], &["decode"]] {
        let mut command = safe_chat(words);
        command.stdin(Stdio::null()).stdout(full());
        let line = refusal(&command.output().unwrap());
        assert!(line.contains("stdout cannot be written"), "{line}");
        assert_eq!(command.stderr(full()).status().unwrap().code(), Some(1));
    }
}

#[test]
fn names_and_keys_may_begin_with_a_dash() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap().to_string();
    drop(free);
    let url = format!("http://{address}");
    let mut chat = safe_chat(&[
        "chat", &url, "--room", "-r", "--user", "-Vu", "--key", "-Vn3x",
    ]);
    let line = refusal(&chat.stdin(Stdio::null()).output().unwrap());
    assert!(line.contains(&address), "{line}");
    let mut equals = safe_chat(&["chat", &url, "--room=-r", "--user=--json", "--key=--json"]);
    let line = refusal(&equals.stdin(Stdio::null()).output().unwrap());
    assert!(line.contains(&address), "{line}");
    let bad = safe_chat(&["chat", &url, "--room=a", "--user=b", "--key", "-bad key"]);
    let output = { bad }.stdin(Stdio::null()).output().unwrap();
    let line = refusal(&output);
    assert!(
        line.contains("--key") && !line.contains("bad key"),
        "{line}"
    );

    let nats = format!("nats://{address}");
    for what in ["inspect", "verify"] {
        let flags = ["journal", what, "-room", "--prefix", "-p", "--nats", &nats];
        let line = refusal(&safe_chat(&flags).output().unwrap());
        assert!(line.contains(&address), "{line}");
    }
    let flags = ["config", "check", "--node", "-n", "--prefix", "-p"];
    assert!(safe_chat(&flags).output().unwrap().status.success());
    let mut decode = safe_chat(&["decode", "--subject", "-p.evt.1.-room"]);
    let decoded = decode.stdin(Stdio::null()).output().unwrap();
    assert!(decoded.status.success());
}

#[test]
fn a_signal_before_its_servers_answer_ends_a_start_at_once_and_well() {
    // Takes connections and says nothing, as a frozen server does.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = silent.local_addr().unwrap();
    let nats = format!("nats://{at}");
    for name in ["-TERM", "-INT", "-QUIT"] {
        let mut command = safe_chat(&["serve", "--internal-port", "0", "--nats", &nats]);
        let mut process = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(process.stderr.take().unwrap()).lines();
        // The countdown begins when the server has been silent for a moment.
        let waiting = log.find(|line| line.as_ref().unwrap().contains("waiting for NATS"));
        assert!(waiting.is_some(), "{name}");
        send(&process, "-HUP");
        send(&process, name);
        assert_eq!(process.wait().unwrap().code(), Some(0), "{name}");
        let rest = log.map(Result::unwrap).collect::<Vec<_>>().join("\n");
        assert!(rest.contains("ended before the start was over"), "{rest}");
    }
}

fn send(process: &Child, signal: &str) {
    let id = process.id().to_string();
    assert!(
        Command::new("kill")
            .args([signal, &id])
            .status()
            .unwrap()
            .success()
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
            && text(&output.stderr).contains("--nats has a login in it")
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

/// An internal port that answers one request with a status and a body; then its port.
fn internal_port(answer: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let head = BufReader::new(stream.try_clone().unwrap()).lines();
        let head: Vec<_> = head
            .map(Result::unwrap)
            .take_while(|line| !line.is_empty())
            .collect();
        assert_eq!(head[0], "GET /ready HTTP/1.1");
        stream.write_all(answer.as_bytes()).unwrap();
    });
    port
}

/// `safe-chat health`, as a container's health check runs it: told by the node's environment.
fn health(port: u16) -> Output {
    safe_chat(&["health"])
        .env("SAFE_CHAT_OPS__HOST", "0.0.0.0")
        .env("SAFE_CHAT_OPS__PASSWORD", "topsecret")
        .env("SAFE_CHAT_OPS__PORT", port.to_string())
        .output()
        .unwrap()
}

#[test]
fn health_says_whether_the_node_of_this_configuration_is_ready() {
    let ready = health(internal_port(
        "HTTP/1.1 200 OK\r\ncontent-length: 14\r\n\r\n{\"ready\":true}",
    ));
    assert_eq!(
        (ready.status.code(), text(&ready.stdout)),
        (Some(0), "ready\n")
    );
    let ready = health(internal_port(
        "HTTP/1.1 200 OK\r\ncontent-length: 44\r\n\r\n{\"ready\":true,\"warnings\":[\"a disk is full\"]}",
    ));
    assert_eq!(
        (ready.status.code(), text(&ready.stdout)),
        (Some(0), "ready\nwarning: a disk is full\n")
    );
    let not = health(internal_port(
        "HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\n\r\n{\"ready\":false,\"why\":[\"draining\",\"no bus\"]}",
    ));
    assert_eq!(refusal(&not), "error: not ready: draining; no bus");
}

#[test]
fn health_names_the_address_where_no_node_answers() {
    // A port that was free a moment ago, and that nobody was told of.
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let line = refusal(&health(free.port()));
    assert!(
        line.contains(&format!("{free} does not answer")) && !line.contains("topsecret"),
        "{line}"
    );
    let line = refusal(&health(internal_port(
        "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n",
    )));
    assert!(
        line.contains("404") && line.contains("internal port"),
        "{line}"
    );
    // It takes connections and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let line = refusal(&health(silent.local_addr().unwrap().port()));
    assert!(line.contains("within 3s"), "{line}");
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
        send(&self.process, name);
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
fn no_signal_ends_a_node_without_a_drain() {
    let Some(nats) = server("SAFE_CHAT_TEST_NATS", "signals to a node") else {
        return;
    };
    let mut node = Node::start(&nats, &unique('c'));
    for name in [
        "-HUP", "-USR1", "-USR2", "-ALRM", "-VTALRM", "-PROF", "-IO", "-STKFLT", "-40",
    ] {
        node.signal(name);
        node.reads("going on");
    }
    // Not said: they come from what is written.
    for name in ["-PIPE", "-XFSZ", "-WINCH", "-URG", "-CONT"] {
        node.signal(name);
    }
    node.signal("-QUIT");
    node.reads("SIGQUIT: draining");
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
