//! Hashes that only this process can make: with a random key of its own, which is never told.

use sha2::{Digest, Sha256};

/// A hash.
pub(super) type Tag = [u8; 32];

/// The key of a process.
pub(super) struct Key([u8; 32]);

impl Default for Key {
    fn default() -> Self {
        Self(rand::random())
    }
}

impl Key {
    /// The hash of these parts, which are told apart. Hashed twice, so that none can be made longer
    /// by whoever is shown it.
    pub(super) fn tag(&self, parts: [&[u8]; 2]) -> Tag {
        let mut inner = Sha256::new_with_prefix(self.0);
        for part in parts {
            inner.update((part.len() as u64).to_be_bytes());
            inner.update(part);
        }
        let outer = Sha256::new_with_prefix(self.0);
        outer.chain_update(inner.finalize()).finalize().into()
    }
}
