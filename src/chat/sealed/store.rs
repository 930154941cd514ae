//! Where a terminal keeps what its device must not forget of sealed rooms: beside the key, one file
//! for each name, encrypted with the key, written whole before anything is sent. What is only read
//! may be written later: a program that is killed reads it again. One program at a time has it.

use anyhow::{Context, Result, bail};
use seal::{Changes, Identity, Member, Name, Shelf, shelf::is_locked};
use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, ErrorKind, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

/// The file, and what it holds.
pub(in crate::chat) struct Store {
    path: PathBuf,
    identity: Identity,
    user: String,
    shelf: Shelf,
    /// The file does not have all of it.
    is_behind: bool,
    /// Held as long as this lives.
    _lock: File,
}

impl Store {
    /// Opens the store of a name, that of the key in `key_file`.
    ///
    /// # Errors
    /// Another program has it, or it cannot be read.
    pub(in crate::chat) fn open(key_file: &Path, identity: Identity, user: &str) -> Result<Self> {
        let folder = folder_of(key_file);
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
                "another safe-chat on this machine is {user} with the key in {} already, and one \
                 program at a time is a device: end that one, or be a second device of yours, by a \
                 copy of the key file: cp -p {0} {0}-2, then --key-file {0}-2",
                key_file.display()
            ),
            Err(TryLockError::Error(error)) => return Err(error).with_context(place),
        }
        let path = folder.join(user);
        let shelf = match fs::read(&path) {
            Ok(bytes) => Shelf::unlock(&bytes, &identity, user).with_context(|| {
                format!(
                    "{} cannot be used: put the one of this key there, or move it away, and this \
                     is a new device, which has to be let in",
                    path.display()
                )
            })?,
            Err(error) if error.kind() == ErrorKind::NotFound => Shelf::default(),
            Err(error) => return Err(error).with_context(|| path.display().to_string()),
        };
        Ok(Self {
            path,
            identity,
            user: user.into(),
            shelf,
            is_behind: false,
            _lock: lock,
        })
    }

    /// What was kept.
    pub(super) fn shelf(&self) -> &Shelf {
        &self.shelf
    }

    /// Takes the changes of a step. Nothing that follows from them may be sent until they are
    /// [`Store::write`]n.
    ///
    /// # Errors
    /// They do not follow what is here.
    pub(super) fn keep(&mut self, changes: Changes) -> Result<()> {
        self.is_behind |= !changes.is_empty();
        Ok(self.shelf.store(changes)?)
    }

    /// All that was taken is on the disk when it returns.
    ///
    /// # Errors
    /// It is not, and nothing that follows from it may be sent.
    pub(super) fn write(&mut self) -> Result<()> {
        if !self.is_behind {
            return Ok(());
        }
        let place = || format!("cannot write {}", self.path.display());
        let locked = self.shelf.lock(&self.identity, &self.user, &rand::random());
        let mut name = self.path.clone().into_os_string();
        name.push(".new");
        write_whole(&self.path, Path::new(&name), &locked).with_context(place)?;
        self.is_behind = false;
        Ok(())
    }
}

/// The devices that a key has in sealed rooms, one for each name, as they are stored beside it. A
/// program that runs with one goes on: its file is written whole.
pub(crate) fn devices_of(key_file: &Path, identity: &Identity) -> Result<Vec<Member>> {
    let folder = folder_of(key_file);
    let place = || format!("{} cannot be read", folder.display());
    let files = match fs::read_dir(&folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        files => files.with_context(place)?,
    };
    let mut devices = Vec::new();
    for file in files {
        let file = file.with_context(place)?;
        let name = file.file_name().into_string().unwrap_or_default();
        // No name of a user has a dot, as locks and drafts do.
        if Name::parse(&name).is_err() {
            continue;
        }
        let unusable = || format!("{} cannot be used", file.path().display());
        let bytes = fs::read(file.path()).with_context(unusable)?;
        // Somebody has put something else there. One that is empty was cut off.
        if !bytes.is_empty() && !is_locked(&bytes) {
            continue;
        }
        let shelf = Shelf::unlock(&bytes, identity, &name).with_context(unusable)?;
        devices.push(Member::restore(shelf).with_context(unusable)?);
    }
    devices.sort_by(|one, two| one.certificate().user().cmp(two.certificate().user()));
    Ok(devices)
}

