//! The key of this person: a pair that is generated once, and kept in a file that only its owner can
//! read, `ed25519:` and the secret. A file of before has a key without a secret, which can only be
//! claimed.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use safe_chat_client::KeyPair;

/// What comes before the secret in a file.
const SECRET: &str = "ed25519:";

/// What a person brings to a name.
pub(super) enum Own {
    /// A key that can be proven.
    Pair(KeyPair),
    /// A key that can be named.
    Claimed(String),
}

/// What a file of a key holds.
pub(crate) enum Stored {
    /// The secret of a pair.
    Seed([u8; 32]),
    /// A key without a secret.
    Claimed(String),
}

/// The key in a file, or in `${XDG_CONFIG_HOME:-~/.config}/safe-chat/key`; created there if there is
/// none.
pub(super) fn load_or_create(file: Option<&Path>) -> Result<Own> {
    load_or_create_at(&path(file)?)
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

fn load_or_create_at(path: &Path) -> Result<Own> {
    if !path.exists() {
        let (_, seed) = KeyPair::generate();
        create(path, &seed).with_context(|| {
            format!(
                "cannot keep a key in {}: give one with --key",
                path.display()
            )
        })?;
    }
    Ok(match read(path)? {
        Stored::Seed(seed) => Own::Pair(KeyPair::from_seed(&seed)),
        Stored::Claimed(key) => Own::Claimed(key),
    })
}

/// What a file holds.
///
/// # Errors
/// It cannot be read, holds no key, or others can read the secret in it.
pub(crate) fn read(path: &Path) -> Result<Stored> {
    let text = fs::read_to_string(path)
        .with_context(|| format!("cannot read the key in {}", path.display()))?;
    let Some(secret) = text.trim().strip_prefix(SECRET) else {
        return safe_chat_client::check_key(text.trim())
            .map(|()| Stored::Claimed(text.trim().to_owned()))
            .map_err(|why| anyhow::anyhow!("the key in {} {why}", path.display()));
    };
    let mode = fs::metadata(path)?.permissions().mode();
    if mode & 0o077 != 0 {
        bail!(
            "others can read the key in {}: chmod 600 it",
            path.display()
        );
    }
    let seed = URL_SAFE_NO_PAD.decode(secret).ok();
    let seed: Option<[u8; 32]> = seed.and_then(|seed| seed.try_into().ok());
    let seed = seed.with_context(|| {
        format!(
            "the key in {} must be {SECRET} and 32 bytes in base64url",
            path.display()
        )
    })?;
    Ok(Stored::Seed(seed))
}

/// Keeps a key in a file, unless there is one. Whether it was this one.
pub(crate) fn create(path: &Path, seed: &[u8; 32]) -> Result<bool> {
    keep(path, &format!("{SECRET}{}", URL_SAFE_NO_PAD.encode(seed)))
}

/// Keeps a line in a file that only its owner reads, unless there is one. Written beside and linked
/// into place, so that of two programs that start at once one wins, and nobody reads half of it.
pub(crate) fn keep(path: &Path, line: &str) -> Result<bool> {
    let folder = path.parent().context("no folder")?;
    fs::create_dir_all(folder)?;
    let name = path.file_name().context("no file")?.to_string_lossy();
    let draft = folder.join(format!("{name}.{}.new", std::process::id()));
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&draft)?;
    writeln!(file, "{line}")?;
    file.sync_all()?;
    let linked = fs::hard_link(&draft, path);
    fs::remove_file(&draft)?;
    match linked {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(false),
        linked => Ok(linked.map(|()| true)?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_generated_once_and_only_its_owner_reads_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("safe-chat").join("key");
        let public = |own: Result<Own>| match own.unwrap() {
            Own::Pair(pair) => pair.public(),
            Own::Claimed(_) => panic!("a key without a secret"),
        };
        let key = public(load_or_create_at(&path));
        assert_eq!(key.len(), 43);
        assert_eq!(public(load_or_create_at(&path)), key);
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
            let error = load_or_create_at(&path).map(drop).unwrap_err().to_string();
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
    fn a_key_of_before_is_still_claimed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        fs::write(&path, "KEY-1\n").unwrap();
        let own = load_or_create_at(&path).unwrap();
        assert!(matches!(own, Own::Claimed(key) if key == "KEY-1"));
    }
}
