//! `safe-chat migrate`: the tables in Cassandra, brought to this version.

use super::Settings;
use crate::journal::cassandra::{Migrated, migrate};

pub(super) async fn run(settings: &Settings) -> anyhow::Result<()> {
    let config = settings.read()?.cassandra;
    let Migrated { from, to } = migrate(&config).await?;
    let keyspace = &config.keyspace;
    match from {
        0 => println!("keyspace {keyspace}: tables of version {to} were made"),
        from if from == to => println!("keyspace {keyspace}: the tables have version {to} already"),
        from => println!("keyspace {keyspace}: the tables went from version {from} to {to}"),
    }
    Ok(())
}
