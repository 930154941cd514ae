//! How a secret is read from its file, how often it is looked at again, and what stands in its
//! place wherever a configuration is shown.

use serde::{Serialize, Serializer};
use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
    time::Duration,
};

/// Bytes of a file of secrets, at most: more than any chain of certificates has.
const LARGEST: u64 = 1024 * 1024;

/// How often files of secrets are looked at. Their contents are compared: what mounts secrets
/// replaces links and directories, which shows in no file's time or notification.
pub(crate) const EVERY: Duration = Duration::from_secs(5);

/// A file that cannot be used. Says nothing of what stands in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path} cannot be used: {why}")]
pub struct Unusable {
    path: PathBuf,
    why: String,
}

impl Unusable {
    pub(crate) fn new(path: &Path, why: impl Into<String>) -> Self {
        Self {
            path: path.to_owned(),
            why: why.into(),
        }
    }
}

/// What a file holds. What is no regular file (a pipe, a device) might never end, or never begin.
pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let refused = |why: &str| io::Error::new(io::ErrorKind::InvalidInput, why);
    if !fs::metadata(path)?.is_file() {
        return Err(refused("it is no regular file"));
    }
    let mut bytes = Vec::new();
    // A file may grow between the look and the reading.
    File::open(path)?
        .take(LARGEST + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LARGEST {
        return Err(refused("it is larger than 1 MiB"));
    }
    Ok(bytes)
}

/// In place of it.
pub(crate) const HIDDEN: &str = "(hidden)";

/// Serializes whether there is one.
pub(crate) fn hidden<S: Serializer>(
    secret: &Option<String>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    secret.as_ref().map(|_| HIDDEN).serialize(serializer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_might_never_end_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let large = folder.path().join("large");
        fs::write(&large, vec![b'a'; LARGEST as usize + 1]).unwrap();
        let whole = folder.path().join("whole");
        fs::write(&whole, vec![b'a'; LARGEST as usize]).unwrap();
        assert_eq!(read(&whole).unwrap().len() as u64, LARGEST);
        for (path, why) in [
            (large.as_path(), "larger than 1 MiB"),
            (Path::new("/dev/zero"), "no regular file"),
            (folder.path(), "no regular file"),
        ] {
            let error = read(path).unwrap_err().to_string();
            assert!(error.contains(why), "{}: {error}", path.display());
        }
    }
}
