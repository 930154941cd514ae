//! What one session says: into the lane of its room, and in its end until it is stored.

use super::{Outbox, core::Core, lane::Sent, metrics, replica::Claim};
use crate::{
    room::{CommandId, Key, Rejection, RoomId, SessionId, UserId},
    telemetry::trace::{Origin, hop},
    trace::{At, Hop},
    wire::{Message, ServerFrame},
};
use std::sync::Arc;

/// Whose messages.
#[derive(Debug, Clone)]
pub(super) struct Sender {
    pub(super) room: RoomId,
    pub(super) user: UserId,
    pub(super) key: Key,
    pub(super) session: SessionId,
    /// What its client said of a trace when it came.
    pub(super) origin: Origin,
}

/// The messages of a session. Dropped, it waits for no answer any more.
pub(super) struct Sends {
    core: Arc<Core>,
    claim: Claim,
    sender: Sender,
    outbox: Outbox,
}

impl Sends {
    pub(super) fn new(core: Arc<Core>, claim: Claim, sender: Sender, outbox: Outbox) -> Arc<Self> {
        Arc::new(Self {
            core,
            claim,
            sender,
            outbox,
        })
    }

    /// Takes a message; refuses it when too many wait.
    pub(super) fn push(&self, message: Message) {
        let (core, size, id) = (&self.core, message.body.size(), message.id.clone());
        let Sender {
            room,
            user,
            key,
            session,
            origin,
        } = &self.sender;
        let check = || core.room_for_more().and_then(|()| core.check_message(size));
        let sent = |id: &CommandId| {
            let at = At::message(room, user, id);
            core.tracer
                .note(Hop::Received, &at, || format!("{size} bytes"));
            let span = hop::message(&origin.linked(), size);
            Sent::new(self.outbox.clone(), key.clone(), id.clone(), span)
        };
        let lane = self.claim.lane();
        let whose = (*session, user.clone());
        if let Err(rejection) = lane.push(core, whose, message, check, sent) {
            metrics::refused(&rejection);
            self.reject(id, rejection);
        }
    }

    fn reject(&self, id: Option<CommandId>, rejection: Rejection) {
        let id = match id {
            Some(CommandId::Client(id)) => Some(id),
            _ => None,
        };
        self.outbox.push(&ServerFrame::Rejected { id, rejection });
    }

    /// Returns once all of it is stored: the client is gone, what it said before is not. The caller
    /// brings the deadline.
    pub(super) async fn finish(&self) {
        self.claim.lane().stored(self.sender.session).await;
    }
}

impl Drop for Sends {
    fn drop(&mut self) {
        self.claim.lane().leave(self.sender.session);
    }
}
