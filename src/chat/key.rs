//! The key of this person: a pair that is generated once, and kept in a file that only its owner can
//! read: `ed25519:` and the secret, or an exported identity, which a passphrase opens. A file of
//! before has a key without a secret, which can only be claimed. A key that another one took the
//! place of stays beside it, to sign that where its name still has it.

mod before;

use std::fs::{self, File, TryLockError};
use std::io::IsTerminal;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use seal::{Identity, export};

use super::{Options, sealed::store};
use crate::passphrase;
pub(super) use before::Before;
pub(crate) use before::former;
use before::{former_file, former_files};

/// What comes before the secret in a file.
const SECRET: &str = "ed25519:";

/// What a person brings to a name.
pub(crate) enum Own {
    /// A key that can be proven.
    Pair(Box<Identity>),
    /// A key that can be named.
    Claimed(String),
}

/// A key, and the passphrase that opened it, if it was protected by one.
pub(crate) type Opened = (Own, Option<String>);

/// What this run brings.
pub(super) struct Brought {
    pub(super) own: Own,
    pub(super) before: Arc<Before>,
    /// What its person is told of that.
    pub(super) note: Option<String>,
}

/// What a file of a key holds.
pub(crate) enum Stored {
    /// A key.
    Open(Own),
    /// An exported identity.
    Locked(String),
}

/// What this run brings: the key of `--key`, or that in its file, which is made if there is none.
pub(super) fn of(options: &Options) -> Result<Brought> {
    if let Some(key) = &options.key {
        // Checked here, because the command line's own refusals quote what was typed.
        let checked = safe_chat_client::check_key(key);
        checked.map_err(|why| anyhow!("the key of --key {why}"))?;
        return Ok(Brought {
            own: Own::Claimed(key.clone()),
            before: Arc::default(),
            note: None,
        });
    }
    let path = path(options.key_file.as_deref())?;
    let is_made = make_if_none(&path)?;
    let told = is_made && !options.json && std::io::stdin().is_terminal();
    let note = told.then(|| {
        format!(
            "your key was made, in {}: who has that file is you. `safe-chat keys protect` puts a \
             passphrase on it",
            path.display()
        )
    });
    let (own, passphrase) = open(&path, options.passphrase_file.as_deref())?;
    let is_unused = options.passphrase_file.is_some() && passphrase.is_none();
    let unused = is_unused.then(|| {
        format!(
            "! the key in {} is not protected by a passphrase, so --passphrase-file was not read: \
             `safe-chat keys protect` puts one on it",
            path.display()
        )
    });
    let note = note
        .into_iter()
        .chain(unused)
        .reduce(|note, unused| note + "\n" + &unused);
    Ok(Brought {
        own,
        before: Arc::new(Before::of(path, passphrase)),
        note,
    })
}

/// Where the key of this run is from, for people.
pub(super) fn place(is_given: bool, file: Option<&Path>) -> String {
    match path(file) {
        Ok(path) if !is_given => format!("that in {}", path.display()),
        _ => "that of --key".into(),
    }
}

/// The file of a person's key: the one that was named, or the usual one.
pub(crate) fn path(file: Option<&Path>) -> Result<PathBuf> {
    if let Some(file) = file {
        return Ok(file.to_owned());
    }
    let set = |name| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let base = set("XDG_CONFIG_HOME")
        .filter(|base| base.is_absolute())
        .or_else(|| Some(set("HOME")?.join(".config")));
    let Some(base) = base else {
        bail!("neither HOME nor XDG_CONFIG_HOME is set: give the key with --key");
    };
    Ok(base.join("safe-chat").join("key"))
}

/// Whether there was none.
fn make_if_none(path: &Path) -> Result<bool> {
    if path.exists() {
        return Ok(false);
    }
    let made = create(path, &Identity::from_seed(&rand::random()));
    made.with_context(|| {
        format!(
            "cannot keep a key in {}: name another file with --key-file",
            path.display()
        )
    })
}

