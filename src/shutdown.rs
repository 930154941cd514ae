//! The signals that end a node: the first asks it to drain, the second ends it at once.

use std::process;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// The exit code when the second signal came: nothing was finished.
const AT_ONCE: i32 = 1;

/// Returns a token that SIGTERM or SIGINT cancels. A second one of either ends the process.
pub fn on_signals() -> std::io::Result<CancellationToken> {
    let (mut terminate, mut interrupt) = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
    );
    let asked = CancellationToken::new();
    let token = asked.clone();
    tokio::spawn(async move {
        let name = either(&mut terminate, &mut interrupt).await;
        warn!("{name}: draining; once more ends at once");
        token.cancel();
        let name = either(&mut terminate, &mut interrupt).await;
        warn!("{name} again: ending at once");
        process::exit(AT_ONCE);
    });
    Ok(asked)
}

async fn either(terminate: &mut Signal, interrupt: &mut Signal) -> &'static str {
    // Both mean the same, so the order does not matter.
    tokio::select! {
        biased;
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    }
}
