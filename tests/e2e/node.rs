//! A node as a process: started, watched through its internal port, stopped or killed. Whatever
//! happens to the test, it ends with it.

use crate::cluster::{PATIENCE, eventually};
use safe_chat::room::Incarnation;
use serde_json::Value;
use std::{
    fs::{self, File},
    net::TcpListener,
    process::{ExitStatus, Stdio},
    sync::atomic::{AtomicU16, Ordering::Relaxed},
    time::Duration,
};
use tempfile::TempDir;
use tokio::{
    process::{Child, Command},
    time::{Instant, sleep, timeout},
};

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

pub(crate) struct Node {
    name: String,
    /// Killed when it is dropped.
    child: Child,
    command: Command,
    logs: TempDir,
    http: u16,
    internal: u16,
}

impl Node {
    pub(crate) fn launch(
        name: &str,
        command: impl FnOnce(&[&str]) -> Command,
        flags: &[&str],
    ) -> Self {
        Self::launch_to(name, command, flags, None)
    }

    /// The same, with its log somewhere else than in a file.
    pub(crate) fn launch_to(
        name: &str,
        command: impl FnOnce(&[&str]) -> Command,
        flags: &[&str],
        stderr: Option<Stdio>,
    ) -> Self {
        let [http, internal] = free_ports();
        let logs = tempfile::tempdir().expect("a directory for logs");
        let mut command = command(flags);
        command.args([
            "--node",
            name,
            "--http-port",
            &http.to_string(),
            "--internal-port",
            &internal.to_string(),
        ]);
        command
            .kill_on_drop(true)
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        let child = match stderr {
            None => spawn(&mut command, &logs),
            Some(stderr) => {
                let child = command.stderr(stderr).spawn();
                // Else the end of a pipe would stay open here.
                command.stderr(Stdio::null());
                child.expect("the program can be started")
            }
        };
        Self {
            name: name.into(),
            child,
            command,
            logs,
            http,
            internal,
        }
    }

    /// Where clients come in.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.http)
    }

    /// Where operators come in.
    pub(crate) fn internal_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.internal)
    }

    /// Waits until operators would send clients to it.
    pub(crate) async fn ready(&mut self) {
        let until = Instant::now() + PATIENCE;
        while let Err(why) = self.readiness().await {
            if let Some(status) = self.child.try_wait().expect("a child of this process") {
                panic!("{} ended with {status}", self.name);
            }
            assert!(Instant::now() < until, "{} is not ready: {why}", self.name);
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until it says that it is not ready; why.
    pub(crate) async fn unready(&self) -> String {
        eventually("a node says that it is not ready", async || {
            self.readiness().await.is_err()
        })
        .await;
        self.readiness().await.err().unwrap_or_default()
    }

    /// Waits until it warns of something that does not keep it from being ready.
    pub(crate) async fn warned(&self, of: &str) {
        eventually("a node warns", async || {
            let answer: Value =
                serde_json::from_str(&self.internal("ready").await).unwrap_or_default();
            answer["warnings"].to_string().contains(of)
        })
        .await;
    }

    /// Waits until it ends by itself.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        timeout(PATIENCE, self.child.wait())
            .await
            .expect("an end in time")
            .expect("a child of this process")
    }

    async fn readiness(&self) -> Result<(), String> {
        let answer = reqwest::get(format!("http://127.0.0.1:{}/ready", self.internal))
            .await
            .map_err(|error| error.to_string())?;
        if answer.status().is_success() {
            return Ok(());
        }
        Err(answer.text().await.unwrap_or_default())
    }

    pub(crate) async fn metrics(&self) -> String {
        self.internal("metrics").await
    }

    /// What the internal port says at a path.
    pub(crate) async fn internal(&self, path: &str) -> String {
        let url = format!("http://127.0.0.1:{}/{path}", self.internal);
        reqwest::get(url)
            .await
            .expect("an answer")
            .text()
            .await
            .expect("text")
    }

    /// The last place of a room.
    pub(crate) async fn head(&self, room: &str) -> u64 {
        let Ok(answer) = reqwest::get(format!("{}/rooms/{room}/history?limit=1", self.url())).await
        else {
            return 0;
        };
        let page: Value = answer.json().await.unwrap_or_default();
        page["events"][0]["seq"].as_u64().unwrap_or(0)
    }

    /// kill -9.
    pub(crate) async fn kill(&mut self) {
        self.child.kill().await.expect("a child that runs");
    }

    /// SIGTERM; how it ended.
    pub(crate) async fn stop(&mut self) -> ExitStatus {
        self.signal("-TERM").await;
        timeout(PATIENCE, self.child.wait())
            .await
            .expect("an end in time")
            .expect("a child of this process")
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id().expect("a child that runs")
    }

    /// Sends it a signal, such as -STOP and -CONT.
    pub(crate) async fn signal(&self, signal: &str) {
        let id = self.id().to_string();
        let sent = Command::new("kill")
            .args([signal, &id])
            .status()
            .await
            .expect("kill can be run");
        assert!(sent.success(), "no signal to {}", self.name);
    }

    /// Starts it again as it was, and waits until it is ready.
    pub(crate) async fn restart(&mut self) {
        self.child = spawn(&mut self.command, &self.logs);
        self.ready().await;
    }

    /// Whether this is a run of it, by the banner.
    pub(crate) fn is(&self, incarnation: Incarnation) -> bool {
        self.logs()
            .contains(&format!("{} (incarnation {incarnation})", self.name))
    }

    /// All that it logged.
    pub(crate) fn logs(&self) -> String {
        fs::read_to_string(self.logs.path().join("stderr")).unwrap_or_default()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("--- log of {}\n{}", self.name, self.logs());
        }
    }
}

fn spawn(command: &mut Command, logs: &TempDir) -> Child {
    let log = File::options()
        .create(true)
        .append(true)
        .open(logs.path().join("stderr"))
        .expect("a file for logs");
    command
        .stderr(log)
        .spawn()
        .expect("the program can be started")
}

/// Ports that were free just now, below those that the system gives to outgoing connections: one of
/// these would take the port of a server that is stopped for a moment.
pub(crate) fn free_ports<const N: usize>() -> [u16; N] {
    const FIRST: u16 = 10_000;
    const LAST: u16 = 30_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Tests of other programs begin elsewhere.
    let start = std::process::id() as u16;
    // All are held until all are known, so that they differ.
    let held: [TcpListener; N] = std::array::from_fn(|_| {
        let numbers = (0..LAST - FIRST).map(|_| NEXT.fetch_add(1, Relaxed).wrapping_add(start));
        let mut ports = numbers.map(|number| FIRST + number % (LAST - FIRST));
        let free = ports.find_map(|port| TcpListener::bind(("127.0.0.1", port)).ok());
        free.expect("a free port")
    });
    held.map(|listener| listener.local_addr().expect("a bound port").port())
}
