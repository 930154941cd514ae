//! Rooms without a WebSocket: a stream of events, a message, a page of history.

use crate::{
    cluster::{Cluster, PATIENCE},
    node::Node,
    person::Person,
};
use futures::{Stream, StreamExt};
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use std::pin::Pin;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

pub(crate) async fn a_stream_a_message_and_a_page_go_without_a_websocket(cluster: Cluster) {
    let (first, second) = tokio::join!(cluster.node("first"), cluster.node("second"));
    let mut stream = Events::of(&second, None).await;
    for seq in 1..=3 {
        let answer = post(&first, &format!("m{seq}")).await;
        assert_eq!(
            (&answer["type"], &answer["seq"], &answer["duplicate"]),
            (&json!("journaled"), &json!(seq), &json!(false))
        );
    }
    let again = post(&second, "m2").await;
    assert_eq!(
        (&again["seq"], &again["duplicate"]),
        (&json!(2), &json!(true))
    );

    let seen = stream.take(3).await;
    let expected: Vec<_> = (1..=3)
        .map(|seq| (seq.to_string(), json!(format!("m{seq}"))))
        .collect();
    assert_eq!(
        seen.iter()
            .map(|(id, event)| (id.clone(), event["id"].clone()))
            .collect::<Vec<_>>(),
        expected
    );
    drop(stream);
    // At the other node, from where it was.
    let mut resumed = Events::of(&first, Some("1")).await;
    assert_eq!(resumed.take(2).await, seen[1..]);

    for node in [&first, &second] {
        let url = format!("{}/rooms/aaa/history?before=3&limit=1", node.url());
        let page: Value = reqwest::get(url)
            .await
            .expect("an answer")
            .json()
            .await
            .expect("JSON");
        assert_eq!(
            page,
            json!({ "type": "history", "events": [seen[1].1], "more": true })
        );
    }
}

/// Connections wait in the kernel while the process stands still; then it finds all at once.
pub(crate) async fn who_gave_up_while_a_node_was_frozen_ends_no_session(cluster: Cluster) {
    let node = cluster.node("frozen").await;
    let address = node.url().replace("http://", "");
    let ask = async |room: usize, more: &[u8]| {
        let head = format!(
            "GET /chat/r{room}/user/harry?pub=key&device=d HTTP/1.1\r\nHost: {address}\r\n\
             Connection: keep-alive\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        let mut stream = TcpStream::connect(&address).await.expect("a queue");
        stream.write_all(head.as_bytes()).await.expect("a buffer");
        stream.write_all(more).await.expect("a buffer");
        stream
    };
    // A ping, and a close frame, of clients that do not wait for the handshake.
    let behind = [&b""[..], b"\x89\x80\0\0\0\0", b"\x88\x82\0\0\0\0\x03\xe8"];
    for (room, more) in behind.into_iter().cycle().take(9).enumerate() {
        node.signal("-STOP").await;
        for _ in 0..3 {
            drop(ask(room, more).await);
        }
        let early = ask(room, b"").await;
        let mut last = ask(room, b"").await;
        node.signal("-CONT").await;
        let mut got = Vec::new();
        // A line that comes back shows that the session lives, when all others have been served.
        drop(Person::joins_in_json(&node, &format!("r{room}"), "kim", "key").await);
        drop(early);
        last.write_all(b"\x81\x8a\0\0\0\0harry:*:hi")
            .await
            .expect("it is open");
        while !got.windows(2).any(|part| part == b"hi") {
            let mut some = [0; 4096];
            let read = timeout(PATIENCE, last.read(&mut some))
                .await
                .expect("in time");
            let read = read.expect("a sound connection");
            let told = String::from_utf8_lossy(&got).into_owned();
            assert!(
                read > 0 && !told.contains("replaced"),
                "it was ended: {told}"
            );
            got.extend(&some[..read]);
        }
    }
}

pub(crate) async fn post(node: &Node, id: &str) -> Value {
    let url = format!("{}/rooms/aaa/messages?user=harry&pub=key-harry", node.url());
    let frame = json!({ "type": "send", "id": id, "text": "Hello" });
    let answer = Client::new()
        .post(url)
        .json(&frame)
        .timeout(PATIENCE)
        .send()
        .await
        .expect("an answer");
    assert_eq!(answer.status(), StatusCode::OK);
    answer.json().await.expect("JSON")
}

/// A stream of server-sent events.
pub(crate) struct Events {
    chunks: Pin<Box<dyn Stream<Item = String> + Send>>,
    text: String,
}

impl Events {
    pub(crate) async fn of(node: &Node, last: Option<&'static str>) -> Self {
        let mut request = Client::new().get(format!("{}/rooms/aaa/events", node.url()));
        if let Some(last) = last {
            request = request.header("Last-Event-ID", last);
        }
        let answer = request.send().await.expect("an answer");
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        let chunks = answer.bytes_stream().map(|chunk| {
            String::from_utf8(chunk.expect("a sound stream").to_vec()).expect("UTF-8")
        });
        Self {
            chunks: Box::pin(chunks),
            text: String::new(),
        }
    }

    /// The data of the next entry that has some.
    pub(crate) async fn data(&mut self) -> Value {
        loop {
            let block = self.block().await;
            if let Some(data) = block.lines().find_map(|line| line.strip_prefix("data:")) {
                return serde_json::from_str(data).expect("JSON");
            }
        }
    }

    async fn block(&mut self) -> String {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let block = block.to_owned();
                self.text = rest.to_owned();
                return block;
            }
            self.text += &timeout(PATIENCE, self.chunks.next())
                .await
                .expect("an event in time")
                .expect("an open stream");
        }
    }

    /// The next events: id and data.
    async fn take(&mut self, count: usize) -> Vec<(String, Value)> {
        let mut events = Vec::new();
        while events.len() < count {
            let block = self.block().await;
            let field = |name: &str| {
                block
                    .lines()
                    .find_map(|line| line.strip_prefix(name))
                    .map(|value| value.trim_start().to_owned())
            };
            if let (Some(id), Some(data)) = (field("id:"), field("data:")) {
                events.push((id, serde_json::from_str(&data).expect("JSON")));
            }
        }
        events
    }
}
