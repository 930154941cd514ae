//! Ends the sessions of nodes that are gone: for each room that such a node had marked, a command
//! to the room that says so.
//!
//! The marks are the list of what is left to do: a mark is removed only after its command is
//! stored, so whoever owns the shard next goes on where this one stopped. Abandoning twice changes
//! nothing.

use super::View;
use crate::{
    bus::{Bus, Error, Submission},
    room::{Action, Incarnation, RoomId, ShardId},
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::sync::watch;

/// Before a shard is looked at again because something was left over.
const AGAIN: Duration = Duration::from_secs(2);

/// Abandons what gone nodes left in a shard. `true`: nothing is left; `false`, after a pause: look
/// again.
pub(super) async fn sweep(bus: Arc<dyn Bus>, view: watch::Receiver<View>, shard: ShardId) -> bool {
    let clean = match clear(&*bus, &view, shard).await {
        Ok(clean) => clean,
        Err(error) => {
            tracing::warn!(%shard, %error, "sessions of gone nodes cannot be abandoned now; trying again");
            false
        }
    };
    if !clean {
        tokio::time::sleep(AGAIN).await;
    }
    clean
}

async fn clear(bus: &dyn Bus, view: &watch::Receiver<View>, shard: ShardId) -> Result<bool, Error> {
    let mut rooms = BTreeMap::<Incarnation, Vec<RoomId>>::new();
    for (node, room) in bus.marks(shard).await? {
        rooms.entry(node).or_default().push(room);
    }
    let mut clean = true;
    for (node, rooms) in rooms {
        if present(view, node) {
            continue;
        }
        clean &= is_gone(bus, node).await? && abandon(bus, view, node, shard, rooms).await?;
    }
    Ok(clean)
}

/// Whether a node that is not in the view is gone. One that answers has not been seen yet, or is
/// about to come back.
async fn is_gone(bus: &dyn Bus, node: Incarnation) -> Result<bool, Error> {
    match bus.probe(node).await {
        Ok(there) => Ok(!there),
        Err(Error::Unknown(_)) => Ok(true),
        Err(error) => Err(error),
    }
}

/// `false`: the node came back meanwhile, and what it marks from now on is its own again.
async fn abandon(
    bus: &dyn Bus,
    view: &watch::Receiver<View>,
    node: Incarnation,
    shard: ShardId,
    rooms: Vec<RoomId>,
) -> Result<bool, Error> {
    let count = rooms.len();
    for room in rooms {
        if present(view, node) {
            return Ok(false);
        }
        bus.submit(&Submission {
            room: room.clone(),
            action: Action::Abandon { gateway: node },
            reply: None,
        })
        .await?;
        bus.unmark(node, &room).await?;
    }
    tracing::info!(%node, %shard, rooms = count, "abandoned the sessions of a node that is gone");
    Ok(true)
}

fn present(view: &watch::Receiver<View>, node: Incarnation) -> bool {
    view.borrow()
        .nodes
        .iter()
        .any(|record| record.incarnation == node)
}
