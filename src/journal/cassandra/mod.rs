//! The journal in Apache Cassandra (4.1 and 5.0): the fencing of [`ReadBack`] over its tables.
//!
//! Appending is one batch of one partition at LOCAL_QUORUM; a claim is the only conditional (LWT)
//! write. Rows carry the epoch in their key, so that two owners never overwrite each other. The
//! size of partitions and the number of shards are kept in the database, and a node that differs
//! does not start.

mod config;
mod connect;
mod errors;
mod examine;
mod migrate;
mod schema;
mod settings;
mod snapshots;
mod statements;
mod store;
mod watch;

pub use config::{Config, Replication};
pub use examine::{Durability, Examined, Syncing, Worth, examine};
pub use migrate::{Migrated, migrate};
pub use store::Tables;

use super::{Error, readback::ReadBack};
use crate::room::Shards;

/// The journal in Cassandra.
pub type Cassandra = ReadBack<Tables>;

/// Connects, migrates if the configuration says so, and checks that everything fits.
///
/// [`Error::Unavailable`]: it does not answer (yet), at which addresses. [`Error::Unusable`]:
/// something differs; what, and what to do.
pub async fn connect(config: &Config, shards: Shards) -> Result<Cassandra, Error> {
    let session = connect::session(config).await?;
    if config.auto_migrate {
        migrate::run(&session, config).await?;
    }
    migrate::check(&session, config).await?;
    settings::agree(&session, config, shards).await?;
    let durability = examine::durability(&session, config).await?;
    if let Worth::Lost(why) = durability.worth() {
        tracing::warn!("what is answered `journaled` may be lost: {why}");
    }
    Ok(ReadBack::new(Tables::new(session, config).await?, shards))
}
