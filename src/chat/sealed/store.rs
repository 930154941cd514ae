//! Where a terminal keeps what its device must not forget of sealed rooms: beside the key, one file
//! for each name, encrypted with the key, written whole before anything is sent. One program at a
//! time has it.

use anyhow::{Context, Result, bail};
use seal::{Changes, Identity, Shelf};
use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions, TryLockError},
    io::{ErrorKind, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

/// The file, and what it holds.
pub(super) struct Store {
    path: PathBuf,
    identity: Identity,
    user: String,
    shelf: Shelf,
    /// Held as long as this lives.
    _lock: File,
}

impl Store {
    /// Opens the store of a name, that of the key in `key_file`.
    ///
    /// # Errors
    /// Another program has it, or it cannot be read.
    pub(super) fn open(key_file: &Path, identity: Identity, user: &str) -> Result<Self> {
        let mut folder = OsString::from(key_file);
        folder.push(".sealed");
        let folder = PathBuf::from(folder);
        let place = || {
            format!(
                "cannot keep the state of sealed rooms in {}",
                folder.display()
            )
        };
        let mut made = fs::DirBuilder::new();
        made.recursive(true).mode(0o700);
        made.create(&folder).with_context(place)?;
        let lock = private()
            .open(folder.join(format!("{user}.lock")))
            .with_context(place)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => bail!(
                "another program is {user} in sealed rooms with this key: end it first, or take \
                 another name or another key file"
            ),
            Err(TryLockError::Error(error)) => return Err(error).with_context(place),
        }
        let path = folder.join(user);
        let shelf = match fs::read(&path) {
            Ok(bytes) => Shelf::unlock(&bytes, &identity, user)
                .with_context(|| format!("{} cannot be used", path.display()))?,
            Err(error) if error.kind() == ErrorKind::NotFound => Shelf::default(),
            Err(error) => return Err(error).with_context(|| path.display().to_string()),
        };
        Ok(Self {
            path,
            identity,
            user: user.into(),
            shelf,
            _lock: lock,
        })
    }

    /// What was kept.
    pub(super) fn shelf(&self) -> &Shelf {
        &self.shelf
    }

    /// Keeps the changes of a step. They are on the disk when it returns.
    ///
    /// # Errors
    /// They are not, and nothing that follows from them may be sent.
    pub(super) fn keep(&mut self, changes: Changes) -> Result<()> {
        let place = || format!("cannot write {}", self.path.display());
        self.shelf.store(changes)?;
        let locked = self.shelf.lock(&self.identity, &self.user, &rand::random());
        let mut name = self.path.clone().into_os_string();
        name.push(".new");
        let draft = PathBuf::from(name);
        let mut file = private().truncate(true).open(&draft).with_context(place)?;
        file.write_all(&locked).with_context(place)?;
        file.sync_all().with_context(place)?;
        fs::rename(&draft, &self.path).with_context(place)?;
        let folder = self.path.parent().context("no folder")?;
        File::open(folder)?.sync_all().with_context(place)
    }
}

/// For files that only their owner reads.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).create(true).mode(0o600);
    options
}