/// The key in a file. A passphrase that opens it is in `passphrase_file`, or asked for.
///
/// # Errors
/// As [`read`], or the passphrase is not the one, or there is nobody to type it in.
pub(crate) fn open(path: &Path, passphrase_file: Option<&Path>) -> Result<Opened> {
    let text = match read(path)? {
        Stored::Open(own) => return Ok((own, None)),
        Stored::Locked(text) => text,
    };
    let shown = path.display();
    let passphrase = match passphrase_file {
        Some(file) => passphrase::in_file("passphrase", file)?,
        None => {
            let typed = passphrase::typed_in(&format!("passphrase of the key in {shown}"));
            typed.with_context(|| {
                format!(
                    "the key in {shown} is protected by a passphrase, and stdin is no terminal \
                     where somebody could type it in: name a file that holds it with \
                     --passphrase-file"
                )
            })??
        }
    };
    let opened = unlock(&text, &passphrase).with_context(|| format!("the key in {shown}"))?;
    Ok((Own::Pair(opened.into()), Some(passphrase)))
}

fn unlock(text: &str, passphrase: &str) -> Result<Identity> {
    export::import(text, passphrase).context("it cannot be opened")
}

/// What a file holds.
///
/// # Errors
/// It cannot be read, holds no key, or others can read the secret in it.
pub(crate) fn read(path: &Path) -> Result<Stored> {
    let text = fs::read_to_string(path)
        .with_context(|| format!("cannot read the key in {}", path.display()))?;
    let text = text.trim();
    let secret = text.strip_prefix(SECRET);
    let is_locked = text.starts_with(export::PREFIX);
    if secret.is_none() && !is_locked {
        return safe_chat_client::check_key(text)
            .map(|()| Stored::Open(Own::Claimed(text.to_owned())))
            .map_err(|why| anyhow!("the key in {} {why}", path.display()));
    }
    let mode = fs::metadata(path)?.permissions().mode();
    if mode & 0o077 != 0 {
        bail!(
            "others can read the key in {}: chmod 600 it",
            path.display()
        );
    }
    let Some(secret) = secret else {
        return Ok(Stored::Locked(text.to_owned()));
    };
    let seed = URL_SAFE_NO_PAD.decode(secret).ok();
    let seed: Option<[u8; 32]> = seed.and_then(|seed| seed.try_into().ok());
    let seed = seed.with_context(|| {
        format!(
            "the key in {} must be {SECRET} and 32 bytes in base64url",
            path.display()
        )
    })?;
    Ok(Stored::Open(Own::Pair(Identity::from_seed(&seed).into())))
}

/// The line of a file that needs no passphrase.
fn plain(identity: &Identity) -> String {
    format!("{SECRET}{}", URL_SAFE_NO_PAD.encode(*identity.seed()))
}

/// The line of a file that this passphrase opens.
///
/// # Errors
/// The passphrase is too short or too long.
pub(crate) fn locked(identity: &Identity, passphrase: &str) -> Result<String> {
    let with = export::Entropy {
        salt: rand::random(),
        nonce: rand::random(),
    };
    Ok(export::export(identity, passphrase, &with)?)
}

/// The line of a file that this passphrase opens, or that needs none.
///
/// # Errors
/// The passphrase is too short or too long.
pub(crate) fn line(identity: &Identity, passphrase: Option<&str>) -> Result<String> {
    match passphrase {
        Some(passphrase) => locked(identity, passphrase),
        None => Ok(plain(identity)),
    }
}

/// Keeps a key in a file, unless there is one. Whether it was this one.
fn create(path: &Path, identity: &Identity) -> Result<bool> {
    keep(path, &plain(identity))
}

/// Keeps a line in a file that only its owner reads, unless there is one. Written beside and linked
/// into place, so that of two programs that start at once one wins, and nobody reads half of it.
pub(crate) fn keep(path: &Path, line: &str) -> Result<bool> {
    fs::create_dir_all(path.parent().context("no folder")?)?;
    let draft = draft(path, line)?;
    let linked = fs::hard_link(&draft, path);
    fs::remove_file(&draft)?;
    match linked {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(false),
        linked => Ok(linked.map(|()| true)?),
    }
}

/// A file of a key that no other program changes while this lives.
pub(crate) struct Held(File);

/// Holds the file of a key, to change what it has.
///
/// # Errors
/// Another program does.
pub(crate) fn hold(path: &Path) -> Result<Held> {
    let shown = path.display();
    let file = File::open(path).with_context(|| format!("cannot read the key in {shown}"))?;
    match file.try_lock() {
        Ok(()) => Ok(Held(file)),
        Err(TryLockError::WouldBlock) => bail!(
            "another program is changing the key in {shown} at this moment: nothing was done here. \
             Look at what it has (keys show) before you do it again"
        ),
        Err(TryLockError::Error(why)) => Err(why).with_context(|| format!("cannot lock {shown}")),
    }
}

