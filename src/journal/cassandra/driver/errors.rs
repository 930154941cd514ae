//! What an error of the driver means: whether a write may have happened.

use crate::journal::Error;
use scylla::errors::{DbError, ExecutionError, RequestAttemptError};

/// A failed reading.
pub(super) fn reading(error: ExecutionError) -> Error {
    match is_refusal(&error) {
        true => Error::Unusable(shown(&error)),
        false => Error::Unavailable(shown(&error)),
    }
}

/// A failed plain write. It did not happen when it was never sent, or when the coordinator said so
/// before it sent it on.
pub(super) fn write(error: ExecutionError) -> Error {
    let before = matches!(
        &error,
        ExecutionError::LastAttemptError(RequestAttemptError::DbError(
            DbError::Unavailable { .. }
                | DbError::IsBootstrapping
                | DbError::RateLimitReached { .. },
            _
        ))
    );
    match before {
        true => Error::Unavailable(shown(&error)),
        false => conditional(error),
    }
}

/// A failed conditional write: it has several phases, so that even a missing replica may be noticed
/// only after it was decided.
pub(super) fn conditional(error: ExecutionError) -> Error {
    if is_refusal(&error) {
        return Error::Unusable(shown(&error));
    }
    let never_sent = matches!(
        &error,
        ExecutionError::EmptyPlan
            | ExecutionError::ConnectionPoolError(_)
            | ExecutionError::LastAttemptError(RequestAttemptError::UnableToAllocStreamId)
    );
    match never_sent {
        true => Error::Unavailable(shown(&error)),
        false => Error::Unknown(shown(&error)),
    }
}

/// The statement can never work: repeating it does not help.
pub(super) fn is_refusal(error: &ExecutionError) -> bool {
    use RequestAttemptError::{CqlRequestSerialization, DbError as Db, SerializationError};
    match error {
        ExecutionError::BadQuery(_) | ExecutionError::PrepareError(_) => true,
        ExecutionError::LastAttemptError(SerializationError(_) | CqlRequestSerialization(_)) => {
            true
        }
        ExecutionError::LastAttemptError(Db(error, _)) => matches!(
            error,
            DbError::SyntaxError
                | DbError::Invalid
                | DbError::AlreadyExists { .. }
                | DbError::AuthenticationError
                | DbError::Unauthorized
                | DbError::ConfigError
                | DbError::ProtocolError
        ),
        _ => false,
    }
}

fn shown(error: &ExecutionError) -> String {
    format!("Cassandra: {error}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use scylla::{errors::WriteType, statement::Consistency};
    use std::time::Duration;

    fn db(error: DbError) -> ExecutionError {
        ExecutionError::LastAttemptError(RequestAttemptError::DbError(error, String::new()))
    }

    fn missing_replicas() -> ExecutionError {
        db(DbError::Unavailable {
            consistency: Consistency::LocalQuorum,
            required: 2,
            alive: 1,
        })
    }

    #[test]
    fn a_write_that_may_have_happened_is_unknown() {
        let write_type = WriteType::UnloggedBatch;
        let timeout = db(DbError::WriteTimeout {
            consistency: Consistency::LocalQuorum,
            received: 1,
            required: 2,
            write_type,
        });
        for error in [
            timeout,
            ExecutionError::RequestTimeout(Duration::from_secs(5)),
            db(DbError::Overloaded),
            db(DbError::ServerError),
        ] {
            assert!(matches!(write(error.clone()), Error::Unknown(_)), "{error}");
            assert!(
                matches!(conditional(error.clone()), Error::Unknown(_)),
                "{error}"
            );
            assert!(matches!(reading(error), Error::Unavailable(_)));
        }
    }

    #[test]
    fn a_write_that_was_never_sent_did_not_happen() {
        assert!(matches!(
            write(ExecutionError::EmptyPlan),
            Error::Unavailable(_)
        ));
        assert!(matches!(write(missing_replicas()), Error::Unavailable(_)));
        assert!(
            matches!(conditional(missing_replicas()), Error::Unknown(_)),
            "a later phase may have found them missing"
        );
        assert!(matches!(write(db(DbError::Invalid)), Error::Unusable(_)));
    }
}