/// What is kept beside a key goes beside the file that it has from now on.
///
/// # Errors
/// A program uses it, or it cannot be moved: all is as it was.
pub(in crate::chat) fn move_with_key(key_file: &Path, former: &Path) -> Result<()> {
    let folder = folder_of(key_file);
    let place = || format!("cannot move {}", folder.display());
    let files = match fs::read_dir(&folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        files => files.with_context(place)?,
    };
    let mut locks = Vec::new();
    for file in files {
        let path = file.with_context(place)?.path();
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        if path.extension().is_none_or(|end| end != "lock") {
            continue;
        }
        let lock = private().open(&path).with_context(place)?;
        match lock.try_lock() {
            Ok(()) => locks.push(lock),
            Err(TryLockError::WouldBlock) => {
                bail!("a safe-chat on this machine is {name} in a sealed room: end it first")
            }
            Err(TryLockError::Error(error)) => return Err(error).with_context(place),
        }
    }
    fs::rename(&folder, folder_of(former)).with_context(place)
}

pub(in crate::chat) fn folder_of(key_file: &Path) -> PathBuf {
    let mut folder = OsString::from(key_file);
    folder.push(".sealed");
    PathBuf::from(folder)
}

/// Puts a file of these bytes in the place of another one, whole and on the disk, or leaves all as
/// it was, without the draft.
pub(in crate::chat) fn write_whole(path: &Path, draft: &Path, bytes: &[u8]) -> io::Result<File> {
    let written = write_draft(draft, bytes)
        .and_then(|file| fs::rename(draft, path).map(|()| file))
        .inspect_err(|_| drop(fs::remove_file(draft)))?;
    let folder = path.parent().unwrap_or(Path::new("/"));
    File::open(folder)?.sync_all()?;
    Ok(written)
}

/// A file of these bytes, on the disk; if that cannot be, none is left.
pub(in crate::chat) fn write_draft(draft: &Path, bytes: &[u8]) -> io::Result<File> {
    let mut file = private().truncate(true).open(draft)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    // Beside what went wrong it is of no account whether that works.
    written.inspect_err(|_| drop(fs::remove_file(draft)))?;
    Ok(file)
}

/// For files that only their owner reads.
pub(super) fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).create(true).mode(0o600);
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_written_leaves_no_draft() {
        let folder = tempfile::tempdir().unwrap();
        let (path, draft) = (folder.path().join("a"), folder.path().join("a.new"));
        write_whole(&path, &draft, b"one").unwrap();
        // In the place of a folder no file comes.
        fs::create_dir(folder.path().join("b")).unwrap();
        let refused = write_whole(&folder.path().join("b"), &draft, b"two");
        assert!(refused.is_err() && !draft.exists());
        assert_eq!(fs::read(&path).unwrap(), b"one");
    }
    use seal::DeviceKey;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn a_file_that_is_no_state_hides_no_device_and_one_that_is_cut_off_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let key_file = folder.path().join("key");
        let identity = Identity::from_seed(&[1; 32]);
        let name = |of| Name::parse(of).unwrap();
        let key = DeviceKey::from_seed(&[2; 32]);
        let certificate = identity.certify(name("harry"), name("cli"), &key);
        let mut member = Member::new(key, certificate);
        let mut store = Store::open(&key_file, Identity::from_seed(&[1; 32]), "harry").unwrap();
        let step = member.publish(0, 1_000).unwrap();
        store.keep(step.changes).unwrap();
        store.write().unwrap();
        let beside = |name: &str, bytes: &[u8]| {
            fs::write(folder_of(&key_file).join(name), bytes).unwrap();
        };
        beside("README", b"what is here");
        assert_eq!(devices_of(&key_file, &identity).unwrap().len(), 1);
        beside("kim", b"");
        let refused = devices_of(&key_file, &identity).map(drop).unwrap_err();
        assert!(refused.to_string().contains("kim"), "{refused}");
    }

    #[test]
    fn what_is_only_read_is_written_once_for_many_steps() {
        let folder = tempfile::tempdir().unwrap();
        let key_file = folder.path().join("key");
        let identity = || Identity::from_seed(&[1; 32]);
        let (key, name) = (DeviceKey::from_seed(&[2; 32]), |of| {
            Name::parse(of).unwrap()
        });
        let certificate = identity().certify(name("harry"), name("cli"), &key);
        let mut member = Member::new(key, certificate);
        let mut store = Store::open(&key_file, identity(), "harry").unwrap();
        for _ in 0..100 {
            store
                .keep(member.publish(0, 1_000).unwrap().changes)
                .unwrap();
        }
        assert!(!store.path.exists());
        // Each write makes another file.
        let written = |store: &mut Store| {
            store.write().unwrap();
            fs::metadata(&store.path).unwrap().ino()
        };
        let first = written(&mut store);
        assert_eq!(written(&mut store), first, "nothing has changed");
        store
            .keep(member.publish(0, 1_000).unwrap().changes)
            .unwrap();
        assert_ne!(written(&mut store), first);
        let shelf = store.shelf().clone();
        drop(store);
        let again = Store::open(&key_file, identity(), "harry").unwrap();
        assert!(*again.shelf() == shelf);
    }
}
