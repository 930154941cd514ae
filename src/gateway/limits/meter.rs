//! What one session may send.

use super::{Client, Limit, bucket::Bucket};
use crate::{room::Rejection, wire::ClientFrame};
use std::sync::Arc;

/// Events of a page of history that count as one frame more.
const EVENTS: u32 = 100;

/// What a page of history costs: reading and sending it is more work than a message.
pub(in crate::gateway) fn cost(limit: u16) -> u32 {
    1 + u32::from(limit) / EVENTS
}

/// The buckets that a session takes from.
pub(in crate::gateway) struct Meter {
    pub(super) session: Bucket,
    pub(super) user: Arc<Bucket>,
    pub(super) address: Option<Client>,
}

impl Meter {
    /// Takes what a frame costs.
    pub(in crate::gateway) fn frame(&self, frame: &ClientFrame) -> Result<(), Rejection> {
        self.take(match frame {
            ClientFrame::History { limit, .. } => cost(*limit),
            ClientFrame::Send(_) | ClientFrame::Members { .. } | ClientFrame::Ping { .. } => 1,
        })
    }

    /// Takes what a frame costs that was not understood; its sender is told so anyway.
    pub(in crate::gateway) fn bad_frame(&self) {
        let _ = self.take(1);
    }

    /// The narrowest bucket first: what one session is refused costs its user's other sessions nothing.
    fn take(&self, cost: u32) -> Result<(), Rejection> {
        Limit::Session.take(&self.session, cost, "too much at once in this session: send it again later")?;
        Limit::User.take(&self.user, cost, "too much at once of this user: send it again later")?;
        self.address
            .as_ref()
            .map_or(Ok(()), |client| Limit::Address.take(&client.0.frames, cost, "too much at once from this address: send it again later"))
    }
}
