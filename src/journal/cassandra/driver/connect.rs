//! Connecting: a session whose every statement has a deadline and is tried exactly once.

use super::{Config, errors};
use crate::{journal::Error, tls};
use scylla::{
    client::{
        execution_profile::ExecutionProfile, session::Session, session_builder::SessionBuilder,
    },
    errors::{
        ConnectionError, ConnectionPoolError, ConnectionSetupRequestErrorKind as SetupError,
        DbError, MetadataError, NewSessionError,
    },
    policies::{load_balancing::DefaultPolicy, retry::FallthroughRetryPolicy},
    response::query_result::QueryRowsResult,
    statement::{Consistency, SerialConsistency},
    value::{CqlValue, Row},
};
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tokio::time::timeout;

/// How often a server says that it is there; three times as long a silence and its connection
/// counts as lost.
const KEEPALIVE: Duration = Duration::from_secs(1);

/// Opens a session. [`Error::Unavailable`] says which addresses do not answer.
pub(super) async fn session(config: &Config) -> Result<Session, Error> {
    config.validate().map_err(Error::Unusable)?;
    let balancing = DefaultPolicy::builder()
        .prefer_datacenter(config.datacenter.clone())
        .token_aware(true)
        .permit_dc_failover(false)
        .build();
    // Nothing is repeated behind our back: whether a write may be sent again is decided where the
    // outcome is known.
    let connect_timeout = Duration::from_millis(config.connect_timeout_ms);
    let profile = ExecutionProfile::builder()
        .consistency(Consistency::LocalQuorum)
        .serial_consistency(Some(SerialConsistency::LocalSerial))
        .request_timeout(Some(Duration::from_millis(config.request_timeout_ms)))
        .retry_policy(Arc::new(FallthroughRetryPolicy::new()))
        .speculative_execution_policy(None)
        .load_balancing_policy(balancing)
        .build();
    let mut builder = SessionBuilder::new()
        .known_nodes(&config.hosts)
        .connection_timeout(connect_timeout)
        // A server that is frozen or cut off takes requests without an answer: others are asked
        // once its connection counts as lost.
        .keepalive_interval(KEEPALIVE)
        .keepalive_timeout(KEEPALIVE * 3)
        .default_execution_profile_handle(profile.into_handle());
    reconnect_soon(&mut builder);
    if let (Some(user), Some(password)) = (&config.user, &config.password) {
        builder = builder.user(user, password);
    }
    if let Some(trust) = config.trust() {
        let settings = tls::client(&trust)
            .map_err(|error| Error::Unusable(format!("TLS with Cassandra: {error}")))?;
        builder = builder.tls_context(Some(Arc::new(settings)));
    }
    let unreachable = |why: String| {
        Error::Unavailable(format!(
            "Cassandra does not answer at {}: {why}",
            config.shown()
        ))
    };
    let session = match timeout(connect_timeout * 2, builder.build()).await {
        Ok(Ok(session)) => session,
        Ok(Err(error)) => {
            let denied = denied(&error, config).map(Error::Denied);
            return Err(denied.unwrap_or_else(|| unreachable(error.to_string())));
        }
        Err(_) => {
            return Err(unreachable(format!(
                "no connection within {} ms",
                config.connect_timeout_ms * 2
            )));
        }
    };
    check_datacenter(config, &session)?;
    Ok(session)
}

/// Why a server that is there does not let this program in, and what to do; `None`: it is away.
/// What the server says is not quoted: it may name the user.
fn denied(error: &NewSessionError, config: &Config) -> Option<String> {
    let NewSessionError::MetadataError(MetadataError::ConnectionPoolError(
        ConnectionPoolError::Broken {
            last_connection_error: error,
        },
    )) = error
    else {
        return None;
    };
    let at = config.shown();
    match error {
        ConnectionError::ConnectionSetupRequestError(error) => match error.get_error() {
            SetupError::DbError(DbError::AuthenticationError, _) => Some(format!(
                "Cassandra at {at} refuses the login: are cassandra.user and cassandra.password \
                 those that it knows?"
            )),
            SetupError::MissingAuthentication => Some(format!(
                "Cassandra at {at} wants a login, and none is set: cassandra.user and \
                 cassandra.password (CAS_USER, CAS_PWS_FILE)"
            )),
            _ => None,
        },
        ConnectionError::IoError(error) => tls::fault(&**error).map(|fault| {
            let todo = tls::advice(fault, "cassandra");
            format!("TLS with Cassandra at {at} fails ({fault}): {todo}")
        }),
        _ => None,
    }
}

/// Pauses of 50 ms to 1 s between two attempts to connect to a lost server. The driver's own go up
/// to 10 s, which every room of the node would wait after an outage; they hold where this is built
/// without `--cfg scylla_unstable`.
fn reconnect_soon(_builder: &mut SessionBuilder) {
    #[cfg(scylla_unstable)]
    {
        use scylla::policies::reconnect::ExponentialReconnectPolicy;
        let policy = ExponentialReconnectPolicy::new()
            .with_backoff_limits(Duration::from_millis(50), Duration::from_secs(1));
        _builder.config.reconnect_policy = Arc::new(policy);
    }
}

fn check_datacenter(config: &Config, session: &Session) -> Result<(), Error> {
    let state = session.get_cluster_state();
    let there: BTreeSet<&str> = state
        .get_nodes_info()
        .iter()
        .filter_map(|node| node.datacenter.as_deref())
        .collect();
    match there.contains(config.datacenter.as_str()) {
        true => Ok(()),
        false => Err(Error::Unusable(format!(
            "Cassandra at {} has no datacenter {}: set cassandra.datacenter to one of {there:?}",
            config.shown(),
            config.datacenter
        ))),
    }
}

/// The version of the server.
pub(super) async fn release(session: &Session) -> Result<String, Error> {
    let result = session
        .query_unpaged("SELECT release_version FROM system.local", ())
        .await
        .map_err(errors::reading)?;
    let (release,) = result
        .into_rows_result()
        .map_err(unreadable)?
        .single_row::<(String,)>()
        .map_err(unreadable)?;
    Ok(release)
}

/// An answer that is not of the expected shape.
pub(super) fn unreadable(error: impl std::fmt::Display) -> Error {
    Error::Unusable(format!("Cassandra answered in an unexpected form: {error}"))
}

/// Whether a conditional statement was applied. The column is found by its name: the others differ
/// with the outcome.
pub(super) fn applied(rows: &QueryRowsResult) -> Result<bool, Error> {
    let missing = || unreadable("no column [applied]");
    let (index, _) = rows
        .column_specs()
        .get_by_name("[applied]")
        .ok_or_else(missing)?;
    let row: Row = rows.first_row().map_err(unreadable)?;
    match row.columns.get(index) {
        Some(Some(CqlValue::Boolean(applied))) => Ok(*applied),
        _ => Err(missing()),
    }
}
