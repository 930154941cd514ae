//! Small stores on NATS: buckets `<P>_KEYS` and `<P>_WELCOMES`. What is erased leaves a marker that
//! ends soon: a gateway may write keys, and may not purge.

use super::{Nats, expiring, registry::is_deletion};
use crate::bus::{Bucket, Buckets, Error, bucket::check};
use async_nats::HeaderMap;
use async_trait::async_trait;
use bytes::Bytes;

/// The kind of a bucket, as it stands in the names of streams.
fn kind(bucket: Bucket) -> &'static str {
    match bucket {
        Bucket::Packages => "KEYS",
        Bucket::Welcomes => "WELCOMES",
    }
}

#[async_trait]
impl Buckets for Nats {
    async fn read(&self, bucket: Bucket, name: &str) -> Result<Option<(Bytes, u64)>, Error> {
        check(name, 0)?;
        Ok(self.in_bucket(bucket, name).await?.ok())
    }

    /// Where nothing is expected, the marker of what was erased counts as nothing.
    async fn write(
        &self,
        bucket: Bucket,
        name: &str,
        value: Bytes,
        expected: u64,
    ) -> Result<u64, Error> {
        check(name, value.len())?;
        let subject = self.subjects.key(kind(bucket), name);
        let store = async |expected| {
            let (subject, value) = (subject.clone(), value.clone());
            let stored = self
                .registry
                .store(subject, HeaderMap::new(), value, Some(expected));
            stored.await.map(|position| position.0)
        };
        match store(expected).await {
            Err(Error::Conflict(why)) if expected == 0 => {
                match self.in_bucket(bucket, name).await? {
                    Err(marker) if marker > 0 => store(marker).await,
                    // It ended meanwhile.
                    Err(_) => store(0).await,
                    Ok(_) => Err(Error::Conflict(why)),
                }
            }
            stored => stored,
        }
    }

    async fn erase(&self, bucket: Bucket, name: &str, expected: u64) -> Result<(), Error> {
        check(name, 0)?;
        let subject = self.subjects.key(kind(bucket), name);
        expiring::end(&self.registry, &subject, expected).await
    }

    async fn names(&self, bucket: Bucket, pattern: &str) -> Result<Vec<String>, Error> {
        let kind = kind(bucket);
        let (stream, filter) = (self.subjects.bucket(kind), self.subjects.key(kind, pattern));
        let front = self.subjects.key(kind, "");
        let subjects = self.registry.subjects(&stream, &filter).await?;
        let names = subjects.iter().filter_map(|one| one.strip_prefix(&front));
        Ok(names.map(str::to_owned).collect())
    }
}

impl Nats {
    /// A value and its revision; else the revision of the marker in its place, 0: nothing.
    async fn in_bucket(
        &self,
        bucket: Bucket,
        name: &str,
    ) -> Result<Result<(Bytes, u64), u64>, Error> {
        let kind = kind(bucket);
        let (stream, subject) = (self.subjects.bucket(kind), self.subjects.key(kind, name));
        let Some(stored) = self.registry.last(&stream, &subject).await? else {
            return Ok(Err(0));
        };
        Ok(match is_deletion(Some(&stored.headers)) {
            true => Err(stored.sequence),
            false => Ok((stored.payload, stored.sequence)),
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::bus::KEPT;
    use serde_json::Value;

    #[test]
    fn what_nobody_writes_again_ends_as_the_port_says() {
        for text in [
            include_str!("../../../nats/keys.json"),
            include_str!("../../../nats/welcomes.json"),
        ] {
            let definition: Value = serde_json::from_str(text).unwrap();
            let name = &definition["name"];
            assert_eq!(definition["max_age"], KEPT.as_nanos() as u64, "{name}");
            assert_eq!(definition["allow_msg_ttl"], true, "{name}: markers end");
        }
    }
}
