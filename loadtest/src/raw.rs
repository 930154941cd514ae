//! A session without a client behind it: the socket alone, for what a client as it should be does
//! not do.

use anyhow::{Context, Result};
use futures::StreamExt;
use std::{net::SocketAddr, time::Duration};
use tokio::{
    net::{TcpSocket, TcpStream},
    time::timeout,
};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{client::IntoClientRequest, http::HeaderValue},
};

/// How long a connection may take to get its `welcome`.
const CONNECT: Duration = Duration::from_secs(15);

/// Joins a room over JSON, and takes the `welcome`. `buffer`: bytes that the system may keep for
/// it, if it is to be slow.
pub async fn join(
    gateway: SocketAddr,
    room: &str,
    user: &str,
    buffer: Option<u32>,
) -> Result<WebSocketStream<TcpStream>> {
    let join = async {
        let socket = if gateway.is_ipv4() {
            TcpSocket::new_v4()?
        } else {
            TcpSocket::new_v6()?
        };
        if let Some(bytes) = buffer {
            socket.set_recv_buffer_size(bytes)?;
        }
        let stream = socket.connect(gateway).await?;
        let mut request =
            format!("ws://{gateway}/chat/{room}/user/{user}?pub=key-{user}&history=0")
                .into_client_request()?;
        request.headers_mut().insert(
            "Sec-WebSocket-Protocol",
            HeaderValue::from_static("safechat.v1+json"),
        );
        let (mut socket, _) = client_async(request, stream).await?;
        socket.next().await.context("closed before the welcome")??;
        Ok(socket)
    };
    timeout(CONNECT, join).await.context("no welcome in time")?
}
