//! The small stores of the memory adapter.

use super::{Memory, Op};
use crate::{
    bus::{
        Bucket, Buckets, Error, KEPT,
        bucket::{check, matches},
    },
    room::Millis,
};
use async_trait::async_trait;
use bytes::Bytes;
use std::collections::BTreeMap;

/// Values by bucket and name, each with its revision and when it was written.
#[derive(Default)]
pub(super) struct Stored {
    values: BTreeMap<(Bucket, String), (u64, Millis, Bytes)>,
    revision: u64,
}

impl Stored {
    /// Drops what has ended.
    fn trim(&mut self, now: Millis) {
        let kept = KEPT.as_millis() as u64;
        self.values.retain(|_, (_, at, _)| now.0 < at.0 + kept);
    }

    fn revision(&self, bucket: Bucket, name: &str) -> u64 {
        let found = self.values.get(&(bucket, name.to_owned()));
        found.map_or(0, |(revision, ..)| *revision)
    }

    fn expect(&self, bucket: Bucket, name: &str, expected: u64) -> Result<(), Error> {
        match self.revision(bucket, name) {
            found if found == expected => Ok(()),
            found => Err(Error::Conflict(format!(
                "{name} has revision {found}, not {expected}"
            ))),
        }
    }

    /// Bytes of a bucket beside what is to be replaced.
    fn bytes_beside(&self, bucket: Bucket, replaced: &str) -> usize {
        let values = self.values.iter();
        let others = values.filter(|((of, name), _)| *of == bucket && name != replaced);
        others.map(|(_, (.., value))| value.len()).sum()
    }
}

#[async_trait]
impl Buckets for Memory {
    async fn read(&self, bucket: Bucket, name: &str) -> Result<Option<(Bytes, u64)>, Error> {
        check(name, 0)?;
        self.call(Op::Get, |state| {
            state.buckets.trim(self.server.now());
            let found = state.buckets.values.get(&(bucket, name.to_owned()));
            Ok(found.map(|(revision, _, value)| (value.clone(), *revision)))
        })
        .await
    }

    async fn write(
        &self,
        bucket: Bucket,
        name: &str,
        value: Bytes,
        expected: u64,
    ) -> Result<u64, Error> {
        check(name, value.len())?;
        self.call(Op::Put, |state| {
            state.check_size(|| value.len())?;
            let (now, stored) = (self.server.now(), &mut state.buckets);
            stored.trim(now);
            stored.expect(bucket, name, expected)?;
            let most = self.server.config.bucket_bytes;
            if stored.bytes_beside(bucket, name) + value.len() > most {
                return Err(Error::Full(format!("{bucket:?} has {most} bytes at most")));
            }
            stored.revision += 1;
            let entry = (stored.revision, now, value);
            stored.values.insert((bucket, name.to_owned()), entry);
            Ok(stored.revision)
        })
        .await
    }

    async fn erase(&self, bucket: Bucket, name: &str, expected: u64) -> Result<(), Error> {
        check(name, 0)?;
        self.call(Op::Put, |state| {
            state.buckets.trim(self.server.now());
            state.buckets.expect(bucket, name, expected)?;
            state.buckets.values.remove(&(bucket, name.to_owned()));
            Ok(())
        })
        .await
    }

    async fn names(&self, bucket: Bucket, pattern: &str) -> Result<Vec<String>, Error> {
        self.call(Op::Get, |state| {
            state.buckets.trim(self.server.now());
            let names = state.buckets.values.keys();
            let matching = names.filter(|(of, name)| *of == bucket && matches(pattern, name));
            Ok(matching.map(|(_, name)| name.clone()).collect())
        })
        .await
    }
}
