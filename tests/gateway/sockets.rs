//! The gateway on real sockets, over the memory adapters: the three protocols, every refusal, close
//! codes, and what works without a WebSocket.

use crate::world;
use crate::world::{
    LONG,
    server::{Server, code, frame, line, next, say},
};
use futures::{SinkExt, StreamExt};
use prost::Message as _;
use reqwest::StatusCode;
use safe_chat::{gateway::Config, proto::client::v1 as pb};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_tungstenite::{MaybeTlsStream, tungstenite::Message};

#[tokio::test]
async fn text_json_and_protobuf_talk_to_each_other() {
    let server = Server::start().await;
    let mut harry = server.text("harry").await;
    assert_eq!(line(&mut harry).await, "harry:aaa:connected");
    assert_eq!(line(&mut harry).await, "[aaa:1 - harry joined]");
    let mut charly = server.json("charly", "").await;
    let mut dora = server
        .try_connect(
            "/chat/aaa/user/dora?pub=key&history=0",
            Some("safechat.v1+proto"),
        )
        .await
        .unwrap();
    assert_eq!(
        frame(&mut charly, "welcome").await["members"],
        json!(["charly", "harry"])
    );

    say(&mut harry, "harry:charly:Hello: you").await;
    let seen = loop {
        let event = frame(&mut charly, "event").await;
        if event["kind"] == "text" {
            break event;
        }
    };
    assert_eq!(
        (&seen["seq"], &seen["from"], &seen["to"], &seen["text"]),
        (
            &json!(4),
            &json!("harry"),
            &json!("charly"),
            &json!("Hello: you")
        )
    );
    assert_eq!(
        seen.get("id"),
        None,
        "a message of the text protocol has no id"
    );
    say(
        &mut charly,
        r#"{"type":"send","id":"m1","text":"two\nlines"}"#,
    )
    .await;
    let mut lines = Vec::new();
    while lines.len() < 4 {
        lines.push(line(&mut harry).await);
    }
    let wanted = [
        "[aaa:2 - charly joined]",
        "[aaa:3 - dora joined]",
        "[aaa:4 - harry -> charly] Hello: you",
        "[aaa:5 - charly -> *] two\\nlines",
    ];
    assert_eq!(lines, wanted);

    let mut events = Vec::new();
    while events.len() < 2 {
        let frame = pb::ServerFrame::decode(next(&mut dora).await.into_data()).unwrap();
        if let Some(pb::server_frame::Frame::Event(event)) = frame.frame {
            events.push(event.seq);
        }
    }
    assert_eq!(events, [4, 5]);
    let ping = pb::ClientFrame {
        frame: Some(pb::client_frame::Frame::Ping(pb::Ping { id: "p".into() })),
    };
    dora.send(Message::binary(ping.encode_to_vec()))
        .await
        .unwrap();
    let pong = pb::ServerFrame::decode(next(&mut dora).await.into_data()).unwrap();
    assert_eq!(
        pong.frame,
        Some(pb::server_frame::Frame::Pong(pb::Pong { id: "p".into() }))
    );
}

#[tokio::test]
async fn every_refusal_is_an_answer_before_the_upgrade() {
    let server = Server::start().await;
    let all = [
        ("/chat/a.b/user/c.d", None, 400, "bad_room"),
        ("/chat/aaa/user/c.d?since=x", None, 400, "bad_user"),
        ("/chat/aaa/user/harry", None, 400, "bad_pub"),
        ("/chat/aaa/user/harry?pub=a%3D", None, 400, "bad_pub"),
        (
            "/chat/aaa/user/harry?pub=key&since=-1",
            None,
            400,
            "bad_query",
        ),
        (
            "/chat/aaa/user/harry?pub=key&history=501",
            None,
            400,
            "bad_query",
        ),
        (
            "/chat/aaa/user/harry?pub=key&device=a.b",
            None,
            400,
            "bad_query",
        ),
        ("/chat/aaa/user/harry?pub=%FF%FE", None, 400, "bad_pub"),
        (
            "/chat/aaa/user/harry?pub=key",
            Some("chat, other"),
            400,
            "bad_query",
        ),
        ("/chat/aaa", None, 404, "not_found"),
    ];
    for (path, protocol, status, reason) in all {
        assert_eq!(
            server.refused(path, protocol).await,
            (status, reason.to_owned()),
            "{path}"
        );
    }
    let _harry = server.text("harry").await;
    assert_eq!(
        server.refused("/chat/aaa/user/harry?pub=other", None).await,
        (403, "key_mismatch".into())
    );
    let mut others = Vec::new();
    for _ in 0..7 {
        others.push(server.text("harry").await);
    }
    assert_eq!(
        server.refused("/chat/aaa/user/harry?pub=key", None).await,
        (409, "too_many_sessions".into())
    );
    let plain = reqwest::get(server.url("/chat/aaa/user/charly?pub=key"))
        .await
        .unwrap();
    assert_eq!(
        (plain.status(), plain.headers()["upgrade"].to_str().unwrap()),
        (StatusCode::UPGRADE_REQUIRED, "websocket")
    );
}

