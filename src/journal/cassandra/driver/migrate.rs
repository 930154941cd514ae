//! Making and changing the tables: explicit, versioned, by one node at a time.

use super::{
    Config,
    connect::{applied, release, session, unreadable},
    errors, schema, settings,
};
use crate::journal::Error;
use scylla::{client::session::Session, statement::Statement};
use std::time::Duration;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

/// How long the lock is held at most without being renewed: a migrator that died is out of the way
/// after this. Longer than any one statement.
const LEASE: Duration = Duration::from_secs(60);
/// How long a migrator waits for another one: a lease, and the work of one that goes on.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often it looks whether the other one is done.
const LOOK: Duration = Duration::from_millis(500);

/// What a migration did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Migrated {
    /// The version that was there; 0: no tables.
    pub from: i32,
    /// The version that is there now.
    pub to: i32,
}

/// Brings the tables to the version of this program. Nothing happens when they are.
pub async fn migrate(config: &Config) -> Result<Migrated, Error> {
    run(&session(config).await?, config).await
}

/// Checks that the tables are of this program's version.
pub(super) async fn check(session: &Session, config: &Config) -> Result<(), Error> {
    let keyspace = &config.keyspace;
    let found = match exists(session, config).await? {
        false => 0,
        true => version(session, config).await?,
    };
    match found {
        schema::CURRENT => Ok(()),
        0 => Err(Error::Unusable(format!(
            "keyspace {keyspace} has no tables: run `safe-chat migrate`, or start with --auto-migrate"
        ))),
        older if older < schema::CURRENT => Err(Error::Unusable(format!(
            "the tables of keyspace {keyspace} have version {older}, this program needs {}: run `safe-chat migrate`",
            schema::CURRENT
        ))),
        newer => Err(Error::Unusable(format!(
            "the tables of keyspace {keyspace} have version {newer}, this program knows {}: install a newer one",
            schema::CURRENT
        ))),
    }
}

pub(super) async fn run(session: &Session, config: &Config) -> Result<Migrated, Error> {
    let found = match exists(session, config).await? {
        false => 0,
        // A table that another node is just making is listed before it can be read: that it cannot
        // be read here is no reason to end. If it stays so, `steps` says it.
        true => match version(session, config).await {
            Err(Error::Unusable(_)) => 0,
            found => found?,
        },
    };
    if found >= schema::CURRENT {
        settings::partitions(session, config).await?;
        return Ok(Migrated {
            from: found,
            to: found,
        });
    }
    let names = schema::Names::new(config, &release(session).await?);
    execute(session, &schema::keyspace(config)).await?;
    execute(session, &schema::lock(&names)).await?;
    let lock = Lock {
        session,
        keyspace: &config.keyspace,
        owner: Uuid::now_v7().to_string(),
    };
    lock.take().await?;
    let migrated = steps(session, config, &names, &lock).await;
    lock.release().await?;
    let migrated = migrated?;
    settings::partitions(session, config).await?;
    Ok(migrated)
}

async fn steps(
    session: &Session,
    config: &Config,
    names: &schema::Names,
    lock: &Lock<'_>,
) -> Result<Migrated, Error> {
    execute(session, &schema::versions(names)).await?;
    let from = version(session, config).await?;
    let mut to = from;
    for version in schema::VERSIONS
        .iter()
        .filter(|version| version.number > from)
    {
        for statement in (version.statements)(names) {
            lock.renew().await?;
            execute(session, &statement).await?;
        }
        let note = format!(
            "INSERT INTO {}.schema_version (version, program) VALUES ({}, '{}')",
            config.keyspace,
            version.number,
            env!("CARGO_PKG_VERSION")
        );
        execute(session, &note).await?;
        to = version.number;
        tracing::info!(keyspace = %config.keyspace, version = to, "migrated the tables");
    }
    Ok(Migrated { from, to })
}

/// Waits until all servers that are there know the same tables; the driver bounds that.
async fn agreed(session: &Session) -> Result<(), Error> {
    let agreed = session.await_schema_agreement().await;
    let failed = |error| {
        Error::Unavailable(format!(
            "Cassandra: the servers do not agree on the tables: {error}"
        ))
    };
    agreed.map(drop).map_err(failed)
}

