//! How much a node says in its log when nothing is wrong: one line for each thing that an operator
//! acts on, with stable names of fields.

mod support;

use serde_json::Value;
use std::{
    env,
    io::{BufRead, BufReader, Lines},
    process::{Child, ChildStderr, Command, Stdio},
};

/// A node on free ports that logs JSON.
struct Node {
    name: &'static str,
    process: Child,
    log: Lines<BufReader<ChildStderr>>,
    seen: Vec<Value>,
}

impl Node {
    fn start(name: &'static str, nats: &str, prefix: &str) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_safe-chat"));
        // What the tests are told is nothing that a node knows.
        for (name, _) in env::vars().filter(|(name, _)| name.starts_with("SAFE_CHAT_")) {
            command.env_remove(name);
        }
        let mut process = command
            .args(["serve", "--log", "json", "--node", name, "--nats", nats])
            .args([
                "--http-port",
                "0",
                "--internal-port",
                "0",
                "--prefix",
                prefix,
            ])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = BufReader::new(process.stderr.take().unwrap()).lines();
        Self {
            name,
            process,
            log,
            seen: Vec::new(),
        }
    }

    /// Reads its log until a message begins so.
    fn reads(&mut self, begin: &str) {
        loop {
            let Some(line) = self.log.next() else {
                panic!("{begin} is missing in\n{}", self.all());
            };
            self.seen
                .push(serde_json::from_str(&line.unwrap()).unwrap());
            let message = &self.seen.last().expect("just read")["message"];
            if message.as_str().is_some_and(|it| it.starts_with(begin)) {
                return;
            }
        }
    }

    /// Reads the rest of its log; every line is JSON. Its exit code.
    fn ends(&mut self) -> Option<i32> {
        for line in self.log.by_ref() {
            let line = line.unwrap();
            let read = serde_json::from_str(&line);
            self.seen
                .push(read.unwrap_or_else(|why| panic!("{why}: {line}")));
        }
        self.process.wait().unwrap().code()
    }

    fn signal(&self, name: &str) {
        let pid = self.process.id().to_string();
        let sent = Command::new("kill").args([name, &pid]).status();
        assert!(sent.unwrap().success());
    }

    /// Where its internal port is, as it said when it started.
    fn internal(&self) -> String {
        let facts = self.seen.iter().find_map(|line| line["facts"].as_str());
        let facts: Value = serde_json::from_str(facts.expect("it has started")).unwrap();
        let at = facts["internal"].as_str().unwrap();
        let at = at.strip_prefix("http://").unwrap();
        at.split_once('/').unwrap().0.to_owned()
    }

    fn all(&self) -> String {
        let lines = self.seen.iter().map(|line| format!("{line}\n"));
        lines.collect()
    }

    /// The numbers of shards that it said it writes, after all that it said was looked at.
    fn writes(&self) -> Vec<u64> {
        assert!(self.seen.len() <= 8, "{}", self.all());
        assert!(
            self.seen.iter().all(|line| line["node"] == self.name),
            "{}",
            self.all()
        );
        let shards = |line: &Value| line["shards"].as_u64();
        self.seen.iter().filter_map(shards).collect()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn shards_that_move_one_by_one_are_told_once() {
    let Some(nats) = support::server("SAFE_CHAT_TEST_NATS", "the lines of a start") else {
        return;
    };
    let prefix = support::unique('l');
    let mut first = Node::start("n1", &nats, &prefix);
    first.reads("writes 64 of 64 shards");
    let mut second = Node::start("n2", &nats, &prefix);
    second.reads("writes ");
    first.reads("writes ");
    first.signal("-TERM");
    first.reads("drained in");
    second.reads("writes 64 of 64 shards");
    let (of_first, of_second) = (first.writes(), second.writes());
    assert_eq!(
        (of_first.len(), of_second.len()),
        (2, 2),
        "{}{}",
        first.all(),
        second.all()
    );
    assert_eq!(
        of_first[1] + of_second[0],
        64,
        "{}{}",
        first.all(),
        second.all()
    );
}

#[test]
fn a_writer_that_was_declared_down_tells_its_lost_shards_in_one_line() {
    let Some(nats) = support::server("SAFE_CHAT_TEST_NATS", "the lines of a node that was down")
    else {
        return;
    };
    let prefix = support::unique('l');
    let mut frozen = Node::start("n1", &nats, &prefix);
    frozen.reads("writes 64 of 64 shards");
    let mut other = Node::start("n2", &nats, &prefix);
    other.reads("writes ");
    frozen.reads("writes ");
    let had = frozen.seen.last().expect("just read")["shards"].clone();
    frozen.signal("-STOP");
    let down = Command::new(env!("CARGO_BIN_EXE_safe-chat"))
        .env_clear()
        .args(["admin", "--at", &*other.internal(), "down", "n1"])
        .output();
    assert!(down.as_ref().unwrap().status.success(), "{down:?}");
    other.reads("writes 64 of 64 shards");
    let before = frozen.seen.len();
    frozen.signal("-CONT");
    assert_eq!(frozen.ends(), Some(1), "{}", frozen.all());
    let said = &frozen.seen[before..];
    let lost: Vec<_> = said
        .iter()
        .filter(|line| {
            line["message"]
                .to_string()
                .contains("shards that this one had")
        })
        .collect();
    assert_eq!(lost.len(), 1, "{}", frozen.all());
    assert_eq!(
        (&lost[0]["level"], &lost[0]["shards"]),
        (&"WARN".into(), &had)
    );
    let of_one_shard = said.iter().filter(|line| !line["shard"].is_null());
    assert_eq!(of_one_shard.count(), 0, "{}", frozen.all());
    assert_eq!(said.last().expect("a reason")["level"], "ERROR");
}

/// Runs a node that cannot start; all that it says.
fn refused(args: &[&str], environment: &[(&str, &str)]) -> Vec<Value> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_safe-chat"));
    let command = command.env_clear().envs(environment.iter().copied());
    let output = command.arg("serve").args(args).output().unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8(output.stderr).unwrap();
    let read = |line| serde_json::from_str(line).unwrap_or_else(|why| panic!("{why}: {said}"));
    said.lines().map(read).collect()
}

#[test]
fn the_last_words_of_a_node_that_logs_json_are_json() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let json = ("SAFE_CHAT_LOG__FORMAT", "json");
    // Also where the log has not started, and where it would be silent.
    let quiet = ("SAFE_CHAT_LOG__LEVEL", "off");
    for (args, environment, why) in [
        (
            &["--internal-port", &*port, "--log", "json"][..],
            &[][..],
            "--internal-port",
        ),
        (
            &["--internal-port", &port],
            &[json, quiet],
            "--internal-port",
        ),
        (
            &["--http-port", "many"],
            &[json],
            "gateway.port (flag --http-port)",
        ),
        (&["--config", "/nowhere", "--log", "json"], &[], "/nowhere"),
        (&[], &[json, ("SAFE_CHAT_OPPS__PORT", "1")], "not known"),
    ] {
        let environment = [environment, &[("HOSTNAME", "n1")]].concat();
        let said = refused(args, &environment);
        let last = said.last().expect("a reason");
        assert_eq!(
            (&last["level"], &last["node"]),
            (&"ERROR".into(), &"n1".into())
        );
        let message = last["message"].as_str().unwrap();
        assert!(message.contains(why), "{args:?}: {message}");
        assert!(last["timestamp"].as_str().unwrap().ends_with('Z'));
    }
}