#[tokio::test]
async fn a_session_of_the_same_device_replaces_the_earlier_one() {
    let server = Server::start().await;
    let mut first = server.json("harry", "&device=phone").await;
    let mut second = server.json("harry", "&device=phone").await;
    assert_eq!(code(&mut first).await, 4005);
    say(&mut second, r#"{"type":"ping","id":"p"}"#).await;
    frame(&mut second, "pong").await;
}

#[tokio::test]
async fn rules_of_frames_are_enforced_with_their_close_codes() {
    let server = Server::start().await;
    let mut bad = server.json("bad", "").await;
    for _ in 0..20 {
        say(&mut bad, "nonsense").await;
    }
    assert_eq!(code(&mut bad).await, 4002);

    let mut most = server.json("most", "").await;
    say(&mut most, " ".repeat(131_072)).await;
    assert_eq!(frame(&mut most, "rejected").await["reason"], "bad_frame");
    let mut large = server.json("large", "").await;
    say(&mut large, " ".repeat(131_073)).await;
    assert_eq!(code(&mut large).await, 1009);

    let mut broken = server.json("broken", "").await;
    let MaybeTlsStream::Plain(raw) = broken.get_mut() else {
        unreachable!("no TLS here")
    };
    // A masked text frame (mask 0) of two bytes that are not UTF-8.
    raw.write_all(&[0x81, 0x82, 0, 0, 0, 0, 0xff, 0xfe])
        .await
        .unwrap();
    assert_eq!(code(&mut broken).await, 1007);
}

#[tokio::test]
async fn a_client_that_does_not_read_is_closed_while_the_others_go_on() {
    let server = Server::with(Config {
        backlog_bytes: 256 * 1024,
        ..world::unlimited()
    })
    .await;
    let mut slow = server.json("slow", "").await;
    let mut harry = server.json("harry", "").await;
    frame(&mut slow, "welcome").await;
    // More than the buffers of the sockets take.
    let text = "x".repeat(16_000);
    for n in 0..1500 {
        say(
            &mut harry,
            json!({"type": "send", "id": format!("m{n}"), "text": text}).to_string(),
        )
        .await;
        while frame(&mut harry, "event").await["id"] != format!("m{n}") {}
    }
    // What it gets at last is dense; then the close frame, or, when that did not get out in time,
    // the end of the connection.
    let mut last = 0;
    loop {
        match timeout(LONG, slow.next()).await.unwrap() {
            Some(Ok(Message::Text(text))) => {
                let event: Value = serde_json::from_str(&text).unwrap();
                assert_eq!(event["seq"], last + 1);
                last += 1;
            }
            Some(Ok(Message::Close(frame))) => {
                break assert_eq!(u16::from(frame.unwrap().code), 4003);
            }
            Some(Ok(_)) => {}
            Some(Err(_)) | None => break,
        }
    }
    assert!(last < 1500, "it was closed");
    frame(
        &mut server.json("slow", &format!("&since={last}")).await,
        "welcome",
    )
    .await;
}

/// Server-sent events: (event, id, data).
async fn entries(
    body: &mut (impl StreamExt<Item = reqwest::Result<bytes::Bytes>> + Unpin),
    count: usize,
) -> Vec<(String, String, Value)> {
    let (mut text, mut entries) = (String::new(), Vec::new());
    while entries.len() < count {
        text += std::str::from_utf8(&timeout(LONG, body.next()).await.unwrap().unwrap().unwrap())
            .unwrap();
        while let Some((entry, rest)) = text.clone().split_once("\n\n") {
            let field = |name: &str| {
                entry
                    .lines()
                    .find_map(|line| line.strip_prefix(name))
                    .unwrap_or_default()
                    .to_owned()
            };
            if let Some(data) = entry.lines().find_map(|line| line.strip_prefix("data: ")) {
                entries.push((
                    field("event: "),
                    field("id: "),
                    serde_json::from_str(data).unwrap(),
                ));
            }
            text = rest.to_owned();
        }
    }
    entries
}

async fn stream(
    server: &Server,
    query: &str,
    last: Option<&str>,
) -> impl StreamExt<Item = reqwest::Result<bytes::Bytes>> + Unpin {
    let request = reqwest::Client::new().get(server.url(&format!("/rooms/aaa/events{query}")));
    let request = last.iter().fold(request, |request, last| {
        request.header("last-event-id", *last)
    });
    let answer = request.send().await.unwrap();
    assert_eq!(
        (
            answer.status(),
            answer.headers()["content-type"].to_str().unwrap()
        ),
        (StatusCode::OK, "text/event-stream")
    );
    answer.bytes_stream()
}

#[tokio::test]
async fn an_event_stream_goes_on_after_its_last_event() {
    let server = Server::start().await;
    let mut harry = server.text("harry").await;
    for n in 2..=5 {
        say(&mut harry, format!("harry:*:m{n}")).await;
    }
    let ids = |entries: Vec<(String, String, Value)>| {
        entries.into_iter().map(|(_, id, _)| id).collect::<Vec<_>>()
    };
    let mut all = stream(&server, "?since=0", None).await;
    assert_eq!(ids(entries(&mut all, 5).await), ["1", "2", "3", "4", "5"]);
    say(&mut harry, "harry:*:live").await;
    assert_eq!(entries(&mut all, 1).await[0].2["text"], "live");
    let mut resumed = stream(&server, "?since=0", Some("4")).await;
    assert_eq!(ids(entries(&mut resumed, 2).await), ["5", "6"]);
    let mut beyond = stream(&server, "?history=2", Some("99")).await;
    let got = entries(&mut beyond, 3).await;
    assert_eq!((got[0].0.as_str(), &got[0].2["seq"]), ("reset", &json!(5)));
    assert_eq!(ids(got)[1..], ["5".to_owned(), "6".to_owned()]);
    let bad = reqwest::Client::new()
        .get(server.url("/rooms/aaa/events"))
        .header("last-event-id", "x")
        .send()
        .await
        .unwrap();
    assert_eq!(bad.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn messages_and_history_work_without_a_websocket() {
    let server = Server::start().await;
    let client = reqwest::Client::new();
    let post = async |query: &str, body: String| {
        let answer = client
            .post(server.url(&format!("/rooms/aaa/messages?{query}")))
            .body(body)
            .send()
            .await
            .unwrap();
        (
            answer.status().as_u16(),
            answer.json::<Value>().await.unwrap(),
        )
    };
    let message = r#"{"id":"m1","text":"hello"}"#.to_owned();
    let (status, first) = post("user=harry&pub=key", message.clone()).await;
    assert_eq!(
        (status, &first["type"], &first["seq"], &first["duplicate"]),
        (200, &json!("journaled"), &json!(1), &json!(false))
    );
    let (_, again) = post("user=harry&pub=key", message.clone()).await;
    assert_eq!(
        (&again["seq"], &again["duplicate"]),
        (&json!(1), &json!(true))
    );
    // A name has a key once a session brought one.
    let _charly = server.text("charly").await;
    let refusals = [
        (
            "user=charly&pub=other",
            r#"{"id":"n1","text":"hello"}"#.into(),
            403,
            "key_mismatch",
        ),
        ("user=harry", message.clone(), 400, "bad_pub"),
        ("pub=key", message.clone(), 400, "bad_user"),
        ("user=harry&pub=key", "[]".into(), 400, "bad_frame"),
        (
            "user=harry&pub=key",
            r#"{"text":"no id"}"#.into(),
            400,
            "bad_field",
        ),
        (
            "user=harry&pub=key",
            json!({"id": "m2", "text": "x".repeat(16_385)}).to_string(),
            413,
            "too_large",
        ),
        ("user=harry&pub=key", "x".repeat(131_073), 413, "too_large"),
    ];
    for (query, body, status, reason) in refusals {
        let (got, answer) = post(query, body).await;
        let why = answer["error"]["reason"]
            .as_str()
            .or(answer["reason"].as_str());
        assert_eq!((got, why), (status, Some(reason)), "{query}");
    }
    for n in 2..=9 {
        assert_eq!(
            post(
                "user=harry&pub=key",
                json!({"id": format!("m{n}"), "text": "x"}).to_string()
            )
            .await
            .0,
            200
        );
    }
    let page = async |query: &str| {
        reqwest::get(server.url(&format!("/rooms/aaa/history{query}")))
            .await
            .unwrap()
    };
    let answer = page("?before=8&limit=3").await;
    assert!(!answer.headers().contains_key("access-control-allow-origin"));
    let answer: Value = answer.json().await.unwrap();
    assert_eq!(
        (
            world::seqs(answer["events"].as_array().unwrap()),
            &answer["more"]
        ),
        (vec![5, 6, 7], &json!(true))
    );
    let all: Value = page("").await.json().await.unwrap();
    assert_eq!(
        (all["events"].as_array().unwrap().len(), &all["more"]),
        (10, &json!(false))
    );
    for bad in ["?limit=0", "?limit=501", "?before=x"] {
        assert_eq!(page(bad).await.status(), StatusCode::BAD_REQUEST, "{bad}");
    }
}

#[tokio::test]
async fn the_page_is_served_and_other_paths_are_not_found() {
    let server = Server::start().await;
    let page = reqwest::get(server.url("/")).await.unwrap();
    assert!(
        page.headers()["content-security-policy"]
            .to_str()
            .unwrap()
            .contains("default-src 'none'")
    );
    let tag = page.headers()["etag"].clone();
    assert!(
        page.text()
            .await
            .unwrap()
            .contains("<title>safe-chat</title>")
    );
    let again = reqwest::Client::new()
        .get(server.url("/"))
        .header("if-none-match", tag)
        .send()
        .await
        .unwrap();
    assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
    let none = reqwest::get(server.url("/nothing")).await.unwrap();
    assert_eq!(
        (
            none.status().as_u16(),
            none.json::<Value>().await.unwrap()["error"]["reason"].clone()
        ),
        (404, json!("not_found"))
    );
    let wrong = reqwest::Client::new()
        .post(server.url("/"))
        .send()
        .await
        .unwrap();
    assert_eq!(
        (
            wrong.status().as_u16(),
            wrong.headers()["allow"].to_str().unwrap()
        ),
        (405, "GET,HEAD,OPTIONS")
    );
    assert_eq!(
        wrong.json::<Value>().await.unwrap()["error"]["reason"],
        "method_not_allowed"
    );
}

#[tokio::test]
async fn a_stop_says_bye_closes_1001_and_returns() {
    let server = Server::start().await;
    let mut harry = server.json("harry", "").await;
    let mut charly = server.text("charly").await;
    frame(&mut harry, "welcome").await;
    server.stop.cancel();
    assert!(
        frame(&mut harry, "bye").await["reconnect_after_ms"]
            .as_u64()
            .unwrap()
            >= 500
    );
    assert_eq!(code(&mut harry).await, 1001);
    assert_eq!(code(&mut charly).await, 1001);
    timeout(LONG, server.stopped).await.unwrap().unwrap();
    assert_eq!(server.handle.sessions(), 0);
}

#[tokio::test]
async fn a_connection_that_is_dropped_ends_its_session() {
    let server = Server::start().await;
    let mut harry = server.text("harry").await;
    let charly = server.text("charly").await;
    for _ in 0..3 {
        line(&mut harry).await;
    }
    drop(charly);
    assert_eq!(line(&mut harry).await, "[aaa:3 - charly left]");
    // A request that is no HTTP costs nobody else anything.
    let mut raw = TcpStream::connect(&server.address).await.unwrap();
    raw.write_all(b"\x00\x01\x02 nonsense\r\n\r\n")
        .await
        .unwrap();
    let mut answer = Vec::new();
    timeout(LONG, raw.read_to_end(&mut answer))
        .await
        .unwrap()
        .unwrap();
    assert!(
        answer.starts_with(b"HTTP/1.1 400"),
        "{}",
        String::from_utf8_lossy(&answer)
    );
    say(&mut harry, "harry:*:still here").await;
    assert_eq!(line(&mut harry).await, "[aaa:4 - harry -> *] still here");
}
