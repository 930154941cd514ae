//! Tells in the log when a node becomes ready, when it is not any more and why, and when it is
//! again.

use crate::ops::{Readiness, distinct};
use std::{sync::Arc, time::Duration};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// Between two looks.
const LOOK: Duration = Duration::from_secs(1);
/// Looks in a row that say so before it is told: a connection that moves is nothing to act on.
const SURE: u32 = 2;

/// Tells it until `stop`.
pub(super) async fn tell(readiness: Arc<Readiness>, stop: CancellationToken) {
    let looking = async {
        let (mut told, mut failing) = (false, 0);
        loop {
            sleep(LOOK).await;
            let Some(why) = readiness.failing() else {
                continue;
            };
            failing = if why.is_empty() { 0 } else { failing + 1 };
            if why.is_empty() && !told {
                told = true;
                info!("ready");
            } else if failing == SURE && told {
                told = false;
                let checks: Vec<_> = why.iter().map(|(check, _)| *check).collect();
                let why = distinct(why.iter().map(|(_, why)| why.clone()));
                warn!(checks = checks.join(","), why = why.join("; "), "not ready");
            }
        }
    };
    stop.run_until_cancelled(looking).await;
}
