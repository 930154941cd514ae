//! A nats-server of a test's own: what an operator does to it, the test does.

use crate::{
    cluster::{Cluster, PATIENCE, eventually},
    node::free_ports,
    support,
};
use async_nats::{Client, HeaderMap};
use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use futures::StreamExt;
use serde_json::{Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::TcpStream,
    time::{Duration, Instant, sleep, timeout},
};

/// A nats-server process with its directory; ends with the test.
pub(crate) struct Server {
    program: String,
    directory: TempDir,
    port: u16,
    child: Option<Child>,
}

impl Server {
    /// Starts one; `None` when there is no program.
    pub(crate) async fn start(claim: &str) -> Option<Self> {
        let program = support::server("SAFE_CHAT_TEST_NATS_SERVER", claim)?;
        let [port] = free_ports();
        let mut server = Self {
            program,
            directory: tempfile::tempdir().expect("a directory"),
            port,
            child: None,
        };
        server.configure("");
        server.run().await;
        Some(server)
    }

    /// A cluster of nodes on it, with the journal on the bus.
    pub(crate) fn cluster(&self) -> Cluster {
        Cluster::nowhere(format!("nats://127.0.0.1:{}", self.port))
    }

    /// What an operator's tool has: a connection.
    pub(crate) async fn operator(&self) -> Operator {
        let client = async_nats::connect(format!("127.0.0.1:{}", self.port)).await;
        Operator(client.expect("a connection"))
    }

    /// Writes its configuration; `more` is added to what every test needs.
    pub(crate) fn configure(&self, more: &str) {
        let (port, store) = (self.port, self.store().display().to_string());
        let text = format!(
            "listen: \"127.0.0.1:{port}\"\njetstream {{ store_dir: \"{store}\" }}\n{more}\n"
        );
        fs::write(self.config(), text).expect("a configuration");
    }

    /// Starts it again with another configuration.
    pub(crate) async fn run_with(&mut self, more: &str) {
        self.stop();
        self.configure(more);
        self.run().await;
    }

    /// Starts it again as one that writes to its disk so often, and then frees what was removed.
    pub(crate) async fn syncs_every(&mut self, interval: &str) {
        let store = self.store().display().to_string();
        let again =
            format!("jetstream {{ store_dir: \"{store}\", sync_interval: \"{interval}\" }}");
        self.run_with(&again).await;
    }

    /// Where it is, by a name that certificates can carry.
    pub(crate) fn at(&self) -> String {
        format!("localhost:{}", self.port)
    }

    /// Makes it read its configuration again.
    pub(crate) fn reload(&self) {
        self.signal("HUP");
    }

    /// Until it tells newcomers that this is the most bytes of a message.
    pub(crate) async fn takes_at_most(&self, bytes: usize) {
        let wanted = format!("\"max_payload\":{bytes},");
        eventually("the server greets with its limit", async || {
            let greeted = TcpStream::connect(("127.0.0.1", self.port)).await;
            let mut greeted = BufReader::new(greeted.expect("a server"));
            let mut info = String::new();
            greeted.read_line(&mut info).await.expect("a greeting");
            info.contains(&wanted)
        })
        .await;
    }

    pub(crate) async fn run(&mut self) {
        let mut command = Command::new(&self.program);
        command.arg("--config").arg(self.config());
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        self.child = Some(child.expect("SAFE_CHAT_TEST_NATS_SERVER can be run"));
        let until = Instant::now() + PATIENCE;
        while TcpStream::connect(("127.0.0.1", self.port)).await.is_err() {
            assert!(Instant::now() < until, "nats-server does not start");
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// Ends it in order.
    pub(crate) fn stop(&mut self) {
        self.signal("TERM");
        let ended = self.child.take().map(|mut child| child.wait());
        ended
            .expect("a server that runs")
            .expect("a child of this process");
    }

    /// Copies its store, for [`Server::restore`]. It does not run.
    pub(crate) fn back_up(&self) {
        copy(&self.store(), &self.backup());
    }

    /// Puts the copy back in place of the store. It does not run.
    pub(crate) fn restore(&self) {
        fs::remove_dir_all(self.store()).expect("a store");
        copy(&self.backup(), &self.store());
    }

    fn signal(&self, signal: &str) {
        let id = self.child.as_ref().expect("a server that runs").id();
        let sent = Command::new("kill")
            .args([format!("-{signal}"), id.to_string()])
            .status();
        assert!(sent.is_ok_and(|status| status.success()), "kill -{signal}");
    }

    /// Where its server logs, if its configuration says so.
    pub(crate) fn log(&self) -> PathBuf {
        self.directory.path().join("log")
    }

    fn config(&self) -> PathBuf {
        self.directory.path().join("nats.conf")
    }

    /// The streams in whose files a text is, in whatever form.
    pub(crate) fn has_in_files(&self, text: &str) -> Vec<String> {
        let streams = self.store().join("jetstream/$G/streams");
        let found = loadtest::sealed::Marker::new(text).files(&streams);
        let (found, _) = found.expect("files that can be read");
        let stream = |path: &PathBuf| {
            let inside = path.strip_prefix(&streams).ok()?;
            let name = inside.components().next()?.as_os_str();
            Some(name.to_string_lossy().into_owned())
        };
        let mut found: Vec<String> = found.iter().filter_map(stream).collect();
        found.sort_unstable();
        found.dedup();
        found
    }

    fn store(&self) -> PathBuf {
        self.directory.path().join("store")
    }

    fn backup(&self) -> PathBuf {
        self.directory.path().join("backup")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill().and_then(|()| child.wait());
        }
    }
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).status();
    assert!(copied.is_ok_and(|status| status.success()), "a copy");
}

