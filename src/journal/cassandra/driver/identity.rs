//! Whether the keyspace is the one that the cluster has its rooms in still: somebody may drop it,
//! or put another one in its place, under nodes that run.

use super::settings::{KEYSPACE_ID, read};
use crate::journal::Error;
use scylla::client::session::Session;
use std::sync::{Mutex, OnceLock, PoisonError};
use uuid::Uuid;

/// See the module.
pub(super) struct Identity {
    keyspace: String,
    /// Of a command that looks at it only, nobody says which it should be.
    expected: OnceLock<Uuid>,
    /// Why the last look found another one.
    wrong: Mutex<Option<String>>,
}

impl Identity {
    pub(super) fn new(keyspace: String) -> Self {
        Self {
            keyspace,
            expected: OnceLock::new(),
            wrong: Mutex::default(),
        }
    }

    /// This one it is to be, from now on.
    pub(super) fn expect(&self, id: Uuid) {
        let _ = self.expected.set(id);
    }

    /// Looks at it. [`Error::Unavailable`] while it is another one.
    pub(super) async fn check(&self, session: &Session) -> Result<(), Error> {
        let Some(expected) = self.expected.get() else {
            return Ok(());
        };
        let wrong = match read(session, &self.keyspace, KEYSPACE_ID).await {
            Ok(Some(id)) if id == expected.to_string() => None,
            Ok(found) => Some(self.is_another(*expected, found)),
            Err(Error::Unusable(why)) => Some(self.is_gone(*expected, &why)),
            Err(error) => return Err(error),
        };
        if let Some(why) = self.note(wrong.clone()) {
            tracing::error!("{why}");
        }
        wrong.map_or(Ok(()), |why| Err(Error::Unavailable(why)))
    }

    /// What the last look found.
    pub(super) fn ready(&self) -> Result<(), String> {
        let wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        wrong.clone().map_or(Ok(()), Err)
    }

    /// Why it is another one, if that is new.
    fn note(&self, wrong: Option<String>) -> Option<String> {
        let mut last = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = *last != wrong;
        last.clone_from(&wrong);
        wrong.filter(|_| is_new)
    }

    fn is_another(&self, expected: Uuid, found: Option<String>) -> String {
        let found = found.map_or_else(|| "none".to_owned(), |id| format!("the id {id}"));
        format!(
            "keyspace {} was put in the place of the one that has the rooms of this cluster (it \
             has {found}, that one {expected}), and nothing is journaled there: stop all nodes, \
             and put that one back (docs/operations.md, Backup and restore)",
            self.keyspace
        )
    }

    fn is_gone(&self, expected: Uuid, why: &str) -> String {
        format!(
            "keyspace {} (id {expected}), which has the rooms of this cluster, is gone: stop all \
             nodes, and put it back (docs/operations.md, Backup and restore). {why}",
            self.keyspace
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_told_once_and_seen_as_long_as_it_is_so() {
        let identity = Identity::new("chat".into());
        let gone = || Some(identity.is_gone(Uuid::nil(), "it does not exist"));
        assert_eq!(identity.ready(), Ok(()));
        assert_eq!(identity.note(gone()), gone());
        assert_eq!(identity.note(gone()), None);
        assert_eq!(identity.ready().err(), gone());
        let other = Some(identity.is_another(Uuid::nil(), None));
        assert_eq!(identity.note(other.clone()), other);
        assert_eq!(identity.note(None), None);
        assert_eq!(identity.ready(), Ok(()));
    }
}
