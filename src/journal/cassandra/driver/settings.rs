//! Settings that are fixed for the life of a keyspace: the first node stores them, the others must
//! agree.

use super::{Config, connect::unreadable, errors};
use crate::{
    bus::ClusterId,
    journal::{Error, readback::Partitions},
    room::Shards,
};
use scylla::{
    client::session::Session,
    statement::{Consistency, Statement},
};
use uuid::Uuid;

/// The names of the ids.
pub(super) const KEYSPACE_ID: &str = "keyspace_id";
const CLUSTER_ID: &str = "cluster_id";

/// Stores the settings if there are none yet, and refuses to go on when the stored ones differ;
/// how the rooms are partitioned.
pub(super) async fn agree(
    session: &Session,
    config: &Config,
    shards: Shards,
) -> Result<Partitions, Error> {
    let partitions = partitions(session, config).await?;
    let shards = u64::from(shards.count());
    number(
        session,
        config,
        ("shards", "cluster.shards"),
        shards,
        Some(shards),
    )
    .await?;
    Ok(partitions)
}

/// How the rooms are partitioned: noted by whoever makes the tables, or comes first.
pub(super) async fn partitions(session: &Session, config: &Config) -> Result<Partitions, Error> {
    let names = ("partition_size", "cassandra.partition_size");
    let wanted = config.partition_size;
    let new = wanted.unwrap_or(Config::NEW_PARTITION);
    let size = number(session, config, names, new, wanted).await?;
    Ok(Partitions::new(size))
}

/// The number that is noted: `new`, if there was none. It has to be the one that is wanted, if one
/// is.
async fn number(
    session: &Session,
    config: &Config,
    (name, key): (&str, &str),
    new: u64,
    wanted: Option<u64>,
) -> Result<u64, Error> {
    let keyspace = &config.keyspace;
    let stored = fix(session, config, name, &new.to_string()).await?;
    let number = stored.parse().ok().filter(|number| *number > 0);
    match (number, wanted) {
        (Some(number), Some(wanted)) if number != wanted => Err(Error::Unusable(format!(
            "keyspace {keyspace} was made with {key} = {stored}, this node is configured with \
             {wanted}: set {key} to {stored}"
        ))),
        (Some(number), _) => Ok(number),
        (None, _) => Err(Error::Unusable(format!(
            "the value of {name} in {keyspace}.metadata is no number above 0"
        ))),
    }
}

/// Which keyspace it is, and whose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Belongs {
    /// The id of the keyspace, made by the first node that used it.
    pub keyspace: Uuid,
    /// The cluster whose rooms are in it; `None`: not that of whoever asks, which has another
    /// keyspace.
    pub cluster: Option<ClusterId>,
}

/// Notes in the keyspace that it is the cluster's, if it is nobody's yet. `expected`: the keyspace
/// that the cluster has already.
pub(super) async fn claim(
    session: &Session,
    config: &Config,
    cluster: ClusterId,
    expected: Option<Uuid>,
) -> Result<Belongs, Error> {
    let damaged = |name: &str| {
        Error::Unusable(format!(
            "the value of {name} in {}.metadata is no id",
            config.keyspace
        ))
    };
    let fresh = Uuid::now_v7().to_string();
    let keyspace = fix(session, config, KEYSPACE_ID, &fresh).await?;
    let keyspace = Uuid::parse_str(&keyspace).map_err(|_| damaged(KEYSPACE_ID))?;
    let cluster = match expected.is_some_and(|expected| expected != keyspace) {
        true => None,
        false => {
            let stored = fix(session, config, CLUSTER_ID, &cluster.to_string()).await?;
            Some(ClusterId::parse(&stored).ok_or_else(|| damaged(CLUSTER_ID))?)
        }
    };
    Ok(Belongs { keyspace, cluster })
}

/// Which keyspace it is, and whose, as far as that is noted there.
pub(super) async fn noted(
    session: &Session,
    config: &Config,
) -> Result<(Option<Uuid>, Option<ClusterId>), Error> {
    let keyspace = read(session, &config.keyspace, KEYSPACE_ID).await?;
    let cluster = read(session, &config.keyspace, CLUSTER_ID).await?;
    Ok((
        keyspace.and_then(|id| Uuid::parse_str(&id).ok()),
        cluster.as_deref().and_then(ClusterId::parse),
    ))
}

/// Makes a keyspace that of another cluster.
pub(super) async fn hand_over(
    session: &Session,
    config: &Config,
    from: ClusterId,
    to: ClusterId,
) -> Result<(), Error> {
    let keyspace = &config.keyspace;
    let statement = format!("UPDATE {keyspace}.metadata SET value = ? WHERE name = ? IF value = ?");
    let values = (to.to_string(), CLUSTER_ID, from.to_string());
    // As in `fix`, what is read afterwards is what counts.
    let outcome = session.query_unpaged(statement, values).await;
    let outcome = outcome.map_err(errors::conditional);
    if let Err(error) = outcome
        && !matches!(error, Error::Unknown(_))
    {
        return Err(error);
    }
    match read(session, &config.keyspace, CLUSTER_ID).await? {
        Some(stored) if stored == to.to_string() => Ok(()),
        other => Err(Error::Unusable(format!(
            "keyspace {keyspace} is that of cluster {}, not of {from}: it was left so",
            other.unwrap_or_else(|| "(none)".into())
        ))),
    }
}

/// The setting if it is stored, after storing it if it is not.
async fn fix(
    session: &Session,
    config: &Config,
    name: &str,
    wanted: &str,
) -> Result<String, Error> {
    if let Some(stored) = read(session, &config.keyspace, name).await? {
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
    read(session, &config.keyspace, name)
        .await?
        .ok_or_else(missing)
}

/// The setting, if it is stored.
pub(super) async fn read(
    session: &Session,
    keyspace: &str,
    name: &str,
) -> Result<Option<String>, Error> {
    let statement = format!("SELECT value FROM {keyspace}.metadata WHERE name = ?");
    let mut statement = Statement::new(statement);
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
