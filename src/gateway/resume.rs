//! Where a client begins, and whether it goes on where it was. A seq does not say which event has
//! it: a room may have been removed and made anew, an older store put back. When the event was
//! stored says it.

use super::{
    core::Core,
    replica::{Extent, ReplicaRef},
};
use crate::room::{Millis, Seq};

/// What a client wants of what was before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StartAt {
    /// Everything after this place.
    pub since: Option<Seq>,
    /// When the event of that place was stored, as the client was told: if another one has the
    /// place now, it does not go on there.
    pub since_at: Option<Millis>,
    /// Without `since`, or when that is not possible: the last events, so many (0 to 500).
    pub history: u16,
}

impl Default for StartAt {
    fn default() -> Self {
        Self {
            since: None,
            since_at: None,
            history: 50,
        }
    }
}

/// Whether all that follows the place that a client has named follows what it has.
pub(super) async fn goes_on(
    core: &Core,
    claim: &ReplicaRef,
    from: StartAt,
    extent: Extent,
) -> bool {
    let is_there = |since: &Seq| {
        *since <= extent.head
            && since.next() >= extent.purged
            && core.losses.continues(claim.room(), *since)
    };
    match (from.since.filter(is_there), from.since_at) {
        (None, _) => false,
        (Some(Seq::ZERO), _) | (Some(_), None) => true,
        // What is not there any more, or cannot be read now, proves nothing.
        (Some(since), Some(at)) => {
            let stored = stored_at(core, claim, since).await;
            stored.is_none_or(|stored| stored == at)
        }
    }
}

/// When the event at a place was stored, if it is there.
async fn stored_at(core: &Core, claim: &ReplicaRef, place: Seq) -> Option<Millis> {
    if let Some(recent) = claim.recent(place).await {
        return Some(recent.event().at);
    }
    let page = core.history_cache.read(claim.room(), place, place).await;
    page.ok()?.at(place).map(|event| event.at)
}
