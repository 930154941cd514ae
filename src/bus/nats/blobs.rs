//! Larger values on NATS: bucket `<P>_SNAPSHOTS`, a value in one message if it fits, else in pieces that one message names.
//!
//! The pieces of a value are stored before the message that names them, under keys of their own, so a reader sees the old value or the new one. Pieces
//! of older values, also of a writer that died in between, are removed by the next one.

use super::Nats;
use crate::bus::{Blobs, Error};
use async_nats::{HeaderMap, jetstream::message::StreamMessage};
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use tracing::warn;

/// Bytes in one message: half of what a server takes by default.
const PIECE: usize = 512 * 1024;
/// How many pieces a value has. Absent: the value is in the message itself.
const PIECES: &str = "Chat-Pieces";
/// Which write the pieces are of.
const WRITE: &str = "Chat-Write";

#[async_trait]
impl Blobs for Nats {
    async fn put(&self, name: &str, value: Bytes) -> Result<(), Error> {
        check(name)?;
        let subject = self.subjects.key("SNAPSHOTS", &format!("value.{name}"));
        if value.len() <= PIECE {
            let stored = self.registry.store(subject, HeaderMap::new(), value, None).await?;
            return self.remove_pieces(name, stored.0).await;
        }
        let mut headers = HeaderMap::new();
        let write = self.registry.client.new_inbox().replace("_INBOX.", "");
        let mut first = None;
        let pieces = value.len().div_ceil(PIECE);
        for n in 0..pieces {
            let piece = value.slice(n * PIECE..value.len().min((n + 1) * PIECE));
            let stored = self.registry.store(self.piece(name, &write, n), HeaderMap::new(), piece, None).await?;
            first.get_or_insert(stored.0);
        }
        headers.insert(PIECES, pieces.to_string().as_str());
        headers.insert(WRITE, write.as_str());
        self.registry.store(subject, headers, Bytes::new(), None).await?;
        self.remove_pieces(name, first.unwrap_or_default()).await
    }

    /// A value whose pieces are not all there any more was overwritten meanwhile, or by two at once: `None` if it stays so.
    async fn get(&self, name: &str) -> Result<Option<Bytes>, Error> {
        check(name)?;
        let (stream, subject) = (self.subjects.bucket("SNAPSHOTS"), self.subjects.key("SNAPSHOTS", &format!("value.{name}")));
        let mut torn = None;
        loop {
            let Some(message) = self.registry.last(&stream, &subject).await? else { return Ok(None) };
            if torn == Some(message.sequence) {
                warn!(name, "a value is not complete: it counts as not there");
                return Ok(None);
            }
            if let Some(value) = self.assemble(name, &message).await? {
                return Ok(Some(value));
            }
            torn = Some(message.sequence);
        }
    }
}

impl Nats {
    async fn assemble(&self, name: &str, message: &StreamMessage) -> Result<Option<Bytes>, Error> {
        let header = |key: &str| message.headers.get(key).map(|value| value.as_str());
        let (Some(pieces), Some(write)) = (header(PIECES).and_then(|pieces| pieces.parse().ok()), header(WRITE)) else {
            return Ok(Some(message.payload.clone()));
        };
        let stream = self.subjects.bucket("SNAPSHOTS");
        let mut value = BytesMut::new();
        for n in 0..pieces {
            let Some(piece) = self.registry.last(&stream, &self.piece(name, write, n)).await? else { return Ok(None) };
            value.extend_from_slice(&piece.payload);
        }
        Ok(Some(value.freeze()))
    }

    fn piece(&self, name: &str, write: &str, n: usize) -> String {
        self.subjects.key("SNAPSHOTS", &format!("piece.{name}.{write}.{n}"))
    }

    async fn remove_pieces(&self, name: &str, below: u64) -> Result<(), Error> {
        let filter = self.subjects.key("SNAPSHOTS", &format!("piece.{name}.*.*"));
        self.registry.purge(&self.subjects.bucket("SNAPSHOTS"), &filter, Some(below)).await
    }
}

/// A name is a key of a bucket: letters, digits and `_ - = / .`, no empty part between dots.
fn check(name: &str) -> Result<(), Error> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"_-=/".contains(&b);
    let fits = name.split('.').all(|part| !part.is_empty() && part.bytes().all(allowed));
    fits.then_some(()).ok_or_else(|| Error::Unusable(format!("`{name}` cannot name a value: letters, digits and _ - = / . only")))
}