/// A stream, as a server hands it out.
pub(crate) struct Backup {
    /// Its configuration, and how much it held.
    about: Value,
    content: Vec<Bytes>,
}

/// Somebody with the rights of an operator.
pub(crate) struct Operator(Client);

impl Operator {
    pub(crate) async fn delete(&self, stream: &str) {
        self.must(&format!("STREAM.DELETE.{stream}"), &json!({}))
            .await;
    }

    pub(crate) async fn create(&self, config: &Value) {
        let name = config["name"].as_str().expect("a name");
        self.must(&format!("STREAM.CREATE.{name}"), config).await;
    }

    /// Changes some members of a stream's configuration; how it was.
    pub(crate) async fn edit(&self, stream: &str, changes: &Value) -> Value {
        let before = self.config(stream).await.expect("a stream");
        let mut config = before.clone();
        for (key, value) in changes.as_object().expect("changes") {
            config[key] = value.clone();
        }
        self.must(&format!("STREAM.UPDATE.{stream}"), &config).await;
        before
    }

    /// Puts a configuration back.
    pub(crate) async fn update(&self, config: &Value) {
        let name = config["name"].as_str().expect("a name");
        self.must(&format!("STREAM.UPDATE.{name}"), config).await;
    }

    /// `None`: there is no such stream.
    pub(crate) async fn config(&self, stream: &str) -> Option<Value> {
        let info = self.ask(&format!("STREAM.INFO.{stream}"), &json!({})).await;
        Some(info["config"].clone()).filter(Value::is_object)
    }

    /// Deletes all consumers of a stream; how many.
    pub(crate) async fn delete_consumers(&self, stream: &str) -> usize {
        let names = self.consumers(stream).await;
        for name in &names {
            self.must(&format!("CONSUMER.DELETE.{stream}.{name}"), &json!({}))
                .await;
        }
        names.len()
    }

    /// Makes all consumers of a stream deliver nothing; how many.
    pub(crate) async fn pause_consumers(&self, stream: &str) -> usize {
        let pause = json!({ "pause_until": "2099-01-01T00:00:00Z" });
        let names = self.consumers(stream).await;
        for name in &names {
            // One that was made anew meanwhile is not there.
            self.ask(&format!("CONSUMER.PAUSE.{stream}.{name}"), &pause)
                .await;
        }
        names.len()
    }

    /// Changes all consumers of a stream; how many.
    pub(crate) async fn change_consumers(&self, stream: &str, changes: &Value) -> usize {
        let names = self.consumers(stream).await;
        for name in &names {
            let info = self
                .ask(&format!("CONSUMER.INFO.{stream}.{name}"), &json!({}))
                .await;
            let mut config = info["config"].clone();
            for (key, value) in changes.as_object().expect("changes") {
                config[key] = value.clone();
            }
            let filter = config["filter_subject"].as_str().expect("a filter");
            let call = format!("CONSUMER.CREATE.{stream}.{name}.{filter}");
            let update = json!({ "stream_name": stream, "config": config, "action": "update" });
            self.must(&call, &update).await;
        }
        names.len()
    }

    async fn consumers(&self, stream: &str) -> Vec<String> {
        let names = self
            .must(&format!("CONSUMER.NAMES.{stream}"), &json!({}))
            .await;
        serde_json::from_value(names["consumers"].clone()).unwrap_or_default()
    }

    /// Stores a message; its position.
    pub(crate) async fn store(&self, subject: &str, headers: HeaderMap, payload: &str) -> u64 {
        let payload = payload.as_bytes().to_vec().into();
        self.store_bytes(subject, headers, payload).await
    }

    pub(crate) async fn store_bytes(
        &self,
        subject: &str,
        headers: HeaderMap,
        payload: Bytes,
    ) -> u64 {
        let stored = self
            .0
            .request_with_headers(subject.to_owned(), headers, payload)
            .await;
        let stored = stored.expect("an answer of JetStream").payload;
        let stored: Value = serde_json::from_slice(&stored).expect("JSON");
        stored["seq"].as_u64().expect("a position")
    }

