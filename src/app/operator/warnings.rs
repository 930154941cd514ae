//! What is wrong with the cluster as this node sees it: for `/ready`, and for the log.

use super::{keeping, namesakes, writers};
use crate::{cluster::View, room::Incarnation};
use std::collections::BTreeSet;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// All of it.
pub(in super::super) fn all(view: &View, me: Incarnation) -> Vec<String> {
    let mut all = configured(view, me);
    all.extend(writers::warning(view));
    all
}

/// What somebody has configured so, and what does not mend itself.
fn configured(view: &View, me: Incarnation) -> Vec<String> {
    let found = [
        namesakes::warning(view, me),
        keeping::of_events(view),
        keeping::of_rooms(view),
    ];
    found.into_iter().flatten().collect()
}

/// Logs what is configured wrongly, whenever that is something else, until `stop`.
pub(in super::super) async fn tell(
    mut views: watch::Receiver<View>,
    me: Incarnation,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let telling = async {
        let mut told = BTreeSet::new();
        loop {
            let found: BTreeSet<_> = configured(&views.borrow_and_update(), me)
                .into_iter()
                .collect();
            for warning in found.difference(&told) {
                warn!("{warning}");
            }
            told = found;
            if views.changed().await.is_err() {
                return;
            }
        }
    };
    stop.run_until_cancelled(telling).await;
    stop.cancelled().await;
    Ok(())
}
