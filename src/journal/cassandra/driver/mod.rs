//! The adapter itself, over the driver of Cassandra.

mod connect;
mod copies;
mod errors;
mod examine;
mod identity;
mod migrate;
mod pins;
mod schema;
mod settings;
mod snapshots;
mod statements;
mod store;
mod trims;
mod watch;

pub use examine::{Durability, Examined, Syncing, Worth, examine};
pub use migrate::{Migrated, migrate};
pub use settings::Belongs;
pub use store::Tables;

use super::Config;
use crate::{
    bus::ClusterId,
    journal::{Error, readback::ReadBack},
    room::Shards,
};
use uuid::Uuid;

/// The journal in Cassandra.
pub type Cassandra = ReadBack<Tables>;

/// Connects, migrates if the configuration says so, and checks that everything fits.
///
/// [`Error::Unavailable`]: it does not answer (yet), at which addresses. [`Error::Unusable`]:
/// something differs; what, and what to do.
pub async fn connect(config: &Config, shards: Shards) -> Result<Cassandra, Error> {
    open(config, shards).await.map_err(not_known_yet)
}

/// Which keyspace is configured, and whose it is, as far as that is noted there. Makes nothing.
pub async fn noted(config: &Config) -> Result<(Option<Uuid>, Option<ClusterId>), Error> {
    let session = connect::session(config).await?;
    settings::noted(&session, config).await
}

/// What another node just made is not known to every server for a moment, so a table that is
/// missing is waited for as for a server.
fn not_known_yet(error: Error) -> Error {
    match error {
        Error::Unusable(why) if why.contains("does not exist") => Error::Unavailable(why),
        error => error,
    }
}

async fn open(config: &Config, shards: Shards) -> Result<Cassandra, Error> {
    let session = connect::session(config).await?;
    if config.auto_migrate {
        migrate::run(&session, config).await?;
    }
    migrate::check(&session, config).await?;
    let partitions = settings::agree(&session, config, shards).await?;
    let durability = examine::durability(&session, config).await?;
    if let Worth::Lost(why) = durability.worth() {
        tracing::warn!("what is answered `journaled` may be lost: {why}");
    }
    let wanted = config.copies().get(&config.datacenter).copied();
    if let (Some(there), Some(wanted)) = (durability.copies, wanted)
        && there != usize::from(wanted)
    {
        let (keyspace, datacenter) = (&config.keyspace, &config.datacenter);
        tracing::warn!(
            "cassandra.replication is {wanted} and counts for nothing, since keyspace {keyspace} is \
             there with {there} copies in datacenter {datacenter}: set it to that, or ALTER \
             KEYSPACE and run nodetool repair"
        );
    }
    Ok(ReadBack::new(
        Tables::new(session, config, partitions).await?,
        shards,
    ))
}
