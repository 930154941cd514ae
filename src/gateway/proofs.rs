//! Checking proofs. A check takes a processor for some 50 us, so only some of the processors do it
//! at a time, however many clients want to come in; the rest goes on serving who is in.

use crate::wire::proof::{Proof, PublicKey};
use std::thread::available_parallelism;
use tokio::sync::Semaphore;

/// Checks proofs, some at a time.
pub(super) struct Proofs(Semaphore);

impl Proofs {
    /// Half of the processors may be busy with it, and one at least.
    pub(super) fn new() -> Self {
        let processors = available_parallelism().map_or(1, usize::from);
        Self(Semaphore::new((processors / 2).max(1)))
    }

    /// Whether the owner of the key signed these bytes. Waits for its turn; the caller's deadline
    /// ends that.
    pub(super) async fn fits(&self, key: &PublicKey, bytes: &[u8], proof: &Proof) -> bool {
        let _turn = self.0.acquire().await;
        key.has_signed(bytes, proof)
    }
}
