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
    let pid = first.process.id().to_string();
    let asked = Command::new("kill").args(["-TERM", &pid]).status();
    assert!(asked.unwrap().success());
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
