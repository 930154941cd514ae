//! Clients that take nothing, to see what they cost the others.

use crate::raw;
use anyhow::{Context, Result};
use futures::future::join_all;
use safe_chat_client::connection::Socket;
use std::time::Duration;
use tokio::{net::lookup_host, time::sleep};

/// Bytes that the system may keep for such a client, so that the server notices soon.
const BUFFER: u32 = 4096;
/// How long it takes nothing before it comes back.
const SIT: Duration = Duration::from_secs(5);
/// Before it tries again when it was not let in.
const PAUSE: Duration = Duration::from_secs(1);

/// So many of them in a room, until it is dropped.
pub async fn sit(urls: &[String], room: &str, count: usize) {
    join_all(
        urls.iter()
            .cycle()
            .take(count)
            .enumerate()
            .map(|(n, url)| async move {
                let user = format!("slow{n}");
                loop {
                    match join(url, room, &user).await {
                        Ok(_unread) => sleep(SIT).await,
                        Err(_) => sleep(PAUSE).await,
                    }
                }
            }),
    )
    .await;
}

async fn join(url: &str, room: &str, user: &str) -> Result<Socket> {
    let host = url.trim_start_matches("http://").trim_end_matches('/');
    let gateway = lookup_host(host).await?.next().context("no address")?;
    raw::join(gateway, room, user, Some(BUFFER)).await
}
