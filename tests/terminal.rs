//! The terminal client in a real terminal, against a server of a few lines: what a person types and
//! pastes; and what a script learns in place of a prompt.

#[path = "support/terminal.rs"]
mod terminal;

use std::{
    io::{BufRead, BufReader, Write},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use terminal::Terminal;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::timeout,
};
use tokio_tungstenite::{
    WebSocketStream, accept_hdr_async,
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
        let mut socket = session(stream).await;
        let joined = json!({"type": "event", "seq": 1, "at": 0, "kind": "joined", "from": "harry"});
        socket
            .send(Message::text(joined.to_string()))
            .await
            .unwrap();
        while let Some(Ok(message)) = socket.next().await {
            if let Message::Text(text) = message {
                frames.send(serde_json::from_str(&text).unwrap()).unwrap();
            }
        }
    });
    (url, heard)
}

/// A session of harry, whom a server has welcomed.
async fn session(stream: TcpStream) -> WebSocketStream<TcpStream> {
    #[expect(clippy::result_large_err, reason = "the signature is the library's")]
    let answer = |request: &Request, mut response: Response| {
        let protocol = request.headers()["sec-websocket-protocol"].clone();
        let headers = response.headers_mut();
        headers.insert("sec-websocket-protocol", protocol);
        Ok(response)
    };
    let mut socket = accept_hdr_async(stream, answer).await.unwrap();
    let welcome = json!({"type": "welcome", "seq": 1, "recovered": true, "members": ["harry"]});
    socket
        .send(Message::text(welcome.to_string()))
        .await
        .unwrap();
    socket
}

/// Harry's terminal, in the room, with a prompt that says nothing of the connection any more.
async fn joined(url: &str, columns: u16) -> Terminal {
    let mut terminal = opened(url, columns);
    terminal.shows("\u{1b}[?2004h").await;
    terminal.shows("joined #aaa").await;
    terminal
}

fn opened(url: &str, columns: u16) -> Terminal {
    let arguments = [url, "--room", "aaa", "--user", "harry", "--key", "KEY"];
    Terminal::open(&arguments, columns)
}

