//! Calls to the journal whose outcome must be definite: repeated, identical, for as long as the
//! journal is away.

use crate::{journal::Error, room::ShardId};
use std::time::Duration;

/// Repeats a call after each `pause` until it succeeds or fails for good. `what` names it in the
/// log.
pub(super) async fn definite<T, F>(
    shard: ShardId,
    what: &str,
    pause: Duration,
    mut call: impl FnMut() -> F,
) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    loop {
        match call().await {
            Err(error) if error.is_transient() => tracing::debug!(%shard, %error, "{what} again"),
            outcome => return outcome,
        }
        tokio::time::sleep(pause).await;
    }
}
