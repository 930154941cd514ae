//! `safe-chat config check`: what a node would use, and why. It fails where a node would not start:
//! a value that cannot be, a key that is not known, a file of TLS or of a login that cannot be
//! used.

use super::{Settings, refuse_unknown, stdout::print};
use crate::{app::connect, telemetry::say};

pub(super) fn run(settings: &Settings) -> anyhow::Result<()> {
    let loaded = settings.usable()?;
    for note in &loaded.notes {
        say(&format!("note: {note}\n"));
    }
    // What is wrong shows in the exit code, whether or not somebody reads on.
    let _ = print(&loaded.show())?;
    connect::check_files(&loaded.config)?;
    Ok(refuse_unknown(&loaded.unknown)?)
}