fn paste(terminal: &mut Terminal, block: &str) {
    terminal.types(&format!("\u{1b}[200~{block}\u{1b}[201~"));
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
    let mut terminal = joined(&url, 80).await;
    paste(&mut terminal, "one\rtwo\r\r  four\r");
    terminal.shows("  four").await;
    terminal.types("\r");
    assert_eq!(text_of_next(&mut heard).await, "one\ntwo\n\n  four");
    terminal.types("\u{3}");
    assert_eq!(terminal.ends().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_that_are_typed_are_messages_of_their_own_however_fast() {
    let (url, mut heard) = server().await;
    let mut terminal = joined(&url, 80).await;
    terminal.types("one\rtwo\nthree\r");
    for expected in ["one", "two", "three"] {
        assert_eq!(text_of_next(&mut heard).await, expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_over_the_limit_is_refused_and_what_was_written_stays() {
    let (url, mut heard) = server().await;
    let mut terminal = joined(&url, 80).await;
    terminal.types("abc");
    paste(&mut terminal, &"0123456789abcde\r".repeat(1024));
    terminal
        .shows("! too long: with this the message has 16386 bytes, at most 16384 are possible")
        .await;
    terminal.types("\r");
    assert_eq!(text_of_next(&mut heard).await, "abc");
    let block = format!("{}\r", "0123456789abcde".repeat(1000));
    paste(&mut terminal, &block);
    terminal.types("\r");
    assert_eq!(text_of_next(&mut heard).await, block.trim_end());
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_ends_the_client_the_terminal_is_given_back() {
    for signal in ["-TERM", "-HUP"] {
        let (url, _heard) = server().await;
        let terminal = joined(&url, 80).await;
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
async fn what_waits_is_lost_only_by_whoever_says_so_twice_in_a_row() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", nobody.local_addr().unwrap());
    drop(nobody);
    let mut terminal = opened(&url, 200);
    terminal.types("a message\r");
    terminal.shows("a message").await;
    for _ in 0..2 {
        terminal.types("/quit\r");
        terminal.shows("without it by /quit once more").await;
        terminal.types("/help\r");
        terminal.shows("earlier events").await;
    }
    terminal.types("/quit\r/quit\r");
    assert_eq!(terminal.ends().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_of_no_or_little_width_is_one_too() {
    for columns in [0, 1, 5, 300] {
        let (url, mut heard) = server().await;
        let mut terminal = joined(&url, columns).await;
        paste(
            &mut terminal,
            "a line that is longer than most of these\r漢字",
        );
        terminal.types("\r");
        let sent = text_of_next(&mut heard).await;
        assert_eq!(
            sent, "a line that is longer than most of these\n漢字",
            "{columns}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_outlasts_what_answers_in_the_place_of_its_server() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        drop(session(stream).await);
        // A proxy that wants a login, one that shows a page, and one that shuts people out.
        for head in ["302 Found\r\nlocation: /login", "200 OK", "403 Forbidden"] {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                request.push(stream.read_u8().await.unwrap());
            }
            let answer = format!("HTTP/1.1 {head}\r\ncontent-length: 6\r\n\r\n<html>");
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
        let (stream, _) = listener.accept().await.unwrap();
        session(stream).await
    });
    let mut terminal = opened(&url, 200);
    terminal.shows("joined #aaa").await;
    for status in [302, 200, 403] {
        terminal.shows(&format!("HTTP {status}: ")).await;
        terminal
            .shows("no safe-chat answered there; trying on")
            .await;
    }
    terminal.shows("connected again").await;
    let _socket = server.await.unwrap();
    terminal.types("/quit\r");
    assert_eq!(terminal.ends().await, Some(0));
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
        "error: key_mismatch: the name harry has another key in this room (the key tried is that in {}; --key-file FILE brings \
         another one, --user NAME takes another name)",
        key.display()
    );
    assert_eq!((rest, chat.wait().unwrap().code()), (vec![why], Some(1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_passphrase_of_a_key_is_asked_for_and_not_shown() {
    let home = tempfile::tempdir().unwrap();
    let key = home.path().join("key");
    let key = key.to_str().unwrap();
    let mut make = Command::new(env!("CARGO_BIN_EXE_safe-chat"))
        .args(["keys", "new", "--protect", "--key-file", key])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let stdin = make.stdin.take();
    stdin.unwrap().write_all(b"correct horse battery").unwrap();
    assert!(make.wait().unwrap().success());
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", nobody.local_addr().unwrap());
    let chat = |typed: &'static str| {
        // A session of its own, as a shell has one: a passphrase is asked for where it is controlled.
        let mut program = Command::new("setsid");
        program.args(["--ctty", env!("CARGO_BIN_EXE_safe-chat"), "chat", &url]);
        program.args(["--room", "aaa", "--user", "harry", "--key-file", key]);
        let mut terminal = Terminal::run(program, 200);
        async move {
            let asked = format!("Passphrase of the key in {key}: ");
            terminal.shows(&asked).await;
            terminal.hides().await;
            terminal.types(&format!("{typed}\r"));
            terminal
        }
    };
    let mut terminal = chat("correct horse battery").await;
    let shown = terminal.shows_up_to("\u{1b}[?2004h").await;
    assert!(!shown.contains("horse"), "{shown}");
    let mut terminal = chat("correct horse batterx").await;
    let shown = terminal
        .shows_up_to("the passphrase does not open it")
        .await;
    assert!(
        shown.contains("error: ") && !shown.contains("horse"),
        "{shown}"
    );
    assert_eq!(terminal.client.wait().unwrap().code(), Some(1));
}

#[test]
fn nobody_is_asked_for_a_passphrase_where_nobody_is() {
    let home = tempfile::tempdir().unwrap();
    let (key, passphrase) = (home.path().join("key"), home.path().join("passphrase"));
    std::fs::write(&passphrase, "correct horse battery\n").unwrap();
    let program = |args: &[&str]| {
        let mut program = Command::new(env!("CARGO_BIN_EXE_safe-chat"));
        program.args(args).arg("--key-file").arg(&key);
        program.stdin(std::fs::File::open(&passphrase).unwrap());
        program
    };
    let made = program(&["keys", "new", "--protect"]).output().unwrap();
    assert!(made.status.success());
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", nobody.local_addr().unwrap());
    let chat = ["chat", &url, "--room", "aaa", "--user", "harry"];
    let refused = program(&chat).output().unwrap();
    let stderr = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(1), "{stderr}");
    let says = ["protected by a passphrase", "--passphrase-file", "horse"];
    assert_eq!(
        says.map(|what| stderr.contains(what)),
        [true, true, false],
        "{stderr}"
    );
    // With the file it gets on, to a server that is not there for long.
    let mut chat = program(&chat);
    chat.arg("--passphrase-file").arg(&passphrase);
    let mut chat = chat.stderr(Stdio::piped()).spawn().unwrap();
    let (stream, _) = nobody.accept().unwrap();
    drop((stream, nobody));
    let _ = chat.kill();
    chat.wait().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_is_named_and_a_hint_names_what_can_be_done() {
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", nobody.local_addr().unwrap());
    drop(nobody);
    let mut terminal = opened(&url, 200);
    terminal.types("lost words\r");
    terminal.shows("waiting to be sent: lost words").await;
    terminal.types("/back\r");
    let mut shown = terminal.shows_up_to("! /back: you came here from no").await;
    terminal.types("/leave\r");
    shown += &terminal.shows_up_to("! this is no sealed room").await;
    terminal.types("/dm charly\r");
    shown += &terminal.shows_up_to("! this is no sealed room").await;
    terminal.types("/share\r");
    shown += &terminal.shows_up_to("! /share NAME [N]").await;
    assert!(!shown.contains("once more"), "{shown}");
    terminal.types("/quit\r");
    terminal.shows("by /quit once more").await;
    terminal.types("/quit\r");
    terminal
        .shows("! not known to be in the room, and not kept: lost words")
        .await;
    assert_eq!(terminal.ends().await, Some(0));
}
