//! A person in a room: a WebSocket with JSON frames.

use crate::support::Node;
use futures::{SinkExt, StreamExt};
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{Message, client::IntoClientRequest, http::HeaderValue},
};

/// Longer than anything takes in one process.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Person {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

/// What a person sees of an event.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Event {
    pub(crate) seq: u64,
    pub(crate) kind: String,
    pub(crate) from: String,
    pub(crate) id: Option<String>,
    pub(crate) text: Option<String>,
}

impl Person {
    /// Joins; `more` is added to the query.
    pub(crate) async fn joins(node: &Node, room: &str, user: &str, more: &str) -> Self {
        Self::comes(node, room, user, more).await.0
    }

    /// The same, and what it is welcomed with.
    pub(crate) async fn comes(node: &Node, room: &str, user: &str, more: &str) -> (Self, Value) {
        let address = node.client_address().expect("a gateway");
        let mut request = format!("ws://{address}/chat/{room}/user/{user}?pub=key-of-{user}{more}")
            .into_client_request()
            .unwrap();
        request.headers_mut().insert(
            "Sec-WebSocket-Protocol",
            HeaderValue::from_static("safechat.v1+json"),
        );
        let (socket, _) = timeout(PATIENCE, connect_async(request))
            .await
            .expect("an upgrade in time")
            .unwrap();
        let mut person = Self { socket };
        let welcome = person.frame().await;
        assert_eq!(welcome["type"], "welcome");
        (person, welcome)
    }

    pub(crate) async fn says(&mut self, id: &str, text: &str) {
        self.sends(&json!({ "type": "send", "id": id, "text": text }))
            .await;
    }

    /// The reason why a change of a group is refused.
    pub(crate) async fn changes_in_vain(&mut self, handshake: &str) -> String {
        self.sends(&json!({ "type": "send", "id": "h", "handshake": handshake }))
            .await;
        loop {
            let frame = self.frame().await;
            if frame["type"] == "rejected" && frame["id"] == "h" {
                return frame["reason"].as_str().unwrap().into();
            }
        }
    }

    async fn sends(&mut self, frame: &Value) {
        let frame = Message::text(frame.to_string());
        self.socket.send(frame).await.unwrap();
    }

    /// The events up to a place; other frames are skipped.
    pub(crate) async fn reads_until(&mut self, seq: u64) -> Vec<Event> {
        let mut events: Vec<Event> = Vec::new();
        while events.last().is_none_or(|event| event.seq < seq) {
            let frame = self.frame().await;
            if frame["type"] == "event" {
                events.push(serde_json::from_value(frame).unwrap());
            }
        }
        events
    }

    /// Reads until the server says goodbye and closes with 1001; returns the delay that it asks
    /// for.
    pub(crate) async fn is_told_to_come_back(&mut self) -> u64 {
        let mut delay = None;
        loop {
            match self.message().await {
                Message::Text(text) => {
                    let frame: Value = serde_json::from_str(&text).unwrap();
                    if frame["type"] == "bye" {
                        delay = frame["reconnect_after_ms"].as_u64();
                    }
                }
                Message::Close(reason) => {
                    assert_eq!(reason.map(|reason| u16::from(reason.code)), Some(1001));
                    return delay.expect("a bye before the close");
                }
                _ => {}
            }
        }
    }

    /// Reads until the server closes; returns the code.
    pub(crate) async fn is_closed(&mut self) -> u16 {
        loop {
            if let Message::Close(reason) = self.message().await {
                return reason.expect("a code").code.into();
            }
        }
    }

    pub(crate) async fn frame(&mut self) -> Value {
        loop {
            if let Message::Text(text) = self.message().await {
                return serde_json::from_str(&text).unwrap();
            }
        }
    }

    async fn message(&mut self) -> Message {
        let next = timeout(PATIENCE, self.socket.next())
            .await
            .expect("a frame in time");
        next.expect("an open connection")
            .expect("a sound connection")
    }
}
