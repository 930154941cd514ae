//! Event streams as a browser reads them, and clients that gave up while the node stood still.

use crate::world::{
    LONG, World,
    server::{Server, Socket, code, frame, say},
};
use safe_chat::gateway::Config;
use std::time::Duration;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    time::timeout,
};

/// An `EventSource`, as browsers have it: what it keeps between connections is its last id.
struct Source {
    url: String,
    host: String,
    last: String,
    lines: Option<BufReader<TcpStream>>,
    retry: u64,
}

/// One event of it.
#[derive(Debug, PartialEq)]
struct Event {
    name: String,
    id: String,
}

impl Source {
    fn new(server: &Server, query: &str) -> Self {
        Self {
            url: format!("/rooms/aaa/events{query}"),
            host: server.address.clone(),
            last: String::new(),
            lines: None,
            retry: 0,
        }
    }

    /// Connects, as it does again and again unless the answer is not 200.
    async fn connect(&mut self) {
        let mut stream = TcpStream::connect(&self.host).await.unwrap();
        let (url, host, last) = (&self.url, &self.host, &self.last);
        let id = match last.is_empty() {
            true => String::new(),
            false => format!("Last-Event-ID: {last}\r\n"),
        };
        let head = format!(
            "GET {url} HTTP/1.1\r\nHost: {host}\r\nAccept: text/event-stream\r\n\
             Connection: close\r\n{id}\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut lines = BufReader::new(stream);
        assert!(
            line(&mut lines).await.starts_with("HTTP/1.1 200"),
            "final for a browser"
        );
        let mut head = String::new();
        while !head.ends_with("\n\n") {
            head = head + &line(&mut lines).await + "\n";
        }
        assert!(head.contains("content-type: text/event-stream"), "{head}");
        self.lines = Some(lines);
    }

    /// Reads until the id, the retry or an event comes; an event with its name and id.
    async fn block(&mut self) -> Option<Event> {
        let lines = self.lines.as_mut().unwrap();
        let (mut name, mut data) = ("message".to_owned(), false);
        loop {
            let text = line(lines).await;
            if let Some(id) = text.strip_prefix("id: ") {
                self.last = id.to_owned();
            } else if let Some(event) = text.strip_prefix("event: ") {
                name = event.to_owned();
            } else if let Some(retry) = text.strip_prefix("retry: ") {
                self.retry = retry.parse().unwrap();
            } else if text.starts_with("data: ") {
                data = true;
            } else if text.is_empty() {
                let id = self.last.clone();
                return data.then_some(Event { name, id });
            }
        }
    }

    /// The next event; what comes before is taken note of.
    async fn event(&mut self) -> (String, String) {
        loop {
            if let Some(Event { name, id }) = self.block().await {
                return (name, id);
            }
        }
    }
}

/// A line without its end; chunk sizes are lines, too, and are skipped with the line that they end.
async fn line(lines: &mut BufReader<TcpStream>) -> String {
    let mut text = String::new();
    timeout(LONG, lines.read_line(&mut text))
        .await
        .expect("a line")
        .unwrap();
    let bare = text.trim_end();
    bare.to_owned()
}

async fn room(server: &Server, head: u64) -> Socket {
    let mut harry = server.json("harry", "&history=0").await;
    frame(&mut harry, "welcome").await;
    for n in 2..=head {
        tell(&mut harry, n).await;
    }
    harry
}

async fn tell(harry: &mut Socket, n: u64) {
    say(
        harry,
        format!(r#"{{"type":"send","id":"m{n}","text":"x"}}"#),
    )
    .await;
    frame(harry, "journaled").await;
}

fn event(name: &str, id: u64) -> (String, String) {
    (name.into(), id.to_string())
}

#[tokio::test]
async fn a_browser_that_was_reset_loses_nothing_when_it_comes_again() {
    let server = Server::start().await;
    let mut harry = room(&server, 5).await;
    let mut source = Source::new(&server, "?history=0");
    source.last = "100".into();
    source.connect().await;
    assert_eq!(source.event().await, event("reset", 5));
    // The connection breaks before the first event; 120 of them come meanwhile.
    source.lines = None;
    for n in 6..=125 {
        tell(&mut harry, n).await;
    }
    source.connect().await;
    for seq in 6..=125 {
        assert_eq!(source.event().await, event("message", seq));
    }
}

#[tokio::test]
async fn a_stream_without_history_begins_with_an_id() {
    for (head, query) in [
        (0, ""),
        (1, "?history=0"),
        (5, "?since=5"),
        (6, "?history=0"),
    ] {
        let server = Server::start().await;
        let mut harry = None;
        if head > 0 {
            harry = Some(room(&server, head).await);
        }
        let mut source = Source::new(&server, query);
        source.connect().await;
        while source.last.is_empty() {
            assert_eq!(source.block().await, None, "no event");
        }
        let known: u64 = source.last.parse().unwrap();
        source.lines = None;
        if let Some(harry) = &mut harry {
            tell(harry, 1000 + head).await;
            source.connect().await;
            assert_eq!(source.event().await, event("message", known + 1), "{query}");
        } else {
            assert_eq!(known, 0);
        }
    }
}

#[tokio::test]
async fn an_empty_last_event_id_is_none() {
    let server = Server::start().await;
    let _harry = room(&server, 60).await;
    for (query, first) in [("", 11), ("?since=3", 4), ("?history=2", 59)] {
        let mut source = Source::new(&server, query);
        source.last = " ".into();
        source.connect().await;
        source.last.clear();
        assert_eq!(source.event().await, event("message", first), "{query}");
    }
}

#[tokio::test]
async fn a_browser_waits_for_a_takeover_and_is_told_to_come_back_later() {
    let mut server = Server::of(World::deserted(), Config::default()).await.run();
    let mut source = Source::new(&server, "");
    let owned = async {
        // Longer than a join may take.
        tokio::time::sleep(Duration::from_secs(11)).await;
        server.world.own().await;
    };
    tokio::join!(owned, source.connect());
    assert_eq!(source.block().await, None);

    server.handle.refuse();
    source.connect().await;
    while source.retry != 1000 {
        assert_eq!(
            source.block().await,
            None,
            "an end with a time to come back"
        );
    }
    // Others than browsers see the refusal as it is.
    let plain = reqwest::get(server.url("/rooms/aaa/events")).await.unwrap();
    assert_eq!(
        (plain.status().as_u16(), &plain.headers()["retry-after"]),
        (503, &"1".parse().unwrap())
    );
}

#[tokio::test]
async fn a_browser_that_asks_too_much_or_finds_no_place_comes_back() {
    let all = [
        Config {
            address_rate: 1,
            address_burst: 10,
            ..Config::default()
        },
        Config {
            join_rate: 1,
            join_burst: 10,
            ..Config::default()
        },
        Config {
            max_connections: 2,
            ..Config::default()
        },
        Config {
            connections_per_address: 2,
            ..Config::default()
        },
        Config {
            max_sessions: 2,
            ..Config::default()
        },
    ];
    for config in all {
        let server = Server::with(config.clone()).await;
        let mut kept = Vec::new();
        for _ in 0..12 {
            let mut source = Source::new(&server, "");
            source.connect().await;
            kept.push(source);
        }
        let last = kept.last_mut().unwrap();
        while last.retry == 0 {
            assert_eq!(last.block().await, None);
        }
        let mut rest = String::new();
        let lines = last.lines.as_mut().unwrap();
        let read = timeout(LONG, lines.read_to_string(&mut rest));
        assert!(read.await.is_ok(), "it ends: {config:?}");
    }
    let server = Server::start().await;
    for (query, status) in [("?history=x", 400), ("?since=", 400)] {
        let request = reqwest::Client::new().get(server.url(&format!("/rooms/aaa/events{query}")));
        let refused = request
            .header("accept", "text/event-stream")
            .send()
            .await
            .unwrap();
        assert_eq!(
            refused.status(),
            status,
            "what cannot be tried again is refused"
        );
    }
}

fn upgrade(address: &str) -> String {
    format!(
        "GET /chat/aaa/user/harry?pub=key&device=d HTTP/1.1\r\nHost: {address}\r\n\
         Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Protocol: safechat.v1+json\r\n\r\n"
    )
}

/// A client that asks and does not wait for the answer; what it sends besides.
async fn ask(address: &str, more: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(upgrade(address).as_bytes()).await.unwrap();
    stream.write_all(more).await.unwrap();
    stream
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_gave_up_while_the_node_stood_still_ends_no_session() {
    // A ping and a close frame, as a client may send that does not wait for the handshake.
    for more in [&b""[..], b"\x89\x80\0\0\0\0", b"\x88\x82\0\0\0\0\x03\xe8"] {
        for stay in [false, true] {
            for _ in 0..5 {
                let node = Server::still().await;
                let mut before = Vec::new();
                for _ in 0..4 {
                    let stream = ask(&node.address, more).await;
                    if stay {
                        before.push(stream);
                    }
                }
                // The last one stays.
                let request = upgrade(&node.address);
                let mut last = TcpStream::connect(&node.address).await.unwrap();
                last.write_all(request.as_bytes()).await.unwrap();
                let server = node.run();
                let mut head = [0; 12];
                timeout(LONG, last.read_exact(&mut head))
                    .await
                    .unwrap()
                    .unwrap();
                assert_eq!(&head, b"HTTP/1.1 101");
                // All that were before have been answered or dropped when these have ended.
                for mut stream in before {
                    let mut rest = Vec::new();
                    let _ = timeout(LONG, stream.read_to_end(&mut rest)).await.unwrap();
                }
                let mut next = server.json("charly", "").await;
                frame(&mut next, "welcome").await;
                let ping = b"\x81\x98\0\0\0\0{\"type\":\"ping\",\"id\":\"p\"}";
                last.write_all(ping).await.unwrap();
                let mut got = Vec::new();
                while !got.windows(6).any(|part| part == b"\"pong\"") {
                    let mut some = [0; 4096];
                    let read = timeout(LONG, last.read(&mut some)).await.unwrap().unwrap();
                    assert!(read > 0, "it was ended: {}", String::from_utf8_lossy(&got));
                    got.extend(&some[..read]);
                }
            }
        }
    }
}

#[tokio::test]
async fn a_device_that_comes_again_still_replaces_itself() {
    let server = Server::start().await;
    let mut first = server.json("harry", "&device=d").await;
    let mut second = server.json("harry", "&device=d").await;
    assert_eq!(code(&mut first).await, 4005);
    let mut third = server.json("harry", "&device=d").await;
    assert_eq!(code(&mut second).await, 4005);
    frame(&mut third, "welcome").await;
}