impl Held {
    /// Whether it is still the one of this path: one that was replaced holds nobody off.
    fn check(&self, path: &Path) -> Result<()> {
        let of = |file: fs::Metadata| (file.dev(), file.ino());
        let is_same = of(self.0.metadata()?) == of(fs::metadata(path)?);
        ensure!(
            is_same,
            "another program has just changed the key in {}: nothing was done here. Look at what \
             it has (keys show) before you do it again",
            path.display()
        );
        Ok(())
    }
}

/// Takes another key in the place of the one in a file, which stays as a file of its own, with what
/// was kept of sealed rooms under it. Where that is.
///
/// # Errors
/// Something could not be written, or another program uses or changes the key. The file has its key
/// still.
pub(crate) fn change(path: &Path, held: &Held, line: &str) -> Result<PathBuf> {
    held.check(path)?;
    let newest = former_files(path)?.first().map_or(0, |(number, _)| *number);
    let former = former_file(path, newest + 1);
    let place = || format!("cannot change the key in {}", path.display());
    let draft = draft(path, line).with_context(place)?;
    let changed = fs::hard_link(path, &former)
        .with_context(place)
        .and_then(|()| store::move_with_key(path, &former))
        .and_then(|()| fs::rename(&draft, path).with_context(place));
    if changed.is_err() {
        // Beside what went wrong these are of no account.
        let _ = fs::remove_file(&draft);
        if !store::folder_of(&former).exists() {
            let _ = fs::remove_file(&former);
        }
    }
    changed.map(|()| former)
}

/// The same of a file that may have been replaced since it was looked at.
pub(crate) fn replace_held(path: &Path, held: &Held, line: &str) -> Result<()> {
    held.check(path)?;
    replace(path, line)
}

/// Keeps a line in the place of the one that a file has, whole or not at all.
pub(crate) fn replace(path: &Path, line: &str) -> Result<()> {
    // What a link leads to is replaced: the secret would stay there else.
    let path = fs::canonicalize(path)?;
    let draft = draft(&path, line)?;
    let renamed = fs::rename(&draft, &path);
    if renamed.is_err() {
        fs::remove_file(&draft)?;
    }
    renamed?;
    Ok(File::open(path.parent().context("no folder")?)?.sync_all()?)
}

/// A line in a file beside this one, on the disk.
fn draft(path: &Path, line: &str) -> Result<PathBuf> {
    let name = path.file_name().context("no file")?.to_string_lossy();
    let draft = path.with_file_name(format!("{name}.{}.new", std::process::id()));
    store::write_draft(&draft, format!("{line}\n").as_bytes())?;
    Ok(draft)
}

#[cfg(test)]
mod tests {
    use super::before::Former;
    use super::*;

    fn public(opened: Result<Opened>) -> String {
        match opened.unwrap().0 {
            Own::Pair(identity) => identity.public().to_string(),
            Own::Claimed(_) => panic!("a key without a secret"),
        }
    }

