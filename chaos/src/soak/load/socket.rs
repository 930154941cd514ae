//! A bare WebSocket of a client that does not behave: what it does with it is its own affair.

use anyhow::Result;
use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use loadtest::raw;
use safe_chat_client::connection;
use serde_json::{Value, json};
use std::{net::SocketAddr, time::Duration};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

/// How long the close may take.
const CLOSE: Duration = Duration::from_secs(15);

/// A session, over JSON.
pub(super) struct Socket(connection::Socket);

/// What it got.
pub(super) enum Got {
    Frame(Value),
    Closed,
}

impl Socket {
    /// Joins a room. `buffer`: bytes that the system may keep for it, if it is to be slow.
    pub(super) async fn join(
        gateway: SocketAddr,
        room: &str,
        user: &str,
        buffer: Option<u32>,
    ) -> Result<Self> {
        raw::join(gateway, room, user, buffer).await.map(Self)
    }

    /// Queues a message; [`Self::flush`] sends what is queued.
    pub(super) async fn queue(&mut self, id: &str, text: &str) -> Result<()> {
        Ok(self
            .0
            .feed(Message::text(
                json!({"type": "send", "id": id, "text": text}).to_string(),
            ))
            .await?)
    }

    pub(super) async fn flush(&mut self) -> Result<()> {
        Ok(self.0.flush().await?)
    }

    /// Shows that it is there.
    pub(super) async fn ping(&mut self) -> Result<()> {
        Ok(self.0.send(Message::Ping(Bytes::new())).await?)
    }

    /// The next frame, or the end.
    pub(super) async fn next(&mut self) -> Got {
        loop {
            match self.0.next().await {
                Some(Ok(Message::Text(text))) => {
                    return Got::Frame(serde_json::from_str(&text).unwrap_or_default());
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Got::Closed,
            }
        }
    }

    pub(super) async fn close(mut self) {
        // It is gone either way.
        let _ = timeout(CLOSE, self.0.close(None)).await;
    }
}
