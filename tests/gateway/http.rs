//! The gateway's port as HTTP, byte by byte: handshakes, methods, bodies, refusals of a page.

use crate::world;
use crate::world::{
    LONG,
    server::{Server, frame},
};
use futures::future::join_all;
use safe_chat::gateway::Config;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
const UPGRADE: [&str; 4] = [
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    KEY,
];

/// An answer as it came.
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines
            .filter(|(other, _)| other.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
            .next_back()
    }

    fn reason(&self) -> String {
        let body: Value = serde_json::from_str(&self.body).unwrap_or_default();
        let reason = body["error"]["reason"].as_str();
        reason.or(body["reason"].as_str()).unwrap_or("").to_owned()
    }

    fn refusal(&self) -> (u16, String) {
        (self.status, self.reason())
    }
}

/// A request, line by line as it stands, without a Host of its own; then its body.
async fn raw(server: &Server, lines: &[&str], body: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(&server.address).await.unwrap();
    let head = format!("{}\r\n\r\n", lines.join("\r\n"));
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body).await.unwrap();
    answer(&mut stream, lines[0].starts_with("HEAD")).await
}

async fn answer(stream: &mut TcpStream, ends_with_its_head: bool) -> Answer {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let read = timeout(LONG, stream.read_u8()).await.expect("an answer");
        head.push(read.expect("a whole head"));
    }
    let head = String::from_utf8(head).unwrap();
    let status = head[9..12].parse().unwrap();
    let mut answer = Answer {
        status,
        head,
        body: String::new(),
    };
    let length = answer.header("content-length").unwrap_or("0").parse();
    let length = if ends_with_its_head {
        0
    } else {
        length.unwrap()
    };
    let mut body = vec![0; length];
    timeout(LONG, stream.read_exact(&mut body))
        .await
        .unwrap()
        .unwrap();
    answer.body = String::from_utf8(body).unwrap();
    answer
}

async fn request(server: &Server, line: &str, more: &[&str]) -> Answer {
    let first = format!("{line} HTTP/1.1");
    let host = format!("Host: {}", server.address);
    raw(server, &[&[&*first, &*host], more].concat(), b"").await
}

fn chat(user: &str) -> String {
    format!("GET /chat/aaa/user/{user}?pub=key")
}

