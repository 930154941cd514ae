//! Installing into the cache: by one process at a time, and in place only when complete.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::console::Step;
use crate::paths;

/// A place in the cache that this process may fill.
pub(crate) struct Slot {
    place: PathBuf,
    _lock: File,
}

/// Where it is, or would be, in the cache.
pub(crate) fn place(name: &str) -> Result<PathBuf> {
    Ok(paths::cache()?.join(name))
}

/// What is there already, or is installed now. The name has the version: another one is another
/// place.
pub(crate) fn kept(
    name: &str,
    install: impl FnOnce(&Slot, &mut Step) -> Result<PathBuf>,
) -> Result<PathBuf> {
    let place = place(name)?;
    if place.exists() {
        return Ok(place);
    }
    let slot = Slot::take(name)?;
    if place.exists() {
        return Ok(place); // another process has just installed it
    }
    let mut step = Step::start(format!("{name}, once for all checkouts"));
    let place = install(&slot, &mut step)?;
    step.done("installed");
    Ok(place)
}

impl Slot {
    /// Waits while another process fills it; look at the place again afterwards.
    pub(crate) fn take(name: &str) -> Result<Self> {
        let place = place(name)?;
        let open = || -> std::io::Result<File> {
            fs::create_dir_all(place.parent().unwrap_or(Path::new("/")))?;
            let lock = File::create(place.with_added_extension("lock"))?;
            lock.lock()?;
            Ok(lock)
        };
        let lock = open().with_context(|| format!("cache {}", place.display()))?;
        Ok(Self { place, _lock: lock })
    }

    /// An empty directory to install into. What an interrupted installation left in it is gone.
    pub(crate) fn scratch(&self) -> Result<PathBuf> {
        let scratch = self.place.with_added_extension("partial");
        if scratch.exists() {
            fs::remove_dir_all(&scratch).with_context(|| scratch.display().to_string())?;
        }
        fs::create_dir_all(&scratch).with_context(|| scratch.display().to_string())?;
        Ok(scratch)
    }

    /// Puts a complete file or directory from the scratch in place.
    pub(crate) fn keep(&self, complete: &Path) -> Result<PathBuf> {
        fs::rename(complete, &self.place).with_context(|| self.place.display().to_string())?;
        let scratch = self.place.with_added_extension("partial");
        if scratch.exists() {
            let _ = fs::remove_dir_all(scratch);
        }
        Ok(self.place.clone())
    }
}
