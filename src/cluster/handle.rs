//! What other parts see of the cluster, and how they ask this node to hand its shards over.

use super::View;
use crate::room::Incarnation;
use std::time::Duration;
use tokio::{sync::watch, time::timeout};
use tokio_util::sync::CancellationToken;

/// How long a hand-over may go without any shard being handed over, before it is not worth waiting
/// for: longer than a release takes while the bus or the journal answers at all.
const STALL: Duration = Duration::from_secs(3);

/// A cheap handle on the cluster part.
#[derive(Debug, Clone)]
pub struct Handle {
    pub(super) me: Incarnation,
    pub(super) view: watch::Receiver<View>,
    pub(super) drain: CancellationToken,
}

impl Handle {
    /// This run of this node.
    pub fn me(&self) -> Incarnation {
        self.me
    }

    /// The newest view.
    pub fn view(&self) -> View {
        self.view.borrow().clone()
    }

    /// The views as they change.
    pub fn watch(&self) -> watch::Receiver<View> {
        self.view.clone()
    }

    /// Returns once the registry shows this node, so that nobody takes what it does from then on
    /// for a gone node's.
    pub async fn known(&self) {
        // An error: the part has ended.
        let _ = self.view.clone().wait_for(|view| view.fresh).await;
    }

    /// Whether this node is about to stop.
    pub fn draining(&self) -> bool {
        self.drain.is_cancelled()
    }

    /// Hands all shards over and takes no more. True when none is left, or the part has ended;
    /// false when none of those that are left could be handed over for [`STALL`]. The caller brings
    /// the deadline. Cancel safe: the hand-over goes on.
    pub async fn drain(&self) -> bool {
        self.drain.cancel();
        let mut view = self.view.clone();
        let mut left = usize::MAX;
        while left > 0 {
            let fewer = view.wait_for(|view| view.draining && view.owned.len() < left);
            left = match timeout(STALL, fewer).await {
                Ok(Ok(view)) => view.owned.len(),
                // The part has ended: nothing is left.
                Ok(Err(_)) => 0,
                Err(_) => return false,
            };
        }
        true
    }

    /// Whether this node plays its part in the cluster; the reason when it does not.
    pub fn ready(&self) -> Result<(), String> {
        let view = self.view.borrow();
        if self.draining() {
            return Err("stopping: shards are being handed over".into());
        }
        if !view.fresh {
            return Err(
                "this node's own heartbeat does not come back from the bus: NATS stores nothing, or \
                 not in time. Where its log has `no space left on device`, free the disk and \
                 restart that nats-server"
                    .into(),
            );
        }
        match view.waiting {
            0 => Ok(()),
            n => Err(format!("{n} shards of this node are not taken yet")),
        }
    }
}
