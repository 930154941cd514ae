//! Whether the sessions here are still sessions of their rooms. When others took this node for
//! dead, or may have, the owners of the rooms ended its sessions; the events say so, but of a
//! user's second session only with the next event, or never, when a snapshot took the change in. So
//! each room is asked once more: opening a session that is open changes nothing, and of one that is
//! over the room says that it is.

use super::{
    Close,
    core::{ANSWER_WAIT, Core, SessionEntry},
};
use crate::{
    bus::{self, Answered, Submission},
    cluster,
    room::{Action, RoomId, SessionId},
};
use futures::{StreamExt, stream};
use std::sync::{Arc, atomic::Ordering::Relaxed};
use tokio::time::sleep;

/// Rooms that are asked at a time: the doubt comes to all sessions of a node at once.
const AT_A_TIME: usize = 64;
/// How often it is tried to end what a store of before brought back.
const ATTEMPTS: usize = 8;

/// Asks whenever the cluster part says that others may have taken this node for dead; until the
/// cluster part ends.
pub(super) async fn follow(core: Arc<Core>, members: cluster::Handle) {
    let mut view = members.watch();
    // Which nodes there are also says what may be written.
    let _ = core.members.set(members.watch());
    let mut deaths = 0;
    while view
        .wait_for(|view| view.deaths > deaths)
        .await
        .is_ok_and(|view| {
            deaths = view.deaths;
            true
        })
    {
        core.deaths.send_replace(deaths);
        let sessions: Vec<_> = core
            .sessions()
            .iter()
            .map(|(id, entry)| (*id, entry.clone()))
            .collect();
        tracing::info!(
            sessions = sessions.len(),
            "asking the rooms whether the sessions here are still open"
        );
        stream::iter(sessions)
            .for_each_concurrent(AT_A_TIME, |(id, entry)| ask(&core, id, entry))
            .await;
    }
}

/// Asks a room whose events were not all seen.
pub(super) fn of_room(core: &Arc<Core>, room: &RoomId) {
    let sessions: Vec<_> = core
        .sessions()
        .iter()
        .filter(|(_, entry)| entry.room == *room)
        .map(|(id, entry)| (*id, entry.clone()))
        .collect();
    let asking = core.clone();
    core.spawn(async move {
        stream::iter(sessions)
            .for_each_concurrent(AT_A_TIME, |(id, entry)| ask(&asking, id, entry))
            .await;
    });
}

async fn ask(core: &Core, session: SessionId, entry: SessionEntry) {
    while entry.outbox.closed().is_none() && core.sessions().contains_key(&session) {
        match core
            .request(&entry.room, entry.open(session, core.me, None))
            .await
        {
            Ok(Answered::Journaled { .. }) => return,
            Ok(Answered::Rejected(rejection)) if rejection.retry_after_ms.is_none() => {
                return entry.outbox.close(Close::Unavailable);
            }
            // The room cannot be opened now, or the bus is full.
            Ok(Answered::Rejected(_)) | Err(_) => sleep(ANSWER_WAIT).await,
        }
    }
}

/// Ends what a store of before brought back: sessions of this node that were over already. That is
/// the task of a room's replica, which also knows whether somebody joins meanwhile; so each room
/// that an older store still has marked gets one for a while.
pub(super) async fn after_rollbacks(core: Arc<Core>) {
    let health = core.bus.health();
    loop {
        let cleared = core.cleared.load(Relaxed);
        bus::until(health.clone(), |now| now.rollbacks != cleared).await;
        let seen = core.rollbacks();
        let rooms = loop {
            match core.bus.marked_by(core.me).await {
                Ok(rooms) => break rooms,
                Err(error) => {
                    tracing::debug!(%error, "marks cannot be read yet");
                    sleep(ANSWER_WAIT).await;
                }
            }
        };
        stream::iter(rooms)
            .for_each_concurrent(AT_A_TIME, |room| clear(&core, room))
            .await;
        core.cleared.store(seen, Relaxed);
    }
}

async fn clear(core: &Arc<Core>, room: RoomId) {
    // With the mark that it makes it knows of one to take back.
    core.claim(&room).mark(core).await;
}

/// Ends all sessions of this node in a room that has none here. Whether that is stored.
pub(super) async fn end_all(core: &Core, room: &RoomId) -> bool {
    let submission = Submission {
        room: room.clone(),
        action: Action::Abandon { gateway: core.me },
        reply: None,
    };
    for pause in core.pauses().take(ATTEMPTS) {
        match core.bus.submit(&submission).await {
            Ok(_) => return true,
            Err(error) => {
                tracing::debug!(%room, %error, "sessions of before cannot be ended yet")
            }
        }
        sleep(pause).await;
    }
    tracing::warn!(%room, "sessions of before could not be ended: their users look present until this node ends");
    false
}
