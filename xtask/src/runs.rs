//! State directories of runs that begin with nothing and leave nothing: one below each pid.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::cluster;
use crate::paths;
use crate::state::State;

/// The directory of this process, empty. What killed runs left behind is ended and deleted first.
pub fn open() -> Result<(State, PathBuf)> {
    let runs = State::open(&paths::state()?)?.runs();
    sweep(&runs)?;
    let dir = runs.join(std::process::id().to_string());
    Ok((State::open(&dir)?, dir))
}

fn sweep(runs: &Path) -> Result<()> {
    let Ok(entries) = fs::read_dir(runs) else {
        return Ok(());
    };
    for entry in entries.flatten() {
        let state = State::open(&entry.path())?;
        // Supervised: that run is still going on.
        if let Ok(_supervision) = state.supervise() {
            cluster::end_leftovers(&state, Duration::ZERO)?;
            fs::remove_dir_all(entry.path()).with_context(|| entry.path().display().to_string())?;
        }
    }
    Ok(())
}
