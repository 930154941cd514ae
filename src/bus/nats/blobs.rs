//! Larger values on NATS: bucket `<P>_SNAPSHOTS`, each value in one message.

use super::Nats;
use crate::bus::{BLOB, Blobs, Error};
use async_nats::HeaderMap;
use async_trait::async_trait;
use bytes::Bytes;

#[async_trait]
impl Blobs for Nats {
    async fn put(&self, name: &str, value: Bytes, expected: u64) -> Result<u64, Error> {
        check(name)?;
        if value.len() > BLOB {
            return Err(Error::Unusable(format!("the value {name} has {} bytes, more than {BLOB}", value.len())));
        }
        let stored = self.registry.store(self.subjects.key("SNAPSHOTS", name), HeaderMap::new(), value, Some(expected)).await?;
        Ok(stored.0)
    }

    async fn get(&self, name: &str) -> Result<Option<(Bytes, u64)>, Error> {
        check(name)?;
        let stored = self.registry.last(&self.subjects.bucket("SNAPSHOTS"), &self.subjects.key("SNAPSHOTS", name)).await?;
        Ok(stored.map(|message| (message.payload, message.sequence)))
    }
}

/// A name is a key of a bucket: letters, digits and `_ - = / .`, no empty part between dots.
fn check(name: &str) -> Result<(), Error> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"_-=/".contains(&b);
    let fits = name.split('.').all(|part| !part.is_empty() && part.bytes().all(allowed));
    fits.then_some(()).ok_or_else(|| Error::Unusable(format!("`{name}` cannot name a value: letters, digits and _ - = / . only")))
}
