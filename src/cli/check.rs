//! `safe-chat config check`: what a node would use, and why. A node starts with keys that it does
//! not know; a check fails, as it does when a file of TLS or of a login cannot be used.

use super::{Settings, stdout::print};
use crate::{app::connect, telemetry::say};
use anyhow::bail;

pub(super) fn run(settings: &Settings) -> anyhow::Result<()> {
    let loaded = settings.usable()?;
    for warning in &loaded.warnings {
        say(&format!("warning: {warning}\n"));
    }
    for note in &loaded.notes {
        say(&format!("note: {note}\n"));
    }
    // What is wrong shows in the exit code, whether or not somebody reads on.
    let _ = print(&loaded.show())?;
    connect::check_files(&loaded.config)?;
    match loaded.warnings.len() {
        0 => Ok(()),
        1 => bail!("a key or section is not known: see the warning above"),
        n => bail!("{n} keys or sections are not known: see the warnings above"),
    }
}
