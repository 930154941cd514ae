//! The disk.

use super::{Floor, Pace, repeat};
use anyhow::{Context, Result};
use std::{
    fs::{self, File},
    io::Write,
    path::Path,
};

/// What it takes to append a message to a file and have it on the disk.
pub(super) fn sync(pace: Pace, bytes: usize, folder: &Path) -> Result<Floor> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let path = folder.join(format!("floor-{}", std::process::id()));
    let mut file =
        File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    let message = vec![0; bytes];
    let floor = repeat("write and fdatasync", pace, || {
        file.write_all(&message)?;
        file.sync_data()?;
        Ok(1)
    });
    fs::remove_file(&path)?;
    floor
}
