//! The terminal client in a real terminal, against a server of a few lines: what a person types and
//! pastes; and what a script learns in place of a prompt.

use std::{
    fs::{File, OpenOptions},
    io::{BufRead, BufReader, Read, Write},
    net::SocketAddr,
    os::unix::ffi::OsStrExt,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use futures::{SinkExt, StreamExt};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::mpsc, time::timeout};
use tokio_tungstenite::{
    accept_hdr_async,
    tungstenite::{
        Message,
        handshake::server::{Request, Response},
    },
};

/// Bounds a wait; reached only by a failure.
const PATIENCE: Duration = Duration::from_secs(20);

/// A server with one room, which says `welcome` and reports every frame that it gets.
async fn server() -> (String, mpsc::UnboundedReceiver<Value>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (frames, heard) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        #[expect(clippy::result_large_err, reason = "the signature is the library's")]
        let answer = |request: &Request, mut response: Response| {
            let protocol = request.headers()["sec-websocket-protocol"].clone();
            let headers = response.headers_mut();
            headers.insert("sec-websocket-protocol", protocol);
            Ok(response)
        };
        let mut socket = accept_hdr_async(stream, answer).await.unwrap();
        for frame in [
            json!({"type": "welcome", "seq": 1, "recovered": true, "members": ["harry"]}),
            json!({"type": "event", "seq": 1, "at": 0, "kind": "joined", "from": "harry"}),
        ] {
            socket.send(Message::text(frame.to_string())).await.unwrap();
        }
        while let Some(Ok(message)) = socket.next().await {
            if let Message::Text(text) = message {
                frames.send(serde_json::from_str(&text).unwrap()).unwrap();
            }
        }
    });
    (url, heard)
}

/// The client, on a terminal of its own.
struct Terminal {
    keys: File,
    /// Chunks of what it printed.
    printed: mpsc::UnboundedReceiver<String>,
    seen: String,
    client: Child,
}

impl Terminal {
    fn open(url: &str, columns: u16) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let size = Winsize {
            ws_row: 24,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let name = ptsname(&master, Vec::new()).unwrap();
        let path = Path::new(std::ffi::OsStr::from_bytes(name.as_bytes())).to_owned();
        let slave = OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
            .unwrap();
        tcsetwinsize(&slave, size).unwrap();
        let end = || Stdio::from(slave.try_clone().unwrap());
        let client = Command::new(env!("CARGO_BIN_EXE_safe-chat"))
            .args([
                "chat", url, "--room", "aaa", "--user", "harry", "--key", "KEY",
            ])
            .env_clear()
            .env("TERM", "xterm")
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .spawn()
            .unwrap();
        let keys = File::from(master);
        let mut screen = keys.try_clone().unwrap();
        let (sender, printed) = mpsc::unbounded_channel();
        std::thread::spawn(move || {
            let mut chunk = [0; 4096];
            while let Ok(read @ 1..) = screen.read(&mut chunk) {
                let text = String::from_utf8_lossy(&chunk[..read]).into_owned();
                if sender.send(text).is_err() {
                    return;
                }
            }
        });
        Self {
            keys,
            printed,
            seen: String::new(),
            client,
        }
    }

    /// In the room, with a prompt that says nothing of the connection any more.
    async fn joined(url: &str, columns: u16) -> Self {
        let mut terminal = Self::open(url, columns);
        terminal.shows("\u{1b}[?2004h").await;
        terminal.shows("joined #aaa").await;
        terminal
    }

