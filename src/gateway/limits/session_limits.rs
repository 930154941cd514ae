//! What one session may send.

use super::{Client, Cost, Limits, TokenBuckets};
use crate::{
    room::{Body, Key, Rejection, UserId},
    wire::ClientFrame,
};
use std::sync::Arc;

/// The buckets that a session takes from.
pub(in crate::gateway) struct SessionLimits {
    session: TokenBuckets,
    user: Arc<TokenBuckets>,
    address: Option<Client>,
}

impl SessionLimits {
    pub(super) fn new(limits: &Limits, user: &UserId, key: &Key, client: Option<&Client>) -> Self {
        Self {
            session: TokenBuckets::session(&limits.settings),
            user: limits.user(user, key),
            address: client.cloned(),
        }
    }

    /// Takes what a frame costs that came in so many bytes.
    pub(in crate::gateway) fn frame(
        &self,
        frame: &ClientFrame,
        bytes: usize,
    ) -> Result<(), Rejection> {
        let cost = match frame {
            ClientFrame::Send(message) if matches!(message.body, Body::Handshake(_)) => {
                Cost::HANDSHAKE
            }
            ClientFrame::Send(_) | ClientFrame::Ping { .. } => Cost::FRAME,
            ClientFrame::History { limit, .. } => Cost::history(*limit),
            ClientFrame::Members { .. } => Cost::MEMBERS,
            ClientFrame::Token { .. } => Cost::TOKEN,
        };
        self.take(cost.of(bytes))
    }

    /// Takes what so many bytes cost that say nothing: a ping of the WebSocket, what was not
    /// understood, or what is around messages.
    pub(in crate::gateway) fn charge_overhead(&self, bytes: usize) -> Result<(), Rejection> {
        self.take(Cost::bytes(bytes))
    }

    /// The narrowest first: what one session is refused costs its user's other sessions nothing.
    fn take(&self, cost: Cost) -> Result<(), Rejection> {
        self.session.take(
            cost,
            "too much at once in this session: send it again later",
        )?;
        self.user
            .take(cost, "too much at once of this user: send it again later")?;
        self.address.as_ref().map_or(Ok(()), |client| {
            client.take(
                cost,
                "too much at once from this address: send it again later",
            )
        })
    }
}
