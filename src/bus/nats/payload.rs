//! How large a message the servers take. They say it only when a connection is made, so a
//! connection is made from time to time to ask; those that were told another size are made anew.

use super::{
    Config,
    link::{self, Link},
};
use crate::bus::{BLOB, ENVELOPE};
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;

/// The most bytes that any message of the service needs: a part of a snapshot with its headers. The
/// largest commits need half of it.
pub(super) const NEEDED: usize = BLOB + 4 * 1024;

/// Below this nearly no message fits, nor what nodes say to each other.
pub(super) const LEAST: usize = 4 * 1024;

/// What a limit on the bytes of a message means; the second, whether next to nothing fits.
pub(super) fn shortage(whose: &str, bytes: usize, remedy: &str) -> Option<(Arc<str>, bool)> {
    let (content, is_fault) = (bytes.saturating_sub(ENVELOPE), bytes < LEAST);
    let said = match is_fault {
        true => format!("{whose} {bytes} bytes, and no less than {LEAST} will do; {remedy}"),
        false => format!(
            "{whose} {bytes} bytes, fewer than {NEEDED}: messages of more than {content} bytes \
             are refused; {remedy}"
        ),
    };
    (bytes < NEEDED).then(|| (said.into(), is_fault))
}

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

    /// What to do when it is too small, and whether nothing goes any more.
    pub(super) fn shortage(&self) -> Option<(Arc<str>, bool)> {
        let whose = "max_payload of the nats-servers is";
        shortage(whose, self.largest(), "set it to 1MB or more")
    }

    /// Asks when it is time.
    pub(super) async fn look(&mut self) {
        let pause = match self.shortage() {
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
