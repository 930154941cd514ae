//! Takes a key back by a marker that ends soon by itself, for logins that may write the key and may
//! not purge.

use super::link::Link;
use crate::bus::{Error, Position};
use async_nats::HeaderMap;
use bytes::Bytes;

/// How long the marker stays; servers take no less than a second.
const TTL: (&str, &str) = ("Nats-TTL", "1s");
const OPERATION: (&str, &str) = ("KV-Operation", "DEL");

/// Replaces the message of a key at a position by a marker that ends. `false`: the stream, which is
/// from before, lets no message end by itself; nothing was done. Another message there stays.
pub(super) async fn expire(link: &Link, key: &str, at: u64) -> Result<bool, Error> {
    match mark(link, key, at, &[TTL, OPERATION]).await {
        Ok(_) | Err(Error::Conflict(_)) => Ok(true),
        Err(Error::Unusable(_)) => Ok(false),
        Err(error) => Err(error),
    }
}

/// The same for whoever wants to know whether another message is there. In a stream that lets no
/// message end by itself the marker ends with the others.
pub(super) async fn end(link: &Link, key: &str, at: u64) -> Result<(), Error> {
    match mark(link, key, at, &[TTL, OPERATION]).await {
        Err(Error::Unusable(_)) => mark(link, key, at, &[OPERATION]).await.map(drop),
        marked => marked.map(drop),
    }
}

async fn mark(link: &Link, key: &str, at: u64, lines: &[(&str, &str)]) -> Result<Position, Error> {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.insert(*name, *value);
    }
    link.store(key.to_owned(), headers, Bytes::new(), Some(at))
        .await
}
