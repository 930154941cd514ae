//! Messages among the events that no owner has written. Whoever may speak to the servers can store
//! one; it must not keep a room from being read and written, so it counts as not there, and is
//! named until it is removed.
//!
//! What an owner wrote says so in its headers, and its content agrees with them. An event of a
//! newer version has such headers too: that one is an error, never skipped.

use super::{
    link::Link,
    skipped::{Skipped, Unfit},
};
use crate::{
    bus::{Commit, Error, Position},
    journal::{Error as JournalError, codec::decode_commit},
    room::{Epoch, Limits, Seq},
};
use async_nats::{HeaderMap, jetstream::message::StreamMessage};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// The last place that is published with or before a message.
pub(super) const SEQ: &str = "Chat-Seq";
pub(super) const EPOCH: &str = "Chat-Epoch";
pub(super) const TYPE: &str = "Chat-Type";
pub(super) const CLAIM: &str = "claim";
/// Where it is, in what the stream publishes again.
const POSITION: &str = "Nats-Sequence";

/// The most that are kept to be named: the rest is found when these are removed.
const KEPT: usize = 16;

/// What an owner has written.
pub(super) struct Written {
    pub(super) seq: Seq,
    /// Without events: a claim.
    pub(super) commit: Commit,
}

/// Whether a message is an owner's claim.
fn is_claim(headers: &HeaderMap) -> bool {
    headers.get(TYPE).is_some_and(|kind| kind.as_str() == CLAIM)
}

fn number(headers: &HeaderMap, header: &str) -> Result<u64, Error> {
    let number = headers
        .get(header)
        .and_then(|value| value.as_str().parse().ok())
        .filter(|number| *number <= Limits::NUMBER);
    number.ok_or_else(|| Error::Unusable(format!("it has no header {header} with a number")))
}

/// What a message says. [`Error::Unsupported`]: it holds an event of a newer version;
/// [`Error::Unusable`]: no owner has written it.
pub(super) fn written(headers: &HeaderMap, payload: &[u8]) -> Result<Written, Error> {
    let (seq, epoch) = (Seq(number(headers, SEQ)?), Epoch(number(headers, EPOCH)?));
    let commit = decode_commit(payload).map_err(|error| match error {
        JournalError::Unsupported { seq, name, version } => {
            Error::Unsupported { seq, name, version }
        }
        error => Error::Unusable(error.to_string()),
    })?;
    let ends_there = match commit.events.last() {
        Some(event) => !is_claim(headers) && event.seq == seq,
        None => is_claim(headers),
    };
    match commit.epoch == epoch && ends_there {
        true => Ok(Written { seq, commit }),
        false => Err(Error::Unusable("its headers contradict its content".into())),
    }
}

/// Where a message belongs, by its headers: they are of every version.
pub(super) struct Place {
    pub(super) position: Position,
    pub(super) epoch: Epoch,
    pub(super) seq: Seq,
    pub(super) is_claim: bool,
}

/// Those that were seen, by position: what is said of each. Clones share them.
#[derive(Clone)]
pub(super) struct Foreign {
    stream: String,
    seen: Arc<Mutex<BTreeMap<u64, Arc<str>>>>,
    skipped: Skipped,
}

impl Foreign {
    pub(super) fn new(stream: String, skipped: Skipped) -> Self {
        Self {
            stream,
            seen: Arc::default(),
            skipped,
        }
    }

    /// What an owner has written; `None`: nobody's, which is noted.
    pub(super) fn skip(&self, message: &StreamMessage) -> Result<Option<Written>, Error> {
        match written(&message.headers, &message.payload) {
            Err(Error::Unusable(why)) => {
                self.note(message.sequence, &message.subject, &why);
                Ok(None)
            }
            read => read.map(Some),
        }
    }

    /// Where a message belongs that an owner has written, of whatever version; `None`: nobody's,
    /// which is noted.
    pub(super) fn place(&self, message: &StreamMessage) -> Option<Place> {
        if let Ok(None) = self.skip(message) {
            return None;
        }
        Some(Place {
            position: Position(message.sequence),
            epoch: Epoch(number(&message.headers, EPOCH).ok()?),
            seq: Seq(number(&message.headers, SEQ).ok()?),
            is_claim: is_claim(&message.headers),
        })
    }

    /// As [`Self::skip`], of what is published live.
    pub(super) fn skip_live(&self, message: &async_nats::Message) -> Result<Option<Commit>, Error> {
        let none = HeaderMap::new();
        let headers = message.headers.as_ref().unwrap_or(&none);
        match written(headers, &message.payload) {
            Err(Error::Unusable(why)) => {
                match number(headers, POSITION) {
                    Ok(position) => self.note(position, &message.subject, &why),
                    // It was never stored.
                    Err(_) => self.count(&message.subject, why),
                }
                Ok(None)
            }
            read => read.map(|written| Some(written.commit)),
        }
    }

    fn note(&self, position: u64, subject: &str, why: &str) {
        let name = &self.stream;
        let said = format!(
            "message {position} of stream {name} is none of this service ({}: {why}): it is \
             skipped; remove it: nats stream rmm {name} {position} -f",
            subject.escape_debug()
        );
        let mut seen = self.lock();
        if seen.contains_key(&position) {
            return;
        }
        if seen.len() < KEPT {
            seen.insert(position, said.into());
        }
        metrics::counter!("safechat_bus_undecodable_total", "what" => "event").increment(1);
    }

    fn count(&self, subject: &str, why: String) {
        self.skipped
            .fits::<()>("event", subject, Err(Unfit::Foreign(why)));
    }

    /// The first one that is there.
    pub(super) fn warning(&self) -> Option<Arc<str>> {
        let seen = self.lock();
        seen.first_key_value().map(|(_, said)| said.clone())
    }

    /// Forgets those that are not there any more; how many.
    pub(super) async fn look_again(&self, link: &Link) -> u64 {
        let positions: Vec<u64> = self.lock().keys().copied().collect();
        let mut removed = 0;
        for position in positions {
            if let Ok(None) = link.at(&self.stream, position).await {
                self.lock().remove(&position);
                removed += 1;
            }
        }
        removed
    }

    /// The stream is another one now.
    pub(super) fn forget(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<str>>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
