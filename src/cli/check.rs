//! `safe-chat config check`: what a node would use, and why.

use super::Settings;

pub(super) fn run(settings: &Settings) -> anyhow::Result<()> {
    let loaded = settings.load()?;
    for warning in &loaded.warnings {
        eprintln!("warning: {warning}");
    }
    print!("{}", loaded.show());
    Ok(())
}