    #[test]
    fn the_key_is_generated_once_and_only_its_owner_reads_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("safe-chat").join("key");
        assert!(make_if_none(&path).unwrap());
        let key = public(open(&path, None));
        assert!(!make_if_none(&path).unwrap());
        assert_eq!(public(open(&path, None)), key);
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_key_that_the_server_would_refuse_is_named_with_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let refused = |content: &str, mode: u32| {
            fs::write(&path, content).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let error = open(&path, None).map(drop).unwrap_err().to_string();
            assert!(error.contains(path.to_str().unwrap()), "{error}");
            error
        };
        assert!(refused("not a key!\n", 0o600).contains("1-128"));
        assert!(refused("ed25519:AAAA\n", 0o600).contains("32 bytes"));
        let secret = format!("ed25519:{}\n", "A".repeat(43));
        let error = refused(&secret, 0o640);
        assert!(
            error.contains("chmod") && !error.contains("AAAA"),
            "{error}"
        );
    }

    #[test]
    fn keys_whose_place_others_took_stay_beside_it_newest_first() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let of = |seed: u8| Identity::from_seed(&[seed; 32]);
        create(&path, &of(1)).unwrap();
        let before = |passphrases: &[&str]| {
            let Former { opened, others } = former(&path, passphrases).unwrap();
            let public = |(_, identity): (_, Identity)| identity.public().to_string();
            (
                opened.into_iter().map(public).collect::<Vec<_>>(),
                others.len(),
            )
        };
        assert_eq!(before(&[]), (Vec::new(), 0));
        let sealed = store::folder_of(&path);
        fs::create_dir(&sealed).unwrap();
        fs::write(sealed.join("harry"), "state").unwrap();
        for seed in 2..=12 {
            let held = hold(&path).unwrap();
            let kept = change(&path, &held, &plain(&of(seed))).unwrap();
            assert_eq!(public(open(&kept, None)), of(seed - 1).public().to_string());
            assert_eq!(public(open(&path, None)), of(seed).public().to_string());
        }
        let newest: Vec<_> = (4..12)
            .rev()
            .map(|seed| of(seed).public().to_string())
            .collect();
        assert_eq!(before(&[]), (newest.clone(), 0));
        // What was kept under the first key is with it.
        assert!(!sealed.exists());
        let state = store::folder_of(&former_file(&path, 1)).join("harry");
        assert_eq!(fs::read_to_string(state).unwrap(), "state");
        let drafts = fs::read_dir(folder.path()).unwrap();
        assert_eq!(drafts.count(), 1 + 11 + 1, "keys, and one folder");

        let passphrase = "correct horse battery";
        replace(
            &former_file(&path, 11),
            &locked(&of(11), passphrase).unwrap(),
        )
        .unwrap();
        assert_eq!(
            before(&["another passphrase", passphrase]),
            (newest.clone(), 0)
        );
        assert_eq!(before(&["another passphrase"]), (newest[1..].to_vec(), 1));
    }

    #[test]
    fn a_key_that_a_program_uses_in_a_sealed_room_is_not_changed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let [one, two] = [1, 2].map(|seed| Identity::from_seed(&[seed; 32]));
        create(&path, &one).unwrap();
        let used = store::Store::open(&path, Identity::from_seed(&[1; 32]), "harry").unwrap();
        let held = hold(&path).unwrap();
        let refused = format!("{:#}", change(&path, &held, &plain(&two)).unwrap_err());
        assert!(refused.contains("harry"), "{refused}");
        assert_eq!(public(open(&path, None)), one.public().to_string());
        assert!(former(&path, &[]).unwrap().opened.is_empty());
        drop(used);
        change(&path, &held, &plain(&two)).unwrap();
    }

    #[test]
    fn of_programs_that_change_a_key_at_once_one_does() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let of = |seed: u8| Identity::from_seed(&[seed; 32]);
        create(&path, &of(1)).unwrap();
        let (first, begun) = (hold(&path).unwrap(), File::open(&path).unwrap());
        let refused = hold(&path).map(drop).unwrap_err().to_string();
        assert!(refused.contains("at this moment"), "{refused}");
        let before = Before::of(path.clone(), None);
        assert_eq!(before.changed(), None);
        change(&path, &first, &plain(&of(2))).unwrap();
        assert_eq!(before.changed(), Some(&*path));
        drop(first);
        // One that had begun before, and comes late.
        let late = Held(begun);
        let refused = change(&path, &late, &plain(&of(3))).unwrap_err();
        assert!(refused.to_string().contains("just changed"), "{refused}");
        let refused = replace_held(&path, &late, &plain(&of(3))).unwrap_err();
        assert!(refused.to_string().contains("just changed"), "{refused}");
        assert_eq!(public(open(&path, None)), of(2).public().to_string());
        assert_eq!(former(&path, &[]).unwrap().opened.len(), 1);
    }

    #[test]
    fn a_key_of_before_is_still_claimed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        fs::write(&path, "KEY-1\n").unwrap();
        let (own, _) = open(&path, None).unwrap();
        assert!(matches!(own, Own::Claimed(key) if key == "KEY-1"));
    }

    #[test]
    fn a_key_is_replaced_where_a_link_leads_to_and_nothing_is_left_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let kept = folder.path().join("kept");
        let link = folder.path().join("key");
        let identity = Identity::from_seed(&[7; 32]);
        assert!(keep(&kept, &plain(&identity)).unwrap());
        std::os::unix::fs::symlink(&kept, &link).unwrap();
        let passphrase = folder.path().join("passphrase");
        fs::write(&passphrase, "correct horse battery\n").unwrap();
        replace(&link, &locked(&identity, "correct horse battery").unwrap()).unwrap();
        assert!(!fs::read_to_string(&kept).unwrap().contains(SECRET));
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(
            fs::metadata(&kept).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3);
        let opened = public(open(&link, Some(&passphrase)));
        assert_eq!(opened, identity.public().to_string());
    }
}
