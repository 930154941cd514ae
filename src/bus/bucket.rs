//! Small stores beside the rooms: values by name that end by themselves. What is kept in them is
//! laid out by `packages` and `admissions`, for every adapter alike.

use super::{Error, blob::check_blob};
use async_trait::async_trait;
use bytes::Bytes;
use std::time::Duration;

/// How long a value stays that nobody writes again.
pub const KEPT: Duration = Duration::from_hours(90 * 24);

/// Which store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Bucket {
    /// Key packages.
    Packages,
    /// Welcomes that wait.
    Welcomes,
}

/// Values by name, each changed by compare-and-set. A cluster from before, or a login with the
/// rights of before, may lack them: then every call is [`Error::Unavailable`], and nothing else
/// suffers.
#[async_trait]
pub trait Buckets: Send + Sync {
    /// The value of a name with its revision, read through the leader.
    async fn read(&self, bucket: Bucket, name: &str) -> Result<Option<(Bytes, u64)>, Error>;

    /// Stores a value of at most [`super::BLOB`] bytes if the revision of the name is still
    /// `expected` (0: if there is none). Returns the new revision; [`Error::Conflict`] when
    /// somebody was faster, [`Error::Full`] when there is no space, [`Error::Unknown`] when it may
    /// have happened: read it.
    async fn write(
        &self,
        bucket: Bucket,
        name: &str,
        value: Bytes,
        expected: u64,
    ) -> Result<u64, Error>;

    /// Removes a value if its revision is still `expected`. Errors as [`Buckets::write`].
    async fn erase(&self, bucket: Bucket, name: &str, expected: u64) -> Result<(), Error>;

    /// The names that a pattern matches, in no order: `*` stands for one part between dots, `>` at
    /// the end for all that follow. Some of those that were erased within the last seconds may be
    /// among them: [`Buckets::read`] knows.
    async fn names(&self, bucket: Bucket, pattern: &str) -> Result<Vec<String>, Error>;
}

/// Whether a name and a value may be stored.
pub(super) fn check(name: &str, bytes: usize) -> Result<(), Error> {
    check_blob(name, bytes)
}

/// Whether a pattern, as [`Buckets::names`] has them, matches a name.
pub(super) fn matches(pattern: &str, name: &str) -> bool {
    let (mut parts, mut of_name) = (pattern.split('.'), name.split('.'));
    loop {
        match (parts.next(), of_name.next()) {
            (Some(">"), Some(_)) | (None, None) => return true,
            (Some("*"), Some(_)) => {}
            (Some(part), Some(of_name)) if part == of_name => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn a_pattern_matches_as_that_of_a_subject() {
        for (pattern, name, expected) in [
            ("a.b", "a.b", true),
            ("a.b", "a.b.c", false),
            ("a.*", "a.b", true),
            ("a.*", "a", false),
            ("a.>", "a.b.c", true),
            ("a.>", "a", false),
            ("*.b.*", "a.b.c", true),
            ("*.b.*", "a.c.b", false),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }
}
