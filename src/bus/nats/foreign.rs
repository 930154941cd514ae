//! Messages among the events that no owner has written. Whoever may speak to the servers can store
//! one; it must not keep a room from being read and written, so it counts as not there, and is
//! named until it is removed.
//!
//! What an owner wrote says so in its headers, and its content agrees with them. An event of a
//! newer version has such headers too: that one is an error, never skipped.

use super::{
    commands::millis,
    link::Link,
    registry::check_no_answer,
    skipped::{Skipped, Unfit},
};
use crate::{
    bus::{Commit, Error, Position},
    journal::{Error as JournalError, codec::decode_commit},
    room::{Epoch, Limits, Millis, Seq},
};
use async_nats::{HeaderMap, jetstream::message::StreamMessage};
use chrono::DateTime;
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

/// The last place that is published with or before a message.
pub(super) const SEQ: &str = "Chat-Seq";
pub(super) const EPOCH: &str = "Chat-Epoch";
pub(super) const TYPE: &str = "Chat-Type";
pub(super) const CLAIM: &str = "claim";
/// What the stream adds to what it publishes again: itself, the subject, where it is, and when it
/// was stored.
const STREAM: &str = "Nats-Stream";
const SUBJECT: &str = "Nats-Subject";
const POSITION: &str = "Nats-Sequence";
const TIME: &str = "Nats-Time-Stamp";

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

/// What a message says that was stored at a time. [`Error::Unsupported`]: it holds an event of a
/// newer version; [`Error::Unusable`]: no owner has written it.
pub(super) fn written(headers: &HeaderMap, payload: &[u8], at: Millis) -> Result<Written, Error> {
    check_no_answer(Some(headers)).map_err(|why| Error::Unusable(why.to_string()))?;
    let (seq, epoch) = (Seq(number(headers, SEQ)?), Epoch(number(headers, EPOCH)?));
    // Before anything takes it for the word of a newer owner.
    if !epoch.is_possible(at) {
        let why = format!("its epoch {epoch} is higher than any owner's can be");
        return Err(Error::Unusable(why));
    }
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

/// A message that a server handed out, with the headers that it was stored with.
pub(super) fn as_stored(mut message: StreamMessage) -> StreamMessage {
    strip_answer(&mut message.headers);
    message
}

/// Takes out what a server has added to the headers of a message that it hands out.
fn strip_answer(headers: &mut HeaderMap) {
    let added = [STREAM, SUBJECT, POSITION, TIME];
    let mut stored = HeaderMap::new();
    for (name, values) in headers.iter() {
        let kept = match added.contains(&name.to_string().as_str()) {
            true => values.len().saturating_sub(1),
            false => values.len(),
        };
        for value in &values[..kept] {
            stored.append(name.clone(), value.clone());
        }
    }
    *headers = stored;
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
    /// Whether the stream lets nobody delete a message.
    pub(super) stays: Arc<AtomicBool>,
}

impl Foreign {
    pub(super) fn new(stream: String, skipped: Skipped) -> Self {
        Self {
            stream,
            seen: Arc::default(),
            skipped,
            stays: Arc::default(),
        }
    }

    /// What an owner has written; `None`: nobody's, which is noted.
    pub(super) fn skip(&self, message: &StreamMessage) -> Result<Option<Written>, Error> {
        let at = millis(message.time.unix_timestamp_nanos());
        match written(&message.headers, &message.payload, at) {
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

    /// As [`Self::skip`], of what is published live for the subject of a room's events; where it
    /// is. Only the stream publishes there, which says so.
    pub(super) fn skip_live(
        &self,
        message: &async_nats::Message,
        subject: &str,
    ) -> Result<Option<(Position, Commit)>, Error> {
        let Some((position, at, headers)) = self.republished(message, subject) else {
            let why = "the stream did not publish it".into();
            self.skipped
                .fits::<()>("event", &message.subject, Err(Unfit::Forged(why)));
            return Ok(None);
        };
        match written(&headers, &message.payload, at) {
            Err(Error::Unusable(why)) => {
                self.note(position, &message.subject, &why);
                Ok(None)
            }
            read => read.map(|written| Some((Position(position), written.commit))),
        }
    }

    /// Where and when the stream has stored a message that it publishes again, and the headers that
    /// it had then; `None`: it is not from there.
    fn republished(
        &self,
        message: &async_nats::Message,
        subject: &str,
    ) -> Option<(u64, Millis, HeaderMap)> {
        let mut headers = message.headers.clone()?;
        let is = |name: &str, value: &str| {
            let found = headers.get_last(name);
            found.is_some_and(|found| found.as_str() == value)
        };
        if !is(STREAM, &self.stream) || !is(SUBJECT, subject) {
            return None;
        }
        let position = headers.get_last(POSITION)?.as_str().parse().ok()?;
        let at = headers.get_last(TIME)?.as_str();
        let at = DateTime::parse_from_rfc3339(at).ok()?.timestamp_millis();
        strip_answer(&mut headers);
        Some((position, Millis(u64::try_from(at).ok()?), headers))
    }

    fn note(&self, position: u64, subject: &str, why: &str) {
        let name = &self.stream;
        let remedy = match self.stays.load(Relaxed) {
            false => format!("remove it: nats stream rmm {name} {position} -f"),
            true => "it stays there, since the stream lets nobody delete".into(),
        };
        let said = format!(
            "message {position} of stream {name} is none of this service ({}: {why}): it is \
             skipped; {remedy}",
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
