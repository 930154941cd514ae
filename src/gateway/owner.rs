//! What a room's owner is asked on behalf of a client.

use super::core::{Core, unavailable};
use crate::{
    bus::{Admission, Ask, RoomView},
    room::{Identity, Key, Policy, Reason, Reentry, Rejection, RoomId, Seq, UserId},
};
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// How long the owner may take: a takeover takes less.
pub(super) const DEADLINE: Duration = Duration::from_secs(10);

/// The head of a room, from its owner.
pub(super) async fn head(core: &Core, room: &RoomId) -> Result<Seq, Rejection> {
    let view = owner(core, &Ask::head(room.clone())).await?;
    Ok(view.head)
}

/// What a room asks of those who come: from its replica here, or its owner.
pub(super) async fn policy(
    core: &Core,
    room: &RoomId,
    within: Duration,
) -> Result<Policy, Rejection> {
    let known = core.replica(room).and_then(|replica| replica.policy());
    match known {
        Some(policy) => Ok(policy),
        None => {
            let asked = timeout(within, owner(core, &Ask::head(room.clone()))).await;
            asked
                .unwrap_or_else(|_| Err(late()))
                .map(|view| view.policy)
        }
    }
}

/// Refuses whoever has proven a key when the name belongs to another one. What else would keep a
/// session out (there are too many) keeps nobody from reading.
pub(super) async fn check_name(
    core: &Core,
    room: &RoomId,
    user: UserId,
    key: Key,
    within: Duration,
) -> Result<(), Rejection> {
    let who = Admission {
        user,
        key,
        identity: Identity::Proven,
        device: None,
        policy: None,
        former: None,
    };
    let asked = timeout(within, owner(core, &Ask::admission(room.clone(), who))).await;
    match asked.unwrap_or_else(|_| Err(late())) {
        Ok(_) => Ok(()),
        Err(why) if [Reason::KeyMismatch, Reason::Unavailable].contains(&why.reason) => Err(why),
        Err(_) => Ok(()),
    }
}

/// With what a device comes back into the group of a room.
pub(super) async fn group(core: &Core, room: &RoomId) -> Result<Option<Reentry>, Rejection> {
    let asked = timeout(DEADLINE, owner(core, &Ask::group(room.clone()))).await;
    asked.unwrap_or_else(|_| Err(late())).map(|view| view.group)
}

pub(super) fn late() -> Rejection {
    unavailable("the room's owner did not answer in time: try again")
}

/// What a room's owner answers; asks until it does, unless there can be none. The caller's deadline
/// ends it.
pub(super) async fn owner(core: &Core, ask: &Ask) -> Result<RoomView, Rejection> {
    let mut pauses = core.pauses();
    loop {
        match core.bus.ask(ask).await {
            Ok(RoomView {
                refused: Some(rejection),
                ..
            }) => return Err(rejection),
            Ok(view) => return Ok(view),
            Err(error) => {
                tracing::debug!(room = %ask.room, %error, "the owner has not answered yet");
                core.check_writers()?;
            }
        }
        sleep(pauses.next().unwrap_or(DEADLINE)).await;
    }
}
