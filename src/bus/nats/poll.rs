//! Follows a bucket without a consumer, by asking for what is newer than what was read: for logins
//! that may make none. A consumer delivers to any subject that its maker names, so who may make one
//! over what it can write may speak as anybody.

use super::{
    link::Link,
    reader::{Entry, Step},
};
use crate::bus::Error;
use async_nats::jetstream::message::StreamMessage;
use std::{collections::VecDeque, time::Duration};
use tokio::time::{Instant, sleep};
use tracing::debug;

/// Between two questions when there was nothing new: heartbeats come twice a second.
const EVERY: Duration = Duration::from_millis(200);
/// How often it is looked whether the bucket is still the same one.
const LOOK_EVERY: Duration = Duration::from_secs(5);
const MESSAGES: usize = 256;
const BYTES: usize = 256 * 1024;

/// A bucket that is followed: the last record of each key, then every change.
pub(super) struct Poll {
    link: Link,
    stream: String,
    filter: String,
    next: u64,
    /// When the stream was made, as it was seen first.
    created: Option<String>,
    looked: Instant,
    ready: VecDeque<StreamMessage>,
    /// All that was stored at the beginning was read.
    current: bool,
}

impl Poll {
    pub(super) fn new(link: &Link, stream: String, filter: String) -> Self {
        Self {
            link: link.clone(),
            stream,
            filter,
            next: 1,
            created: None,
            looked: Instant::now(),
            ready: VecDeque::new(),
            current: false,
        }
    }

    pub(super) async fn next(&mut self) -> Step {
        loop {
            if let Some(message) = self.ready.pop_front() {
                return Step::Entry(Entry {
                    position: message.sequence,
                    at: message.time.unix_timestamp_nanos(),
                    subject: message.subject,
                    headers: Some(message.headers),
                    payload: message.payload,
                });
            }
            match self.ask().await {
                Ok(true) => {}
                Ok(false) if !self.current => {
                    self.current = true;
                    return Step::Current;
                }
                Ok(false) => sleep(EVERY).await,
                Err(error) => {
                    debug!(stream = %self.stream, %error, "following waits");
                    sleep(EVERY).await;
                }
            }
        }
    }

    /// Whether something new was read.
    async fn ask(&mut self) -> Result<bool, Error> {
        if self.created.is_none() || self.looked.elapsed() >= LOOK_EVERY {
            let info = self.link.info(&self.stream).await?;
            let is_other = self
                .created
                .as_ref()
                .is_some_and(|made| *made != info.created);
            // It was made anew, or has lost what was read.
            if is_other || info.state.last_seq + 1 < self.next {
                self.next = 1;
            }
            (self.created, self.looked) = (Some(info.created), Instant::now());
        }
        let (messages, _) = self
            .link
            .batch(&self.stream, &self.filter, self.next, MESSAGES, BYTES)
            .await?;
        if let Some(last) = messages.last() {
            self.next = last.sequence + 1;
        }
        self.ready.extend(messages);
        Ok(!self.ready.is_empty())
    }
}
