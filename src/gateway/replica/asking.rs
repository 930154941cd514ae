//! What a replica asks of others before it can live: to hear the room, and where the room is and who
//! is there, from its owner.

use super::Replica;
use crate::{
    bus::{Ask, Live, RoomView},
    gateway::core::Core,
    room::Seq,
};
use futures::stream::BoxStream;
use std::time::Duration;
use tokio::time::sleep;

/// How long a place that somebody knows of may still be on its way before it is read from the
/// journal.
pub(super) const GRACE: Duration = Duration::from_millis(250);

/// A room as its owner told it, part by part.
pub(super) struct Whole {
    /// The first part, with the members of all parts.
    pub(super) view: RoomView,
    /// Where the room ended when the last part was told. With all events up to there the members
    /// are those of that place, whatever happened between the parts: an event changes one member,
    /// and gives the same when it is applied once more.
    pub(super) reached: Seq,
}

/// Subscribes to the room, however long it takes.
pub(super) async fn subscribe(core: &Core, replica: &Replica) -> BoxStream<'static, Live> {
    let mut pauses = core.pauses();
    loop {
        match core.bus.live(&replica.room).await {
            Ok(live) => return live,
            Err(error) => {
                tracing::debug!(room = %replica.room, %error, "not subscribed to the room yet")
            }
        }
        sleep(pauses.next().unwrap_or(GRACE)).await;
    }
}

/// Asks for the room and all its members.
pub(super) async fn ask_whole(core: &Core, replica: &Replica) -> Whole {
    let room = &replica.room;
    loop {
        let mut view = ask(core, &Ask::room(room.clone())).await;
        let mut reached = view.head;
        while view.more_members {
            let last = view.members.last().cloned();
            let part = ask(core, &Ask::members(room.clone(), last)).await;
            let is_stuck = part.more_members && part.members.is_empty();
            // Another owner may know the room otherwise: from the beginning.
            if part.refused.is_some() || part.epoch != view.epoch || is_stuck {
                break;
            }
            view.members.extend(part.members);
            (view.more_members, reached) = (part.more_members, part.head);
        }
        if !view.more_members {
            return Whole { view, reached };
        }
        sleep(GRACE).await;
    }
}

/// Asks until the owner answers: while there is none, a takeover is on its way.
pub(super) async fn ask(core: &Core, ask: &Ask) -> RoomView {
    let mut pauses = core.pauses();
    loop {
        match core.bus.ask(ask).await {
            Ok(view) => return view,
            Err(error) => {
                tracing::debug!(room = %ask.room, %error, "the owner has not answered yet")
            }
        }
        sleep(pauses.next().unwrap_or(GRACE)).await;
    }
}