    /// The last message of a subject.
    pub(crate) async fn last(&self, stream: &str, subject: &str) -> String {
        let asked = json!({ "last_by_subj": subject });
        let found = self.ask(&format!("STREAM.MSG.GET.{stream}"), &asked).await;
        let data = found["message"]["data"].as_str().unwrap_or_default();
        let data = BASE64_STANDARD.decode(data).expect("base64");
        String::from_utf8_lossy(&data).into_owned()
    }

    /// The number in a header of the last message of a subject.
    pub(crate) async fn number(&self, stream: &str, subject: &str, header: &str) -> u64 {
        let asked = json!({ "last_by_subj": subject });
        let found = self.ask(&format!("STREAM.MSG.GET.{stream}"), &asked).await;
        let headers = found["message"]["hdrs"].as_str().unwrap_or_default();
        let headers = BASE64_STANDARD.decode(headers).expect("base64");
        let headers = String::from_utf8_lossy(&headers).into_owned();
        let mut lines = headers.lines().filter_map(|line| line.split_once(": "));
        let found = lines.find(|(name, _)| *name == header);
        found.expect("the header").1.parse().expect("a number")
    }

    pub(crate) async fn remove(&self, stream: &str, position: u64) {
        let call = format!("STREAM.MSG.DELETE.{stream}");
        self.must(&call, &json!({ "seq": position })).await;
    }

    /// The first and the last position.
    pub(crate) async fn range(&self, stream: &str) -> (u64, u64) {
        let info = self
            .must(&format!("STREAM.INFO.{stream}"), &json!({}))
            .await;
        let position = |key: &str| info["state"][key].as_u64().expect("a position");
        (position("first_seq"), position("last_seq"))
    }

    /// Removes all messages but the newest.
    pub(crate) async fn purge(&self, stream: &str, keep: u64) {
        let call = format!("STREAM.PURGE.{stream}");
        self.must(&call, &json!({ "keep": keep })).await;
    }

    /// How many messages of a stream a filter names.
    pub(crate) async fn count(&self, stream: &str, filter: &str) -> usize {
        let asked = json!({ "subjects_filter": filter });
        let info = self.ask(&format!("STREAM.INFO.{stream}"), &asked).await;
        info["state"]["subjects"]
            .as_object()
            .map_or(0, |all| all.len())
    }

    /// The names of all streams.
    pub(crate) async fn streams(&self) -> Vec<String> {
        let names = self.must("STREAM.NAMES", &json!({})).await;
        serde_json::from_value(names["streams"].clone()).expect("names")
    }

    /// A backup of a stream, of what it is at this moment.
    pub(crate) async fn back_up(&self, stream: &str) -> Backup {
        let inbox = self.0.new_inbox();
        let mut parts = self.0.subscribe(inbox.clone()).await.expect("a subject");
        let asked = json!({ "deliver_subject": inbox, "chunk_size": 65_536, "jsck": true });
        let about = self
            .must(&format!("STREAM.SNAPSHOT.{stream}"), &asked)
            .await;
        let mut content = Vec::new();
        loop {
            let next = timeout(PATIENCE, parts.next()).await;
            let part = next.expect("a part in time").expect("a connection");
            if let Some(reply) = part.reply {
                let taken = self.0.publish(reply, Bytes::new()).await;
                taken.expect("a connection");
            }
            if part.payload.is_empty() {
                let (config, state) = (about["config"].clone(), about["state"].clone());
                let about = json!({ "config": config, "state": state });
                return Backup { about, content };
            }
            content.push(part.payload);
        }
    }

    /// Makes a stream again as it was; there is none of its name.
    pub(crate) async fn restore(&self, Backup { about, content }: &Backup) {
        let stream = about["config"]["name"].as_str().expect("a name");
        let begun = self.must(&format!("STREAM.RESTORE.{stream}"), about).await;
        let to = begun["deliver_subject"].as_str().expect("a subject");
        let end = Bytes::new();
        for part in content.iter().chain([&end]) {
            let taken = self.0.request(to.to_owned(), part.clone()).await;
            let said = taken.expect("an answer of JetStream").payload;
            let said = String::from_utf8_lossy(&said);
            assert!(!said.contains("\"error\""), "{stream}: {said}");
        }
    }

    async fn must(&self, call: &str, body: &Value) -> Value {
        let answer = self.ask(call, body).await;
        assert!(answer["error"].is_null(), "{call}: {answer}");
        answer
    }

    async fn ask(&self, call: &str, body: &Value) -> Value {
        let asked = self
            .0
            .request(format!("$JS.API.{call}"), body.to_string().into());
        let answer = asked.await.expect("an answer of JetStream");
        serde_json::from_slice(&answer.payload).expect("JSON")
    }
}