/// Whether the table of versions is there.
async fn exists(session: &Session, config: &Config) -> Result<bool, Error> {
    let statement = "SELECT table_name FROM system_schema.tables WHERE keyspace_name = ? AND table_name = 'schema_version'";
    let result = session
        .query_unpaged(statement, (&config.keyspace,))
        .await
        .map_err(errors::reading)?;
    Ok(result.into_rows_result().map_err(unreadable)?.rows_num() > 0)
}

async fn version(session: &Session, config: &Config) -> Result<i32, Error> {
    let statement = format!("SELECT version FROM {}.schema_version", config.keyspace);
    let result = session
        .query_unpaged(statement, ())
        .await
        .map_err(errors::reading)?
        .into_rows_result()
        .map_err(unreadable)?;
    let versions = result
        .rows::<(i32,)>()
        .map_err(unreadable)?
        .collect::<Result<Vec<_>, _>>()
        .map_err(unreadable)?;
    Ok(versions
        .into_iter()
        .map(|(version,)| version)
        .max()
        .unwrap_or_default())
}

async fn execute(session: &Session, statement: &str) -> Result<(), Error> {
    let mut statement = Statement::new(statement);
    // Changing a table takes longer than any other request.
    statement.set_request_timeout(Some(LEASE / 2));
    session
        .query_unpaged(statement, ())
        .await
        .map_err(errors::conditional)?;
    // What another node made before returns at once, whichever servers know of it.
    agreed(session).await
}

/// The right to migrate, for a bounded time.
struct Lock<'a> {
    session: &'a Session,
    keyspace: &'a str,
    owner: String,
}

impl Lock<'_> {
    async fn take(&self) -> Result<(), Error> {
        let statement = format!(
            "INSERT INTO {}.migration_lock (name, owner) VALUES ('schema', '{}') IF NOT EXISTS USING TTL {}",
            self.keyspace,
            self.owner,
            LEASE.as_secs()
        );
        let started = Instant::now();
        loop {
            match self.conditional(&statement).await {
                Ok(true) => return Ok(()),
                // The lease of whoever holds it ends; if it was this very attempt, it counts when
                // it is renewed.
                Ok(false) | Err(Error::Unknown(_)) if self.renew().await.is_ok() => return Ok(()),
                Ok(false) | Err(Error::Unknown(_)) if started.elapsed() < PATIENCE => {
                    sleep(LOOK).await
                }
                Ok(false) => {
                    let why = format!(
                        "another node is migrating keyspace {} since {} s",
                        self.keyspace,
                        PATIENCE.as_secs()
                    );
                    return Err(Error::Unavailable(why));
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn renew(&self) -> Result<(), Error> {
        let statement = format!(
            "UPDATE {}.migration_lock USING TTL {} SET owner = '{}' WHERE name = 'schema' IF owner = '{}'",
            self.keyspace,
            LEASE.as_secs(),
            self.owner,
            self.owner
        );
        match self.conditional(&statement).await? {
            true => Ok(()),
            false => Err(Error::Unavailable(format!(
                "the right to migrate keyspace {} was lost: run the migration again",
                self.keyspace
            ))),
        }
    }

    /// Gives the right back; tries for as long as it would last, so that the next migrator, often
    /// this very node again, does not wait for its end.
    async fn release(&self) -> Result<(), Error> {
        let statement = format!(
            "DELETE FROM {}.migration_lock WHERE name = 'schema' IF owner = '{}'",
            self.keyspace, self.owner
        );
        let started = Instant::now();
        loop {
            match self.conditional(&statement).await {
                Err(error) if error.is_transient() && started.elapsed() < LEASE => {
                    sleep(LOOK).await
                }
                outcome => return outcome.map(|_| ()),
            }
        }
    }

    async fn conditional(&self, statement: &str) -> Result<bool, Error> {
        let result = self
            .session
            .query_unpaged(statement, ())
            .await
            .map_err(errors::conditional)?;
        applied(&result.into_rows_result().map_err(unreadable)?)
    }
}
