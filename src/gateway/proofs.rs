//! Checking proofs: in turns, which tokens take as well.

use crate::{access::Turns, wire::proof::PublicKey};
use tokio::sync::SemaphorePermit;

/// Checks proofs, some at a time.
pub(super) struct Proofs(Turns);

impl Proofs {
    pub(super) fn new(turns: Turns) -> Self {
        Self(turns)
    }

    /// Whether the owner of the key signed these bytes. Waits for its turn; the caller's deadline
    /// ends that.
    pub(super) async fn fits(&self, key: &PublicKey, bytes: &[u8], signature: &[u8; 64]) -> bool {
        let _turn = self.turn().await;
        key.has_signed(bytes, signature)
    }

    /// A turn for checking another signature.
    pub(super) async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        self.0.next().await
    }
}
