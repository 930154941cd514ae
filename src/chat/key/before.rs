//! The keys whose place another one took: they stay beside it, to sign that where a name still has
//! one of them.

use super::{Own, Stored, read, unlock};
use anyhow::{Context, Result};
use seal::Identity;
use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    sync::OnceLock,
};

/// Keys of before that are tried: each costs an attempt to join.
const FORMER: usize = 8;

/// The keys whose place that of this run took: opened when a room asks for one, for a passphrase
/// makes each cost as much as the key itself.
#[derive(Default)]
pub(in crate::chat) struct Before {
    /// The file of the key; `None`: it was given.
    path: Option<PathBuf>,
    passphrase: Option<String>,
    /// How many keys had been in the file when this run began.
    changes: u32,
    opened: OnceLock<Former>,
}

impl Before {
    pub(super) fn of(path: PathBuf, passphrase: Option<String>) -> Self {
        Self {
            changes: changes(&path),
            path: Some(path),
            passphrase,
            opened: OnceLock::new(),
        }
    }

    /// Newest first.
    pub(in crate::chat) fn open(&self) -> Vec<&Identity> {
        let opened = self.opened.get_or_init(|| {
            let passphrase = self.passphrase.as_deref();
            let found = self
                .path
                .as_deref()
                .map(|path| former(path, passphrase.as_slice()));
            found.and_then(Result::ok).unwrap_or_default()
        });
        opened.opened.iter().map(|(_, identity)| identity).collect()
    }

    /// What their person is told of those that a room was to be shown, and could not be opened.
    pub(in crate::chat) fn note(&self) -> Option<String> {
        self.opened.get()?.note()
    }

    /// Where another key is by now than that of this run.
    pub(in crate::chat) fn changed(&self) -> Option<&Path> {
        let path = self.path.as_deref()?;
        (changes(path) > self.changes).then_some(path)
    }
}

/// How many keys a file had before that of now; one that cannot be seen says nothing.
fn changes(path: &Path) -> u32 {
    let former = former_files(path).unwrap_or_default();
    former.first().map_or(0, |(number, _)| *number)
}

/// The keys whose place that in a file took, newest first, as far as they have a secret that one of
/// these passphrases opens; and the files of the others, which are passed over.
///
/// # Errors
/// Which there are cannot be seen.
pub(crate) fn former(path: &Path, passphrases: &[&str]) -> Result<Former> {
    let mut former = Former::default();
    for (_, file) in former_files(path)?.into_iter().take(FORMER) {
        let opened = match read(&file) {
            Ok(Stored::Open(Own::Pair(identity))) => Some(*identity),
            Ok(Stored::Locked(text)) => {
                let mut opened = passphrases.iter().map(|one| unlock(&text, one));
                opened.find_map(Result::ok)
            }
            Ok(Stored::Open(Own::Claimed(_))) | Err(_) => None,
        };
        match opened {
            Some(identity) => former.opened.push((file, identity)),
            None => former.others.push(file),
        }
    }
    Ok(former)
}

/// See [`former`].
#[derive(Default)]
pub(crate) struct Former {
    pub(crate) opened: Vec<(PathBuf, Identity)>,
    pub(crate) others: Vec<PathBuf>,
}

impl Former {
    /// What their person is told of those that are passed over.
    fn note(&self) -> Option<String> {
        let files: Vec<_> = self
            .others
            .iter()
            .map(|file| file.display().to_string())
            .collect();
        (!files.is_empty()).then(|| {
            format!(
                "former keys cannot be opened with the passphrase of the key, and sign nothing: {}. \
                 `safe-chat keys protect` or `unprotect` with --key-file FILE gives one another \
                 passphrase, or none",
                files.join(", ")
            )
        })
    }
}

pub(super) fn former_file(path: &Path, number: u32) -> PathBuf {
    let mut former = OsString::from(path);
    former.push(format!(".former-{number}"));
    PathBuf::from(former)
}

/// By number, the highest first, which is the newest.
pub(super) fn former_files(path: &Path) -> Result<Vec<(u32, PathBuf)>> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Ok(Vec::new());
    };
    let folder = match folder.as_os_str().is_empty() {
        true => Path::new("."),
        false => folder,
    };
    let files = match fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        files => files.with_context(|| format!("cannot read {}", folder.display()))?,
    };
    let beginning = format!("{}.former-", name.to_string_lossy());
    let mut found = Vec::new();
    for file in files {
        let name = file?.file_name().to_string_lossy().into_owned();
        if let Some(number) = name.strip_prefix(&beginning).and_then(|n| n.parse().ok()) {
            found.push((number, former_file(path, number)));
        }
    }
    found.sort_by(|one, other| other.cmp(one));
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::super::{change, create, hold, locked, plain, replace};
    use super::*;

    #[test]
    fn former_keys_are_opened_when_they_are_asked_for_and_said_which_cannot_be() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let of = |seed: u8| Identity::from_seed(&[seed; 32]);
        create(&path, &of(1)).unwrap();
        for seed in [2, 3] {
            change(&path, &hold(&path).unwrap(), &plain(&of(seed))).unwrap();
        }
        let other = locked(&of(1), "another passphrase").unwrap();
        replace(&former_file(&path, 1), &other).unwrap();
        let before = Before::of(path.clone(), Some("correct horse battery".into()));
        assert_eq!(before.note(), None);
        let opened: Vec<_> = before.open().iter().map(|one| one.public()).collect();
        assert_eq!(opened, [of(2).public()]);
        let note = before.note().unwrap();
        assert!(note.contains("key.former-1"), "{note}");
    }
}
