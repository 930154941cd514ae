//! Hostile and heavy clients on real sockets: what each gets, and that the others notice nothing.

use crate::world;
use crate::world::{
    LONG,
    server::{Server, Socket, code, frame, say},
};
use futures::{SinkExt, StreamExt};
use reqwest::StatusCode;
use safe_chat::gateway::Config;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_tungstenite::{
    MaybeTlsStream, connect_async,
    tungstenite::{Error, Message, client::IntoClientRequest, http::HeaderValue},
};

/// A connection with more headers than usual: the socket, or the status and reason of the refusal.
async fn with_headers(
    server: &Server,
    path: &str,
    headers: &[(&'static str, &str)],
) -> Result<Socket, (u16, String)> {
    let mut request = format!("ws://{}{path}", server.address)
        .into_client_request()
        .unwrap();
    for (name, value) in headers {
        request
            .headers_mut()
            .insert(*name, HeaderValue::from_str(value).unwrap());
    }
    match timeout(LONG, connect_async(request))
        .await
        .expect("an answer")
    {
        Ok((socket, answer)) => {
            assert_eq!(answer.headers().get("sec-websocket-extensions"), None);
            Ok(socket)
        }
        Err(Error::Http(answer)) => {
            let body: Value = serde_json::from_slice(answer.body().as_ref().unwrap()).unwrap();
            Err((
                answer.status().as_u16(),
                body["error"]["reason"].as_str().unwrap().to_owned(),
            ))
        }
        Err(error) => panic!("{error}"),
    }
}

fn limited() -> (u16, String) {
    (429, "rate_limited".into())
}

fn raw(socket: &mut Socket) -> &mut TcpStream {
    let MaybeTlsStream::Plain(raw) = socket.get_mut() else {
        unreachable!("no TLS here")
    };
    raw
}

/// A masked frame (mask 0) with a first byte of flags and kind, of at most 65535 bytes.
fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
    [&[first, 0xfe, length[0], length[1], 0, 0, 0, 0], payload].concat()
}

/// Two members talk: what one says the other hears.
async fn talk(harry: &mut Socket, charly: &mut Socket, id: &str) {
    say(
        harry,
        json!({"type": "send", "id": id, "text": id}).to_string(),
    )
    .await;
    while frame(charly, "event").await["id"] != id {}
}

#[tokio::test]
async fn bombs_end_their_own_session_only() {
    let server = Server::start().await;
    let (mut harry, mut charly) = (
        server.json("harry", "").await,
        server.json("charly", "").await,
    );

    // A frame that only says that it is huge, of which nothing follows.
    let mut huge = server.json("huge", "").await;
    raw(&mut huge)
        .write_all(&[0x81, 0xff, 0x40, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
        .await
        .unwrap();
    assert_eq!(code(&mut huge).await, 1009);
    talk(&mut harry, &mut charly, "m1").await;

    // Fragments without end, none of them large.
    let mut fragments = server.json("fragments", "").await;
    raw(&mut fragments)
        .write_all(&masked(0x01, &[b' '; 1000]))
        .await
        .unwrap();
    for _ in 0..140 {
        // It may be closed already.
        if raw(&mut fragments)
            .write_all(&masked(0x00, &[b' '; 1000]))
            .await
            .is_err()
        {
            break;
        }
    }
    assert_eq!(code(&mut fragments).await, 1009);
    talk(&mut harry, &mut charly, "m2").await;

    // Fragments without content cost nothing but the sender's time: the message that they lead to
    // is the first that is heard.
    let mut empty = server.json("empty", "").await;
    let nothing = [
        masked(0x01, b""),
        masked(0x00, b"").repeat(10_000),
        masked(0x80, b"{}"),
    ]
    .concat();
    raw(&mut empty).write_all(&nothing).await.unwrap();
    assert_eq!(frame(&mut empty, "rejected").await["reason"], "bad_frame");

    // Compressed without having been asked to: the extension is never negotiated.
    let offer = [
        (
            "sec-websocket-extensions",
            "permessage-deflate; client_max_window_bits",
        ),
        ("sec-websocket-protocol", "safechat.v1+json"),
    ];
    let mut deflated = with_headers(&server, "/chat/aaa/user/deflated?pub=key", &offer)
        .await
        .unwrap();
    raw(&mut deflated)
        .write_all(&masked(0xc1, b"\xaa\x56\x2a"))
        .await
        .unwrap();
    assert_eq!(code(&mut deflated).await, 1002);

    // Nesting as deep as a frame is long.
    let mut deep = server.json("deep", "").await;
    for text in [
        "[".repeat(131_072),
        r#"{"a":"#.repeat(26_000),
        format!(
            r#"{{"type":"ping","id":"p","x":{}{}}}"#,
            "[".repeat(60_000),
            "]".repeat(60_000)
        ),
        format!(r#"{{"type":{}{}}}"#, "[".repeat(60_000), "]".repeat(60_000)),
    ] {
        say(&mut deep, text).await;
    }
    say(&mut deep, r#"{"type":"ping","id":"alive"}"#).await;
    while frame(&mut deep, "pong").await["id"] != "alive" {}
    talk(&mut harry, &mut charly, "m3").await;
}

#[tokio::test]
async fn a_flood_of_pings_costs_the_others_nothing() {
    let server = Server::start().await;
    let (mut harry, mut charly) = (
        server.json("harry", "").await,
        server.json("charly", "").await,
    );
    let mut pinging = server.json("pinging", "").await;
    frame(&mut pinging, "welcome").await;
    let (mut read, mut write) = {
        let MaybeTlsStream::Plain(stream) = pinging.into_inner() else {
            unreachable!("no TLS here")
        };
        stream.into_split()
    };
    let pings = [&[0x89, 0xfd, 0, 0, 0, 0][..], &[b'p'; 125]]
        .concat()
        .repeat(100);
    let flood = tokio::spawn(async move { while write.write_all(&pings).await.is_ok() {} });
    for n in 0..50 {
        talk(&mut harry, &mut charly, &format!("m{n}")).await;
    }
    // It takes nothing; when it begins to, pongs are there, and no more of them than its backlog
    // holds are kept.
    let mut some = [0; 4096];
    assert!(timeout(LONG, read.read(&mut some)).await.unwrap().unwrap() > 0);
    flood.abort();
}

#[tokio::test]
async fn a_member_that_never_reads_is_closed_and_comes_back_while_all_others_get_everything() {
    let server = Server::with(Config {
        backlog_bytes: 256 * 1024,
        ..world::unlimited()
    })
    .await;
    let mut slow = server.json("slow", "").await;
    frame(&mut slow, "welcome").await;
    let mut others = Vec::new();
    for n in 0..5 {
        others.push(server.json(&format!("user{n}"), "&history=0").await);
    }
    let text = "x".repeat(16_000);
    for n in 0..600 {
        say(
            &mut others[0],
            json!({"type": "send", "id": format!("m{n}"), "text": text}).to_string(),
        )
        .await;
        for other in &mut others {
            while frame(other, "event").await["id"] != format!("m{n}") {}
        }
    }
    let mut last = 0;
    let closed = loop {
        match timeout(LONG, slow.next()).await.unwrap() {
            Some(Ok(Message::Text(text))) => {
                let event: Value = serde_json::from_str(&text).unwrap();
                last += 1;
                assert_eq!(event["seq"], last, "what it gets is dense");
            }
            Some(Ok(Message::Close(frame))) => break Some(u16::from(frame.unwrap().code)),
            Some(Ok(_)) => {}
            // The close frame did not get out in time.
            Some(Err(_)) | None => break None,
        }
    };
    assert!(
        closed.is_none_or(|code| code == 4003) && last < 600,
        "{closed:?} after {last}"
    );
    let mut back = server.json("slow", &format!("&since={last}")).await;
    assert_eq!(frame(&mut back, "welcome").await["recovered"], true);
    let first = frame(&mut back, "event").await;
    assert_eq!(first["seq"], last + 1);
}

#[tokio::test]
async fn an_address_has_so_many_connections() {
    let server = Server::with(Config {
        connections_per_address: 3,
        ..Config::default()
    })
    .await;
    let mut open = Vec::new();
    for n in 0..3 {
        open.push(server.text(&format!("user{n}")).await);
    }
    let refused = reqwest::get(server.url("/")).await.unwrap();
    assert_eq!(
        (
            refused.status(),
            refused.headers()["retry-after"].to_str().unwrap()
        ),
        (StatusCode::TOO_MANY_REQUESTS, "5")
    );
    assert_eq!(
        refused.json::<Value>().await.unwrap()["error"]["reason"],
        "rate_limited"
    );
    assert_eq!(
        server.refused("/chat/aaa/user/more?pub=key", None).await,
        limited()
    );
    drop(open.pop());
    // As soon as the server has seen that end.
    let again = async {
        while server
            .try_connect("/chat/aaa/user/more?pub=key", None)
            .await
            .is_err()
        {}
    };
    timeout(LONG, again).await.unwrap();
}

#[tokio::test]
async fn a_full_node_says_so() {
    let server = Server::with(Config {
        max_connections: 1,
        ..Config::default()
    })
    .await;
    let _harry = server.text("harry").await;
    assert_eq!(
        server.refused("/chat/aaa/user/more?pub=key", None).await,
        (503, "unavailable".into())
    );
}

#[tokio::test]
async fn requests_of_an_address_are_limited_whatever_they_are() {
    let server = Server::with(Config {
        address_rate: 1,
        address_burst: 10,
        ..Config::default()
    })
    .await;
    for n in 0..10 {
        assert_ne!(
            reqwest::get(server.url(["/", "/nothing"][n % 2]))
                .await
                .unwrap()
                .status(),
            StatusCode::TOO_MANY_REQUESTS
        );
    }
    let refused = reqwest::get(server.url("/")).await.unwrap();
    assert!(
        refused.status() == StatusCode::TOO_MANY_REQUESTS
            && refused.headers().contains_key("retry-after")
    );
    assert_eq!(
        server.refused("/chat/aaa/user/harry?pub=key", None).await,
        limited()
    );
    let post = reqwest::Client::new()
        .post(server.url("/rooms/aaa/messages?user=harry&pub=key"))
        .body(r#"{"id":"m1","text":"x"}"#);
    assert_eq!(
        post.send().await.unwrap().status(),
        StatusCode::TOO_MANY_REQUESTS
    );
}

#[tokio::test]
async fn behind_a_trusted_proxy_each_client_has_its_own_limits_and_others_are_not_believed() {
    let config = Config {
        connections_per_address: 1,
        ..Config::default()
    };
    let proxied = Server::with(Config {
        trusted_proxies: vec!["127.0.0.0/8".into()],
        ..config.clone()
    })
    .await;
    let of = |forwarded: &'static str| [("x-forwarded-for", forwarded)];
    let first = with_headers(&proxied, "/chat/aaa/user/a?pub=key", &of("192.0.2.1"))
        .await
        .unwrap();
    assert_eq!(
        with_headers(
            &proxied,
            "/chat/aaa/user/b?pub=key",
            &of("198.51.100.1, 192.0.2.1")
        )
        .await
        .err(),
        Some(limited())
    );
    with_headers(&proxied, "/chat/aaa/user/c?pub=key", &of("192.0.2.2"))
        .await
        .unwrap();
    drop(first);
    let again = async {
        while with_headers(&proxied, "/chat/aaa/user/a?pub=key", &of("192.0.2.1"))
            .await
            .is_err()
        {}
    };
    timeout(LONG, again).await.unwrap();

    let direct = Server::with(config).await;
    let _first = with_headers(&direct, "/chat/aaa/user/a?pub=key", &of("192.0.2.1"))
        .await
        .unwrap();
    assert_eq!(
        with_headers(&direct, "/chat/aaa/user/b?pub=key", &of("192.0.2.2"))
            .await
            .err(),
        Some(limited())
    );
}

#[tokio::test]
async fn a_page_of_another_site_reads_nothing_opens_no_session_and_sends_no_message() {
    let server = Server::with(Config {
        allowed_origins: vec!["https://app.example".into()],
        ..Config::default()
    })
    .await;
    let (own, evil) = (format!("http://{}", server.address), "https://evil.example");
    let refused = with_headers(&server, "/chat/aaa/user/harry?pub=key", &[("origin", evil)]).await;
    assert_eq!(refused.err(), Some((403, "bad_origin".into())));
    let post = async |origin: &str| {
        let post =
            reqwest::Client::new().post(server.url("/rooms/aaa/messages?user=harry&pub=key"));
        post.header("origin", origin)
            .body(r#"{"id":"m1","text":"x"}"#)
            .send()
            .await
            .unwrap()
            .status()
    };
    assert_eq!(post(evil).await, StatusCode::FORBIDDEN);
    for origin in [&own, "https://app.example"] {
        with_headers(
            &server,
            "/chat/aaa/user/harry?pub=key",
            &[("origin", origin)],
        )
        .await
        .unwrap();
        assert_eq!(post(origin).await, StatusCode::OK);
    }
    // Nor does it read.
    for (origin, status) in [(evil, StatusCode::FORBIDDEN), (&own, StatusCode::OK)] {
        let history = reqwest::Client::new().get(server.url("/rooms/aaa/history"));
        let answer = history.header("origin", origin).send().await.unwrap();
        assert_eq!(answer.status(), status, "{origin}");
    }
}

#[tokio::test]
async fn a_session_that_floods_is_told_so_and_stays() {
    let server = Server::with(Config {
        session_rate: 5,
        session_burst: 10,
        ..Config::default()
    })
    .await;
    let mut json = server.json("harry", "").await;
    for n in 0..30 {
        say(
            &mut json,
            json!({"type": "send", "id": format!("m{n}"), "text": "x"}).to_string(),
        )
        .await;
    }
    let refused = frame(&mut json, "rejected").await;
    assert_eq!(refused["reason"], "rate_limited");
    assert!(
        refused["retry_after_ms"].as_u64().unwrap() >= 100,
        "{refused}"
    );
    json.send(Message::Ping(Default::default())).await.unwrap();
    let mut text = server.text("charly").await;
    for _ in 0..30 {
        say(&mut text, "charly:*:x").await;
    }
    while !crate::world::server::line(&mut text)
        .await
        .starts_with("!rejected rate_limited ")
    {}
}