#[tokio::test]
async fn headers_that_are_lists_may_be_one_line_or_many() {
    let server = Server::start().await;
    let [_, upgrade, version, key] = UPGRADE;
    let handshakes: [&[&str]; 9] = [
        &["Connection: keep-alive, Upgrade", upgrade],
        &["Connection: keep-alive", "Connection: Upgrade", upgrade],
        &["Connection: Upgrade", "connection: keep-alive", upgrade],
        &["connection: KEEP-ALIVE ,UPGRADE", "upgrade: WebSocket"],
        &["Connection: ,upgrade,", "Upgrade: h2c, websocket"],
        &["Connection: upgrade", "Upgrade: h2c", "Upgrade: websocket"],
        &[
            "Connection:Upgrade",
            "Upgrade:websocket",
            "Sec-WebSocket-Protocol:,",
            "Sec-WebSocket-Protocol: chat.example",
            "Sec-WebSocket-Protocol: x, safechat.v1+json",
        ],
        &[
            "Connection: Upgrade",
            upgrade,
            "Sec-WebSocket-Extensions: a",
            "Sec-WebSocket-Extensions: permessage-deflate; x, b",
        ],
        &["Connection: Upgrade", upgrade, "Content-Length: 0"],
    ];
    for (n, lines) in handshakes.into_iter().enumerate() {
        let lines = [&[version, key], lines].concat();
        let answer = request(&server, &chat(&format!("u{n}")), &lines).await;
        assert_eq!(answer.status, 101, "{lines:?}: {}", answer.body);
        let accept = answer.header("sec-websocket-accept");
        assert_eq!(accept, Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        let protocol = answer.header("sec-websocket-protocol");
        assert_eq!(protocol, (n == 6).then_some("safechat.v1+json"));
        assert_eq!(answer.header("sec-websocket-extensions"), None);
    }
}

#[tokio::test]
async fn a_handshake_that_is_none_is_refused() {
    let server = Server::start().await;
    let [connection, upgrade, version, key] = UPGRADE;
    let other = "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==";
    let refused: [(&[&str], u16); 18] = [
        (&[], 426),
        (&[connection, version, key], 426),
        (&[upgrade, version, key], 426),
        (&["Connection: Upgraded", upgrade, version, key], 426),
        (&[connection, "Upgrade: websockets", version, key], 426),
        (&[connection, upgrade, key], 426),
        (&[connection, upgrade, key, "Sec-WebSocket-Version: 8"], 426),
        (
            &[connection, upgrade, key, "Sec-WebSocket-Version: 13, 8"],
            426,
        ),
        (&[connection, upgrade, key, version, version], 426),
        (&[connection, upgrade, version], 400),
        (&[connection, upgrade, version, key, other], 400),
        (&[connection, upgrade, version, key, key], 400),
        (&[connection, upgrade, version, "Sec-WebSocket-Key: "], 400),
        (
            &[
                connection,
                upgrade,
                version,
                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ",
            ],
            400,
        ),
        (
            &[
                connection,
                upgrade,
                version,
                "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAA",
            ],
            400,
        ),
        (
            &[
                connection,
                upgrade,
                version,
                "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAAAA",
            ],
            400,
        ),
        (
            &[
                connection,
                upgrade,
                version,
                "Sec-WebSocket-Key: *AAAAAAAAAAAAAAAAAAAAA==",
            ],
            400,
        ),
        (
            &[connection, upgrade, version, key, "Content-Length: 5"],
            400,
        ),
    ];
    for (lines, status) in refused {
        let answer = request(&server, &chat("harry"), lines).await;
        let reason = if status == 426 {
            "upgrade_required"
        } else {
            "bad_request"
        };
        assert_eq!(answer.refusal(), (status, reason.to_owned()), "{lines:?}");
        if status == 426 {
            assert_eq!(answer.header("upgrade"), Some("websocket"), "{lines:?}");
            let version = answer.header("sec-websocket-version");
            assert_eq!(version, Some("13"), "{lines:?}");
        }
    }
    let old = [&["GET /chat/aaa/user/harry?pub=key HTTP/1.0"], &UPGRADE[..]].concat();
    assert_eq!(raw(&server, &old, b"").await.status, 426);
    assert_eq!(server.handle.sessions(), 0, "nobody came in");
}

#[tokio::test]
async fn a_request_names_one_host() {
    let server = Server::start().await;
    for (hosts, status) in [
        (&["X: y"][..], 400),
        (&["Host: a", "Host: a"], 400),
        (&["Host: a", "Host: b"], 400),
        (&["Host: a b"], 400),
        (&["Host: localhost"], 200),
    ] {
        let lines = [&["GET /rooms/aaa/history HTTP/1.1"], hosts].concat();
        let answer = raw(&server, &lines, b"").await;
        assert_eq!(answer.status, status, "{hosts:?}");
        if status == 400 {
            assert_eq!(answer.reason(), "bad_request");
        }
    }
    let old = raw(&server, &["GET /rooms/aaa/history HTTP/1.0"], b"").await;
    assert_eq!(old.status, 200, "HTTP/1.0 knows no Host");
}

#[tokio::test]
async fn every_path_says_its_methods_and_head_is_get_without_a_body() {
    let server = Server::start().await;
    for (path, allow) in [
        ("/", "GET,HEAD,OPTIONS"),
        ("/app.js", "GET,HEAD,OPTIONS"),
        ("/rooms/aaa/history", "GET,HEAD,OPTIONS"),
        ("/rooms/aaa/events", "GET,HEAD,OPTIONS"),
        ("/rooms/aaa/messages?user=harry&pub=key", "POST,OPTIONS"),
        ("/chat/aaa/user/harry?pub=key", "GET,HEAD,OPTIONS"),
    ] {
        let foreign = ["Origin: https://foreign.example"];
        let options = request(&server, &format!("OPTIONS {path}"), &foreign).await;
        assert_eq!(
            (options.status, options.header("allow")),
            (204, Some(allow)),
            "{path}"
        );
        let wrong = request(&server, &format!("DELETE {path}"), &[]).await;
        assert_eq!(
            (wrong.status, wrong.header("allow")),
            (405, Some(allow)),
            "{path}"
        );
        assert_eq!(wrong.reason(), "method_not_allowed");
        if !path.ends_with("events") {
            let get = request(&server, &format!("GET {path}"), &[]).await;
            let head = request(&server, &format!("HEAD {path}"), &[]).await;
            let same = |name| assert_eq!(head.header(name), get.header(name), "{name}: {path}");
            assert_eq!(head.status, get.status, "{path}");
            ["content-length", "content-type", "etag", "allow"]
                .into_iter()
                .for_each(same);
        }
    }
    let events = request(&server, "HEAD /rooms/aaa/events", &[]).await;
    assert_eq!(
        (events.status, events.header("content-type")),
        (200, Some("text/event-stream"))
    );
    for path in [
        "/nothing",
        "/rooms",
        "/rooms/aaa/history/",
        "//rooms/aaa/history",
        "/chat/aaa",
    ] {
        let options = request(&server, &format!("OPTIONS {path}"), &[]).await;
        assert_eq!(options.refusal(), (404, "not_found".into()), "{path}");
        let get = request(&server, &format!("GET {path}"), &[]).await;
        assert_eq!(get.refusal(), (404, "not_found".into()), "{path}");
    }
    let all = request(&server, "OPTIONS *", &[]).await;
    assert_eq!(all.status, 204);
}

#[tokio::test]
async fn below_a_path_is_everything_and_beside_it_nothing() {
    let server = Server::with(Config {
        base_path: "/talk/here".into(),
        frame_ancestors: vec!["self".into(), "https://app.example".into()],
        ..Config::default()
    })
    .await;
    let get = async |path: &str| request(&server, &format!("GET {path}"), &[]).await;
    let slash = get("/talk/here").await;
    assert_eq!(
        (slash.status, slash.header("location")),
        (307, Some("/talk/here/"))
    );
    let page = get("/talk/here/").await;
    assert_eq!(page.status, 200);
    let policy = page.header("content-security-policy").unwrap();
    assert!(
        policy.ends_with("; frame-ancestors 'self' https://app.example"),
        "{policy}"
    );
    let links = page.body.split([' ', '>']).filter_map(|attribute| {
        let value = attribute
            .strip_prefix("href=")
            .or(attribute.strip_prefix("src="))?;
        Some(value.trim_matches('"'))
    });
    let links: Vec<_> = links.collect();
    assert!(links.len() > 15, "{links:?}");
    for link in links {
        assert!(!link.starts_with('/') && !link.contains(':'), "{link}");
        assert_eq!(
            get(&format!("/talk/here/{link}")).await.status,
            200,
            "{link}"
        );
    }

    let target = "/talk/here/chat/aaa/user/harry?pub=key";
    let mut harry = server.try_connect(target, Some("safechat.v1+json")).await;
    frame(harry.as_mut().unwrap(), "welcome").await;
    let history = get("/talk/here/rooms/aaa/history").await;
    let history: Value = serde_json::from_str(&history.body).unwrap();
    assert_eq!(history["events"][0]["from"], "harry");
    let wrong = request(&server, "DELETE /talk/here/rooms/aaa/history", &[]).await;
    assert_eq!(wrong.refusal(), (405, "method_not_allowed".into()));
    let beside = "/ /app.js /rooms/aaa/history /talk /talk/hereafter /talk/here/x";
    for path in beside.split(' ') {
        let refused = get(path).await;
        assert_eq!(refused.refusal(), (404, "not_found".into()), "{path}");
        assert!(
            refused.body.contains("try /talk/here/, or"),
            "{}",
            refused.body
        );
    }
}

#[tokio::test]
async fn letters_of_a_path_are_themselves_however_they_are_written() {
    let server = Server::start().await;
    let mut harry = server.json("harry", "").await;
    frame(&mut harry, "welcome").await;
    for path in [
        "/rooms/%61a%61/history",
        "/rooms/aaa/%68istory",
        "http://localhost/rooms/aaa/history",
    ] {
        let page = request(&server, &format!("GET {path}"), &[]).await;
        let body: Value = serde_json::from_str(&page.body).unwrap();
        assert_eq!(body["events"][0]["from"], "harry", "{path}");
    }
    let target = "GET /ch%61t/%61aa/user/ch%61rly?pub=key";
    assert_eq!(request(&server, target, &UPGRADE).await.status, 101);
    for (path, reason) in [
        ("/rooms/a%2Fa/history", "bad_room"),
        ("/rooms/a%00/history", "bad_room"),
        ("/rooms/%zz/history", "bad_room"),
        ("/rooms/%25%36%31/history", "bad_room"),
        ("/chat/aaa/user/h%C3%A4rry?pub=key", "bad_user"),
    ] {
        let refused = request(&server, &format!("GET {path}"), &[]).await;
        assert_eq!(refused.refusal(), (400, reason.into()), "{path}");
    }
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_without_reading_it() {
    let server = Server::start().await;
    let post = format!(
        "POST /rooms/aaa/messages?user=harry&pub=key HTTP/1.1\r\nHost: {}",
        server.address
    );
    let too_large = (413, "too_large".to_owned());
    // Nothing of the body comes, and yet there is an answer.
    let announced = raw(&server, &[&post, "Content-Length: 10000000"], b"").await;
    assert_eq!(announced.refusal(), too_large);
    let expected = [&*post, "Content-Length: 10000000", "Expect: 100-continue"];
    assert_eq!(raw(&server, &expected, b"").await.refusal(), too_large);
    let whole = raw(
        &server,
        &[&post, "Content-Length: 10000000"],
        &vec![b'x'; 10_000_000],
    )
    .await;
    assert_eq!(whole.refusal(), too_large, "the answer is not lost");
    assert_eq!(whole.header("connection"), Some("close"));
    let chunk = [&b"20000\r\n"[..], &vec![b' '; 0x20000], b"\r\n"].concat();
    let chunked = [&*post, "Transfer-Encoding: chunked"];
    assert_eq!(
        raw(&server, &chunked, &chunk.repeat(2)).await.refusal(),
        too_large
    );

    // What is no chunk says nothing of the size.
    let broken = raw(&server, &chunked, b"xyz\r\nhello\r\n").await;
    assert_eq!(broken.refusal(), (400, "bad_frame".to_owned()));

    // What fits is asked for, then taken; in chunks, too.
    let message = br#"{"id":"m1","text":"hello"}"#;
    let mut stream = TcpStream::connect(&server.address).await.unwrap();
    let head = format!(
        "{post}\r\nContent-Length: {}\r\nExpect: 100-continue\r\n\r\n",
        message.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    assert_eq!(answer(&mut stream, false).await.status, 100);
    stream.write_all(message).await.unwrap();
    assert_eq!(answer(&mut stream, false).await.status, 200);
    let chunk = [b"1a\r\n", &message[..], b"\r\n0\r\n\r\n"].concat();
    let again = raw(&server, &chunked, &chunk).await;
    assert_eq!(
        (again.status, again.header("connection")),
        (200, Some("close"))
    );
    for lines in [
        ["Content-Length: 26", "Transfer-Encoding: chunked"],
        ["Transfer-Encoding: chunked", "Content-Length: 26"],
        ["Transfer-Encoding: gzip, chunked", "X: y"],
    ] {
        let both = raw(&server, &[&[&*post], &lines[..]].concat(), &chunk).await;
        assert_eq!(both.refusal(), (400, "bad_request".into()), "{lines:?}");
    }
}

#[tokio::test]
async fn a_get_of_the_chat_address_answers_what_an_upgrade_would_get() {
    let server = Server::with(Config {
        join_burst: 12,
        join_rate: 1,
        ..world::unlimited()
    })
    .await;
    let both = async |path: &str, more: &[&str]| {
        let line = format!("GET {path}");
        let asked = request(&server, &line, more).await;
        assert_eq!(
            asked.header("access-control-allow-origin"),
            Some("*"),
            "{path}"
        );
        let upgrade = request(&server, &line, &[&UPGRADE[..], more].concat()).await;
        (asked.refusal(), (upgrade.status, upgrade.reason()))
    };
    let mut sessions = Vec::new();
    for n in 0..8 {
        sessions.push(server.json("harry", &format!("&device=d{n}")).await);
    }
    for (path, more, status, reason) in [
        ("/chat/a.b/user/harry?pub=key", &[][..], 400, "bad_room"),
        ("/chat/aaa/user/h.y?pub=key", &[], 400, "bad_user"),
        ("/chat/aaa/user/harry", &[], 400, "bad_pub"),
        (
            "/chat/aaa/user/harry?pub=key&since=x",
            &[],
            400,
            "bad_query",
        ),
        (
            "/chat/aaa/user/harry?pub=key",
            &["Origin: http://foreign.example"],
            403,
            "bad_origin",
        ),
        ("/chat/aaa/user/harry?pub=other", &[], 403, "key_mismatch"),
        (
            "/chat/aaa/user/harry?pub=key",
            &[],
            409,
            "too_many_sessions",
        ),
    ] {
        let expected = (status, reason.to_owned());
        assert_eq!(
            both(path, more).await,
            (expected.clone(), expected),
            "{path}"
        );
    }
    // The page is its own server's as the browser sees it, so that it sends no Origin with a
    // question; a proxy between names this server by another name.
    let page = ["Referer: http://public.example/"];
    let rewritten = request(&server, &chat("sam"), &page).await;
    assert_eq!(rewritten.refusal(), (403, "bad_origin".into()));
    let own = format!("Referer: http://{}/", server.address);
    // One of these joins costs as much as any other.
    let mut asked = Vec::new();
    for _ in 0..2 {
        asked.push(request(&server, &chat("sam"), &[&own]).await.refusal());
    }
    let limited = (429, "rate_limited".to_owned());
    assert_eq!(
        both("/chat/aaa/user/sam?pub=key", &[]).await,
        (limited.clone(), limited)
    );
    assert!(
        asked
            .iter()
            .all(|refusal| refusal.0 == 426 || refusal.0 == 429),
        "{asked:?}"
    );
    let replaced = Server::start().await;
    let mut eight = Vec::new();
    for n in 0..8 {
        eight.push(replaced.json("harry", &format!("&device=d{n}")).await);
    }
    let device = request(&replaced, "GET /chat/aaa/user/harry?pub=key&device=d3", &[]).await;
    assert_eq!(
        device.refusal(),
        (426, "upgrade_required".into()),
        "it would replace its own"
    );
    let unknown = request(&replaced, "GET /chat/new/user/kim?pub=key", &[]).await;
    assert_eq!(unknown.refusal(), (426, "upgrade_required".into()));
    let history = request(&replaced, "GET /rooms/new/history", &[]).await;
    assert!(
        history.body.contains(r#""events":[]"#),
        "a question leaves nothing"
    );
    replaced.handle.refuse();
    let draining = request(&replaced, &chat("sam"), &[]).await;
    assert_eq!(draining.refusal(), (503, "draining".into()));
}

#[tokio::test]
async fn two_thousand_clients_that_come_at_once_are_all_let_in() {
    let server = Server::start().await;
    let connect = async || {
        let mut stream = TcpStream::connect(&server.address).await.unwrap();
        let request = format!(
            "GET /rooms/aaa/history HTTP/1.1\r\nHost: {}\r\n\r\n",
            server.address
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        answer(&mut stream, false).await.status
    };
    let all = timeout(LONG, join_all((0..2000).map(|_| connect())))
        .await
        .unwrap();
    assert!(all.iter().all(|status| *status == 200));
}

#[tokio::test]
async fn limits_are_whole_numbers_in_json_and_digits_in_a_query() {
    let server = Server::start().await;
    let mut harry = server.json("harry", "").await;
    for (limit, ok) in [
        ("50.0", true),
        ("5e1", true),
        ("50.5", false),
        ("\"50\"", false),
        ("0", false),
    ] {
        let ask = format!(r#"{{"type":"history","id":"h","limit":{limit}}}"#);
        crate::world::server::say(&mut harry, ask).await;
        let kind = if ok { "history" } else { "rejected" };
        let answered = frame(&mut harry, kind).await;
        assert_eq!(answered["id"], "h", "{limit}");
        if !ok {
            let said = (&answered["reason"], &answered["message"]);
            let wanted = json!("limit must be a whole number from 1 to 500");
            assert_eq!(said, (&json!("bad_field"), &wanted), "{limit}");
        }
    }
    for limit in ["50.0", "50%20", "%2B50", "5e1", "", "0x32"] {
        let page = request(
            &server,
            &format!("GET /rooms/aaa/history?limit={limit}"),
            &[],
        )
        .await;
        assert_eq!(page.refusal(), (400, "bad_query".into()), "{limit}");
        assert!(
            page.body.contains("whole number from 1 to 500, in digits"),
            "{}",
            page.body
        );
    }
}
