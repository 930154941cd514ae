//! Settings that are fixed for the life of a keyspace: the first node stores them, the others must
//! agree.

use super::{Config, connect::unreadable, errors};
use crate::{journal::Error, room::Shards};
use scylla::{
    client::session::Session,
    statement::{Consistency, Statement},
};

/// Stores the settings if there are none yet, and refuses to go on when the stored ones differ.
pub(super) async fn agree(session: &Session, config: &Config, shards: Shards) -> Result<(), Error> {
    let settings = [
        (
            "partition_size",
            config.partition_size.to_string(),
            "cassandra.partition_size",
        ),
        ("shards", shards.count().to_string(), "cluster.shards"),
    ];
    for (name, wanted, key) in settings {
        let stored = fix(session, config, name, &wanted).await?;
        if stored != wanted {
            return Err(Error::Unusable(format!(
                "keyspace {} was made with {key} = {stored}, this node is configured with {wanted}: set {key} to {stored}",
                config.keyspace
            )));
        }
    }
    Ok(())
}

async fn fix(
    session: &Session,
    config: &Config,
    name: &str,
    wanted: &str,
) -> Result<String, Error> {
    if let Some(stored) = read(session, config, name).await? {
        return Ok(stored);
    }
    let statement = format!(
        "INSERT INTO {}.metadata (name, value) VALUES (?, ?) IF NOT EXISTS",
        config.keyspace
    );
    // Applied or not, and also when the outcome is not known: what is read afterwards is what
    // counts.
    let outcome = session
        .query_unpaged(statement, (name, wanted))
        .await
        .map_err(errors::conditional);
    if let Err(error) = outcome
        && !matches!(error, Error::Unknown(_))
    {
        return Err(error);
    }
    let missing = || {
        Error::Unavailable(format!(
            "the setting {name} of keyspace {} could not be stored",
            config.keyspace
        ))
    };
    read(session, config, name).await?.ok_or_else(missing)
}

async fn read(session: &Session, config: &Config, name: &str) -> Result<Option<String>, Error> {
    let mut statement = Statement::new(format!(
        "SELECT value FROM {}.metadata WHERE name = ?",
        config.keyspace
    ));
    statement.set_consistency(Consistency::LocalSerial);
    let result = session
        .query_unpaged(statement, (name,))
        .await
        .map_err(errors::reading)?
        .into_rows_result()
        .map_err(unreadable)?;
    Ok(result
        .maybe_first_row::<(String,)>()
        .map_err(unreadable)?
        .map(|(value,)| value))
}
