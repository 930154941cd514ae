//! `safe-chat migrate`: the tables in Cassandra, brought to this version.

use super::Settings;
#[cfg(feature = "cassandra")]
use {
    super::stdout::print,
    crate::journal::cassandra::{Migrated, migrate},
};

#[cfg(not(feature = "cassandra"))]
pub(super) async fn run(_: &Settings) -> anyhow::Result<()> {
    Err(crate::journal::cassandra::Absent.into())
}

#[cfg(feature = "cassandra")]
pub(super) async fn run(settings: &Settings) -> anyhow::Result<()> {
    let config = settings.read()?.cassandra;
    let Migrated { from, to } = migrate(&config).await?;
    let keyspace = &config.keyspace;
    let done = match from {
        0 => format!("tables of version {to} were made"),
        from if from == to => format!("the tables have version {to} already"),
        from => format!("the tables went from version {from} to {to}"),
    };
    print(&format!("keyspace {keyspace}: {done}\n")).map(|_| ())
}
