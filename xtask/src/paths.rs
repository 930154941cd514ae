//! Where things are: the checkout, the state of `up`, the cache of downloaded programs.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The variables that move these places.
pub const VARIABLES: [&str; 2] = ["SAFE_CHAT_STATE", "SAFE_CHAT_CACHE"];

/// The root of the checkout. Cargo says where it runs; the place of the build is right for a copied
/// binary too.
pub fn root() -> PathBuf {
    let here = env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    here.parent().map_or(here.clone(), Path::to_path_buf)
}

/// Data, logs and the record of what runs: `SAFE_CHAT_STATE`, by default `.safe-chat` in the
/// checkout.
pub fn state() -> Result<PathBuf> {
    let dir = set("SAFE_CHAT_STATE").unwrap_or_else(|| root().join(".safe-chat"));
    std::path::absolute(&dir).with_context(|| format!("SAFE_CHAT_STATE={}", dir.display()))
}

/// Downloaded programs, shared by all checkouts: `SAFE_CHAT_CACHE`, by default `safe-chat` in the
/// user's cache.
pub fn cache() -> Result<PathBuf> {
    let dir = set("SAFE_CHAT_CACHE")
        .or_else(|| set("XDG_CACHE_HOME").map(|cache| cache.join("safe-chat")))
        .or_else(|| set("HOME").map(|home| home.join(".cache/safe-chat")))
        .context("neither SAFE_CHAT_CACHE, XDG_CACHE_HOME nor HOME is set: no place for downloaded programs")?;
    std::path::absolute(&dir).with_context(|| format!("cache {}", dir.display()))
}

/// The program of that name in a directory of PATH.
pub fn on_path(program: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?)
        .map(|dir| dir.join(program))
        .find(|path| path.is_file())
}

/// As short as a person would type it here.
pub fn short(path: &Path) -> String {
    let here = env::current_dir().unwrap_or_default();
    path.strip_prefix(here)
        .unwrap_or(path)
        .display()
        .to_string()
}

fn set(variable: &str) -> Option<PathBuf> {
    env::var_os(variable)
        .filter(|value| !value.is_empty())
        .map(PathBuf::from)
}
