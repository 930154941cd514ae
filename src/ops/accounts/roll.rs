//! Everybody who counts at a time.

use super::{Account, password::Hash};
use std::sync::Arc;

/// The operators of one reading of the file.
pub(in crate::ops) struct Roll {
    accounts: Vec<Arc<Account>>,
    /// What is computed for whom nobody knows: such a name must not show by the time it takes.
    decoy: Option<Hash>,
}

impl Roll {
    pub(super) fn new(accounts: Vec<Arc<Account>>) -> Self {
        let hashes = accounts.iter().filter_map(|account| account.hash());
        let decoy = hashes.max_by_key(|hash| hash.cost()).cloned();
        Self { accounts, decoy }
    }

    /// Whether there is nobody: then nothing is managed.
    pub(in crate::ops) fn is_empty(&self) -> bool {
        self.accounts.is_empty()
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.accounts.iter().map(|account| account.name())
    }

    /// The operator of this name with this password. Takes as long as hashes are meant to take,
    /// whether or not there is one: not for a thread of the runtime.
    pub(in crate::ops) fn find(&self, name: &[u8], password: &[u8]) -> Option<Arc<Account>> {
        let named = |account: &&Arc<Account>| account.name().as_bytes() == name;
        let account = self.accounts.iter().find(named);
        if account.is_none_or(|account| account.hash().is_none())
            && let Some(decoy) = &self.decoy
        {
            decoy.fits(password);
        }
        account.filter(|account| account.has(password)).cloned()
    }
}

#[cfg(test)]
impl Roll {
    pub(super) fn has_decoy(&self) -> bool {
        self.decoy.is_some()
    }
}