    fn types(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    fn pastes(&mut self, block: &str) {
        self.types(&format!("\u{1b}[200~{block}\u{1b}[201~"));
    }

    /// Waits until this was printed; forgets what came before.
    async fn shows(&mut self, what: &str) {
        loop {
            if let Some(at) = self.seen.find(what) {
                self.seen.drain(..at + what.len());
                return;
            }
            let next = timeout(PATIENCE, self.printed.recv()).await;
            let chunk = next.ok().flatten();
            self.seen += &chunk.unwrap_or_else(|| panic!("{what:?} is missing in {:?}", self.seen));
        }
    }

    /// The exit code, once the client gave the terminal back.
    async fn ends(mut self) -> Option<i32> {
        self.shows("\u{1b}[?2004l").await;
        let code = self.client.wait().unwrap().code();
        let modes = tcgetattr(&self.keys).unwrap().local_modes;
        assert!(modes.contains(LocalModes::ECHO | LocalModes::ICANON), "raw");
        code
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.client.kill();
        let _ = self.client.wait();
    }
}

async fn text_of_next(heard: &mut mpsc::UnboundedReceiver<Value>) -> String {
    let frame = timeout(PATIENCE, heard.recv()).await;
    let frame = frame.expect("a frame in time").expect("a server");
    assert_eq!(frame["type"], "send", "{frame}");
    frame["text"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pasted_block_is_one_message_after_enter() {
    let (url, mut heard) = server().await;
    let mut terminal = Terminal::joined(&url, 80).await;
    terminal.pastes("one\rtwo\r\r  four\r");
    terminal.shows("  four").await;
    terminal.types("\r");
    assert_eq!(text_of_next(&mut heard).await, "one\ntwo\n\n  four");
    terminal.types("\u{3}");
    assert_eq!(terminal.ends().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_that_are_typed_are_messages_of_their_own_however_fast() {
    let (url, mut heard) = server().await;
    let mut terminal = Terminal::joined(&url, 80).await;
    terminal.types("one\rtwo\nthree\r");
    for expected in ["one", "two", "three"] {
        assert_eq!(text_of_next(&mut heard).await, expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_over_the_limit_is_refused_and_what_was_written_stays() {
    let (url, mut heard) = server().await;
    let mut terminal = Terminal::joined(&url, 80).await;
    terminal.types("abc");
    terminal.pastes(&"0123456789abcde\r".repeat(1024));
    terminal
        .shows("! too long: with this the message has 16386 bytes, at most 16384 are possible")
        .await;
    terminal.types("\r");
    assert_eq!(text_of_next(&mut heard).await, "abc");
    let block = format!("{}\r", "0123456789abcde".repeat(1000));
    terminal.pastes(&block);
    terminal.types("\r");
    assert_eq!(text_of_next(&mut heard).await, block.trim_end());
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_ends_the_client_the_terminal_is_given_back() {
    for signal in ["-TERM", "-HUP"] {
        let (url, _heard) = server().await;
        let terminal = Terminal::joined(&url, 80).await;
        let pid = terminal.client.id().to_string();
        assert!(
            Command::new("kill")
                .args([signal, &pid])
                .status()
                .unwrap()
                .success()
        );
        assert_eq!(terminal.ends().await, Some(0), "{signal}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_of_no_or_little_width_is_one_too() {
    for columns in [0, 1, 5, 300] {
        let (url, mut heard) = server().await;
        let mut terminal = Terminal::joined(&url, columns).await;
        terminal.pastes("a line that is longer than most of these\r漢字");
        terminal.types("\r");
        let sent = text_of_next(&mut heard).await;
        assert_eq!(
            sent, "a line that is longer than most of these\n漢字",
            "{columns}"
        );
    }
}

/// A client that is a script: its stdin stays open.
fn script(at: SocketAddr, home: &Path) -> Child {
    let url = format!("http://{at}");
    let mut chat = Command::new(env!("CARGO_BIN_EXE_safe-chat"));
    chat.args(["chat", &url, "--room", "aaa", "--user", "harry"]);
    chat.env_clear().env("HOME", home).stdin(Stdio::piped());
    chat.stdout(Stdio::null()).stderr(Stdio::piped());
    chat.spawn().unwrap()
}

#[test]
fn a_script_is_told_once_which_server_does_not_answer() {
    // Takes connections and says nothing, as a node without its NATS does for a while.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let at = silent.local_addr().unwrap();
    let home = tempfile::tempdir().unwrap();
    let mut chat = script(at, home.path());
    let mut said = BufReader::new(chat.stderr.take().unwrap()).lines();
    let line = said.next().unwrap().unwrap();
    assert_eq!(line, format!("no answer yet from ws://{at}: waiting"));
    // Now it refuses, and for good.
    let (mut stream, _) = silent.accept().unwrap();
    let body = r#"{"error":{"reason":"key_mismatch","message":"another key is pinned"}}"#;
    let head = format!(
        "HTTP/1.1 403 Forbidden\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all((head + body).as_bytes()).unwrap();
    let rest: Vec<_> = said.map(Result::unwrap).collect();
    let key = home.path().join(".config/safe-chat/key");
    let why = format!(
        "error: key_mismatch: another key is pinned (the key tried is that in {}; --key-file FILE brings \
         another one, --user NAME takes another name)",
        key.display()
    );
    assert_eq!((rest, chat.wait().unwrap().code()), (vec![why], Some(1)));
}
