//! A session without a client behind it: the socket alone, for what a client as it should be does
//! not do.

use anyhow::{Context, Result};
use futures::StreamExt;
use safe_chat_client::connection::{Dial, Socket};
use std::{net::SocketAddr, time::Duration};
use tokio::time::timeout;

/// How long a connection may take to get its `welcome`.
const CONNECT: Duration = Duration::from_secs(15);

/// Joins a room over JSON, and takes the `welcome`. `buffer`: bytes that the system may keep for
/// it, if it is to be slow.
pub async fn join(
    gateway: SocketAddr,
    room: &str,
    user: &str,
    buffer: Option<u32>,
) -> Result<Socket> {
    let gateway = gateway.to_string().parse().map_err(anyhow::Error::msg)?;
    let dial = Dial {
        history: Some(0),
        deadline: CONNECT,
        receive_buffer: buffer,
        ..Dial::new(gateway, room, user, &format!("key-{user}"))
    };
    let join = async {
        let socket = dial.open().await;
        let mut socket = socket.map_err(|why| anyhow::anyhow!("{why}"))?;
        socket.next().await.context("closed before the welcome")??;
        Ok(socket)
    };
    timeout(CONNECT, join).await.context("no welcome in time")?
}
