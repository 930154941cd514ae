//! A sealed room as it is kept: read by somebody who proves a key and is not in its group.

use super::{driver::content, replay::Journaled};
use anyhow::{Context, Result, bail};
use safe_chat_client::{Client, KeyPair, Notice, Policy};
use seal::Name;
use std::time::Duration;
use tokio::time::timeout;

/// How long it may take.
const READ: Duration = Duration::from_secs(60);
/// The name of who reads.
const READER: &str = "reader";

/// All messages and handshakes of a room, in their order.
///
/// # Errors
/// A part of it is gone, or no gateway gives it in time.
pub async fn journal(urls: &[String], room: &Name) -> Result<Vec<Journaled>> {
    let mut client = Client::builder()
        .gateways(urls)
        .room(room.as_str())
        .user(READER)
        .key_pair(KeyPair::from_seed(&seed_of(READER)))
        .policy(Policy::Sealed)
        .since(0)
        .insist()
        .start()?;
    let mut journal = Vec::new();
    let read = async {
        let mut head = None;
        while let Some(notice) = client.next().await {
            match notice {
                Notice::Connected { welcome, .. } => head = head.or(welcome.seq),
                Notice::Event(event) => {
                    let (seq, at, from) = (event.seq, event.at, event.from);
                    journal.extend(content(event.body).map(|content| Journaled {
                        seq,
                        at,
                        from,
                        content,
                    }));
                    if head.is_some_and(|head| seq >= head) {
                        return Ok(());
                    }
                }
                Notice::Reset { .. } => bail!("a part of it is gone"),
                Notice::Ended(end) => bail!(end),
                _ => {}
            }
        }
        bail!("the client ended")
    };
    timeout(READ, read).await.context("no answer")??;
    client.close().await;
    Ok(journal)
}

/// What somebody's key is made of: the same in every run.
pub(super) fn seed_of(user: &str) -> [u8; 32] {
    let mut seed = [7; 32];
    let name = user.bytes().take(32).enumerate();
    name.for_each(|(at, byte)| seed[at] = byte);
    seed
}
