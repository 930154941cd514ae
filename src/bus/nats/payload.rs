//! How large a message the servers take. They say it only when a connection is made, so a
//! connection is made from time to time to ask; those that were told another size are made anew.

use super::{
    Config,
    link::{self, Link},
};
use crate::bus::BLOB;
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;

/// The most bytes that any message of the service needs: a part of a snapshot with its headers. The
/// largest commits need half of it.
pub(super) const NEEDED: usize = BLOB + 4 * 1024;

/// Between two questions, and while the answer is too small.
const ASK_EVERY: Duration = Duration::from_secs(10);
const ASK_SOON: Duration = Duration::from_secs(2);

/// The limit of the servers, as it is known.
pub(super) struct Payload {
    config: Config,
    links: [Link; 3],
    asked: Instant,
}

impl Payload {
    pub(super) fn new(config: &Config, links: [Link; 3]) -> Self {
        Self {
            config: config.clone(),
            links,
            asked: Instant::now(),
        }
    }

    /// The most bytes that all connections may send in one message.
    pub(super) fn largest(&self) -> usize {
        let limits = self.links.iter().map(|link| link.client.max_payload());
        limits.min().unwrap_or_default()
    }

    /// What to do when it is too small.
    pub(super) fn warning(&self) -> Option<Arc<str>> {
        let largest = self.largest();
        (largest < NEEDED).then(|| {
            format!(
                "max_payload of the nats-servers is {largest} bytes, fewer than {NEEDED}: larger messages are refused; set it to 1MB or more"
            )
            .into()
        })
    }

    /// Asks when it is time.
    pub(super) async fn look(&mut self) {
        let pause = match self.warning() {
            Some(_) => ASK_SOON,
            None => ASK_EVERY,
        };
        if self.asked.elapsed() < pause {
            return;
        }
        self.asked = Instant::now();
        let Ok(info) = link::ask_info(&self.config).await else {
            return; // The connections themselves say when there is none.
        };
        for link in &self.links {
            let is_there = link.client.server_info().server_id == info.server_id;
            if is_there && link.client.max_payload() != info.max_payload {
                tracing::info!(bytes = info.max_payload, "max_payload was changed");
                // It fails only when the client has ended.
                let _ = link.client.force_reconnect().await;
            }
        }
    }
}
