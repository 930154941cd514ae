//! Larger values on NATS: bucket `<P>_SNAPSHOTS`, each value in one message.

use super::{Nats, link::Link};
use crate::bus::{
    Blobs, Error,
    blob::{check_blob, check_public},
};
use async_nats::{HeaderMap, StatusCode};
use async_trait::async_trait;
use bytes::Bytes;

#[async_trait]
impl Blobs for Nats {
    async fn put(&self, name: &str, value: Bytes, expected: u64) -> Result<u64, Error> {
        check_blob(name, value.len())?;
        let stored = self
            .registry
            .store(
                self.subjects.key("SNAPSHOTS", name),
                HeaderMap::new(),
                value,
                Some(expected),
            )
            .await?;
        Ok(stored.0)
    }

    async fn get(&self, name: &str) -> Result<Option<(Bytes, u64)>, Error> {
        check_blob(name, 0)?;
        let stored = self
            .registry
            .last(
                &self.subjects.bucket("SNAPSHOTS"),
                &self.subjects.key("SNAPSHOTS", name),
            )
            .await?;
        Ok(stored.map(|message| (message.payload, message.sequence)))
    }

    async fn peek(&self, name: &str) -> Result<Option<Bytes>, Error> {
        check_public(name)?;
        if self.writes {
            return Ok(self.get(name).await?.map(|(value, _)| value));
        }
        let bucket = self.subjects.bucket("SNAPSHOTS");
        let key = self.subjects.key("SNAPSHOTS", name);
        self.registry.last_direct(&bucket, &key).await
    }

    async fn names_under(&self, under: &str) -> Result<Vec<String>, Error> {
        check_blob(under, 0)?;
        let (stream, filter) = self.blobs_under(under);
        let front = self.subjects.key("SNAPSHOTS", "");
        let subjects = self.registry.subjects(&stream, &filter).await?;
        let names = subjects.iter().filter_map(|one| one.strip_prefix(&front));
        Ok(names.map(str::to_owned).collect())
    }

    async fn drop_under(&self, under: &str) -> Result<(), Error> {
        check_blob(under, 0)?;
        let (stream, filter) = self.blobs_under(under);
        self.registry.purge(&stream, &filter, None).await
    }

    async fn drop_under_up_to(&self, under: &str, revision: u64) -> Result<(), Error> {
        check_blob(under, 0)?;
        let (stream, filter) = self.blobs_under(under);
        // The server takes 0 for everything.
        let below = revision.saturating_add(1);
        self.registry.purge(&stream, &filter, Some(below)).await
    }
}

impl Nats {
    /// The stream, and the subjects of values whose names begin so.
    fn blobs_under(&self, under: &str) -> (String, String) {
        let filter = self.subjects.key("SNAPSHOTS", &format!("{under}.>"));
        (self.subjects.bucket("SNAPSHOTS"), filter)
    }
}

impl Link {
    /// What the last message of a subject holds, from whichever replica is near, by a call that
    /// names the subject: whoever may make it may read no other one.
    async fn last_direct(&self, stream: &str, subject: &str) -> Result<Option<Bytes>, Error> {
        let call = format!("$JS.API.DIRECT.GET.{stream}.{subject}");
        let answer = self
            .request_of_jetstream(self.deadline, call, HeaderMap::new(), Bytes::new())
            .await;
        let what = format!("reading stream {stream}");
        let message = answer.map_err(|failure| failure.of_read(&what))?;
        match message.status {
            None => Ok(Some(message.payload)),
            Some(StatusCode::NOT_FOUND) => Ok(None),
            Some(status) => Err(Error::Unavailable(format!("{what}: status {status}"))),
        }
    }
}
