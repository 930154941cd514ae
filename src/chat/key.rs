//! The key of this person: generated once, kept in a file that only its owner can read.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The key in `${XDG_CONFIG_HOME:-~/.config}/safe-chat/key`, created there if there is none.
pub(super) fn load_or_create() -> Result<String> {
    load_or_create_at(&path()?)
}

/// Where the key of this run is from, for people.
pub(super) fn place(is_given: bool) -> String {
    match path() {
        Ok(path) if !is_given => format!("that in {}", path.display()),
        _ => "that of --key".into(),
    }
}

fn path() -> Result<PathBuf> {
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

fn load_or_create_at(path: &Path) -> Result<String> {
    if !path.exists() {
        create(path).with_context(|| {
            format!(
                "cannot keep a key in {}: give one with --key",
                path.display()
            )
        })?;
    }
    let text = fs::read_to_string(path)
        .with_context(|| format!("cannot read the key in {}", path.display()))?;
    safe_chat_client::check_key(text.trim())
        .map(|()| text.trim().to_owned())
        .map_err(|why| anyhow::anyhow!("the key in {} {why}", path.display()))
}

/// Written beside and linked into place, so that of two clients that start at once one wins and
/// neither reads half a key.
fn create(path: &Path) -> Result<()> {
    let key = URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>());
    let folder = path.parent().context("no folder")?;
    fs::create_dir_all(folder)?;
    let draft = folder.join(format!("key.{}.new", std::process::id()));
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&draft)?;
    writeln!(file, "{key}")?;
    file.sync_all()?;
    let linked = fs::hard_link(&draft, path);
    fs::remove_file(&draft)?;
    match linked {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(error.into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_key_is_generated_once_and_only_its_owner_reads_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("safe-chat").join("key");
        let key = load_or_create_at(&path).unwrap();
        assert_eq!(key.len(), 43);
        assert_eq!(load_or_create_at(&path).unwrap(), key);
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
        fs::write(&path, "not a key!\n").unwrap();
        assert!(
            load_or_create_at(&path)
                .unwrap_err()
                .to_string()
                .contains("1-128")
        );
    }
}
