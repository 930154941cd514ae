//! A person in a room: a WebSocket in any of the three protocols.

use crate::{cluster::PATIENCE, node::Node};
use futures::{SinkExt, StreamExt};
use prost::Message as _;
use safe_chat::proto::client::v1::{self as proto, server_frame::Frame};
use serde_json::{Value, json};
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{self, Message, client::IntoClientRequest, http::HeaderValue},
};

pub(crate) const JSON: Option<&str> = Some("safechat.v1+json");
pub(crate) const PROTO: Option<&str> = Some("safechat.v1+proto");
pub(crate) const TEXT: Option<&str> = None;

pub(crate) struct Person(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Person {
    /// Connects; `query` begins with the key.
    pub(crate) async fn joins(
        node: &Node,
        room: &str,
        user: &str,
        query: &str,
        protocol: Option<&'static str>,
    ) -> Self {
        let coming = Self::comes(node, room, user, query, protocol).await;
        coming.expect("an upgrade")
    }

    /// As [`Self::joins`], or the status with which it is sent away.
    pub(crate) async fn comes(
        node: &Node,
        room: &str,
        user: &str,
        query: &str,
        protocol: Option<&'static str>,
    ) -> Result<Self, u16> {
        let url = format!(
            "{}/chat/{room}/user/{user}?pub={query}",
            node.url().replacen("http", "ws", 1)
        );
        let mut request = url.into_client_request().expect("a sound address");
        if let Some(protocol) = protocol {
            request
                .headers_mut()
                .insert("Sec-WebSocket-Protocol", HeaderValue::from_static(protocol));
        }
        let coming = timeout(PATIENCE, connect_async(request)).await;
        match coming.expect("an answer in time") {
            Ok((socket, _)) => Ok(Self(socket)),
            Err(tungstenite::Error::Http(answer)) => Err(answer.status().as_u16()),
            Err(error) => panic!("no upgrade: {error}"),
        }
    }

    /// Tries to connect; with what it is refused.
    pub(crate) async fn refused(node: &Node, room: &str, user: &str, query: &str) -> (u16, Value) {
        let url = format!(
            "{}/chat/{room}/user/{user}?pub={query}",
            node.url().replacen("http", "ws", 1)
        );
        let attempt = timeout(PATIENCE, connect_async(url)).await;
        match attempt.expect("an answer in time") {
            Err(tungstenite::Error::Http(answer)) => {
                let body = answer.body().as_deref().unwrap_or_default();
                let body = serde_json::from_slice(body).expect("JSON");
                (answer.status().as_u16(), body)
            }
            other => panic!("not refused: {other:?}"),
        }
    }

    /// The same in JSON, past the welcome.
    pub(crate) async fn joins_in_json(node: &Node, room: &str, user: &str, query: &str) -> Self {
        let mut person = Self::joins(node, room, user, query, JSON).await;
        assert_eq!(person.json().await["type"], "welcome");
        person
    }

    pub(crate) async fn types(&mut self, text: &str) {
        self.0
            .send(Message::text(text))
            .await
            .expect("an open connection");
    }

    pub(crate) async fn says(&mut self, id: &str, text: &str) {
        self.types(&json!({ "type": "send", "id": id, "text": text }).to_string())
            .await;
    }

    pub(crate) async fn says_in_proto(&mut self, id: &str, text: &str) {
        let content = Some(proto::send::Content::Text(text.into()));
        let send = proto::Send {
            id: id.into(),
            to: None,
            content,
        };
        let frame = proto::ClientFrame {
            frame: Some(proto::client_frame::Frame::Send(send)),
        };
        self.0
            .send(Message::binary(frame.encode_to_vec()))
            .await
            .expect("an open connection");
    }

    /// The next line or JSON text.
    pub(crate) async fn line(&mut self) -> String {
        loop {
            if let Message::Text(text) = self.message().await {
                return text.to_string();
            }
        }
    }

    pub(crate) async fn lines(&mut self, count: usize) -> Vec<String> {
        let mut lines = Vec::new();
        while lines.len() < count {
            lines.push(self.line().await);
        }
        lines
    }

    /// The next lines that begin so; others are skipped.
    pub(crate) async fn lines_with(&mut self, start: &str, count: usize) -> Vec<String> {
        let mut lines = Vec::new();
        while lines.len() < count {
            lines.push(self.line().await);
            lines.retain(|line| line.starts_with(start));
        }
        lines
    }

    pub(crate) async fn json(&mut self) -> Value {
        serde_json::from_str(&self.line().await).expect("JSON")
    }

    /// The answers to one attempt each of two messages, in whatever order they come.
    pub(crate) async fn answers(&mut self, ids: [&str; 2]) -> [Value; 2] {
        let mut answers = [Value::Null, Value::Null];
        while answers.iter().any(Value::is_null) {
            let frame = self.json().await;
            let is_final = frame["type"] == "journaled" || frame["type"] == "rejected";
            if let Some(at) = ids.iter().position(|id| is_final && frame["id"] == *id) {
                answers[at] = frame;
            }
        }
        answers
    }

    /// The next JSON text, or the code with which the server closes instead.
    pub(crate) async fn json_or_close(&mut self) -> Result<Value, u16> {
        loop {
            match self.message().await {
                Message::Text(text) => return Ok(serde_json::from_str(&text).expect("JSON")),
                Message::Close(frame) => return Err(frame.map_or(1005, |frame| frame.code.into())),
                _ => {}
            }
        }
    }

    pub(crate) async fn proto(&mut self) -> Frame {
        loop {
            if let Message::Binary(bytes) = self.message().await {
                return proto::ServerFrame::decode(bytes)
                    .expect("protobuf")
                    .frame
                    .expect("a known frame");
            }
        }
    }

    /// Frames until one of a type; that is the last.
    pub(crate) async fn reads_until(&mut self, kind: &str) -> Vec<Value> {
        let mut frames: Vec<Value> = Vec::new();
        while frames.last().is_none_or(|frame| frame["type"] != kind) {
            frames.push(self.json().await);
        }
        frames
    }

    /// The next frame of a type; others are skipped.
    pub(crate) async fn next(&mut self, kind: &str) -> Value {
        self.reads_until(kind).await.pop().expect("that frame")
    }

    /// The events up to a place; other frames are skipped.
    pub(crate) async fn events_until(&mut self, seq: u64) -> Vec<Value> {
        let mut events: Vec<Value> = Vec::new();
        while events
            .last()
            .is_none_or(|event| event["seq"].as_u64() < Some(seq))
        {
            events.push(self.next("event").await);
        }
        events
    }

    /// The code with which the server closes; frames before it are skipped.
    pub(crate) async fn closed(&mut self) -> u16 {
        loop {
            if let Message::Close(Some(frame)) = self.message().await {
                return frame.code.into();
            }
        }
    }

    async fn message(&mut self) -> Message {
        let next = timeout(PATIENCE, self.0.next())
            .await
            .expect("a frame in time");
        next.expect("an open connection")
            .expect("a sound connection")
    }
}
