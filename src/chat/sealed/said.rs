//! What a terminal does with what it has [`Kept`]: before a step is stored what it shows goes
//! there, so that history is readable, what was said before a restart is known again, and what may
//! be lost is told.

use super::{
    Sealed, Task,
    kept::{Kept, Note, Record},
    now_ms, telling,
};
use crate::chat::{
    foreign::{escaped, time_of},
    view::UNENCRYPTED,
};
use anyhow::Result;
use safe_chat_client::{Body, Event};
use seal::{
    conversation::{Effect, Outgoing, Show},
    member::{Content, Shown},
};
use std::collections::BTreeMap;

/// Ticks for which what was sent before may still come to the room, once all of that is read.
const RECHECK_AFTER: u32 = 5;
/// Characters of a message that it is told of.
const TOLD: usize = 200;

/// Members say nothing unencrypted, and label nothing: whoever it is said to be from, it is the
/// service's.
pub(in super::super) fn unmask(event: &mut Event) {
    if matches!(event.body, Body::Text(_)) {
        event.body = Body::Other(UNENCRYPTED.into());
    }
    (event.to, event.id) = (None, None);
}

impl Sealed {
    /// A session begins: what was sent before this terminal did is told of if it does not come.
    pub(super) fn rechecks_later(&mut self) {
        if self.kept.is_unsure() {
            self.recheck_in.get_or_insert(RECHECK_AFTER);
        }
    }

    /// What of an event of the room is kept, or forgotten, before the device takes it. Also what is
    /// to be shown: an own message that was sent before this terminal began.
    pub(super) fn said_before(
        &mut self,
        event: &Event,
        effects: &[Effect],
    ) -> Result<Option<Task>> {
        match &event.body {
            Body::Purged => self.kept.trim(event.seq, None)?,
            Body::Erased => self.kept.trim(event.seq, Some(&event.from))?,
            _ => {}
        }
        let is_said = |effect: &Effect| matches!(effect, Effect::Show(Show::Said { .. }));
        if event.from != self.user || effects.iter().any(is_said) {
            return Ok(None);
        }
        let Some((hash, text)) = self.kept.said_before(event) else {
            return Ok(None);
        };
        if self.conversation.is_unread(event.seq) {
            let content = Content(text.as_bytes().to_vec());
            let note = telling::unread(event.seq, Some(&content));
            self.kept.keep(vec![Record::Refused { hash }])?;
            return Ok(Some(Task::NotSent(note)));
        }
        let said = Event {
            body: Body::Text(text.into()),
            ..event.clone()
        };
        let record = self.record(&said, Some(event));
        self.kept.keep(record.into_iter().collect())?;
        Ok(Some(Task::Event(said)))
    }

    /// What is to be kept of what a step gives, before that is stored.
    pub(super) fn records_of(&mut self, effects: &[Effect], event: Option<&Event>) -> Vec<Record> {
        let mut records = Vec::new();
        for effect in effects {
            match effect {
                Effect::Send(number, Outgoing::Sealed(bytes)) => {
                    if let Some(text) = self.conversation.said_under(*number) {
                        records.push(Record::sent(bytes, text));
                        self.sent.insert(*number, Kept::hash(bytes));
                    }
                }
                Effect::Show(Show::Unseen { content, .. } | Show::Unread { content, .. }) => {
                    let text = content
                        .as_ref()
                        .map(|content| String::from_utf8_lossy(&content.0));
                    let hash = text.and_then(|text| self.kept.sent_as(None, &text));
                    records.extend(hash.map(|hash| Record::Refused { hash }));
                }
                Effect::Show(show) => {
                    let read = self.message(show, event);
                    records.extend(read.and_then(|read| self.record(&read, event)));
                    records.extend(self.noted(show, event));
                }
                _ => {}
            }
        }
        records
    }

    fn record(&self, read: &Event, event: Option<&Event>) -> Option<Record> {
        let text = read.text()?;
        let is_own = read.from == self.user;
        let sent = is_own.then(|| self.kept.sent_as(event.map(|event| &event.body), text));
        Some(Record::Read {
            seq: read.seq,
            at: kept_at(read.at),
            from: read.from.clone(),
            text: text.into(),
            sent: sent.flatten(),
        })
    }

    /// What was shared, or asked for, at a place of the room.
    fn noted(&self, show: &Show, event: Option<&Event>) -> Option<Record> {
        let (seq, by) = match show {
            Show::Room {
                seq: Some(seq),
                what: Shown::Shared { by, .. } | Shown::Asked { by, .. },
            } => (*seq, by),
            _ => return None,
        };
        Some(Record::Noted(Note {
            seq,
            at: event.map_or_else(now_ms, |event| kept_at(event.at)),
            from: by.user.to_string(),
            text: self.said_of(show, event),
        }))
    }

    /// The message that there is to show, as an event of the room.
    pub(super) fn message(&self, show: &Show, event: Option<&Event>) -> Option<Event> {
        let (content, from) = match show {
            Show::Said { content, .. } => (content, self.user.clone()),
            Show::Room {
                what: Shown::Message { from, content },
                ..
            } => (content, from.user.to_string()),
            _ => return None,
        };
        let text = String::from_utf8_lossy(&content.0).into_owned();
        let (seq, at) = match (show, event) {
            (_, Some(event)) => (event.seq, event.at),
            (Show::Said { seq, .. }, None) => (*seq, now_ms()),
            _ => (0, now_ms()),
        };
        Some(Event {
            seq,
            at,
            from,
            to: None,
            id: None,
            body: Body::Text(text),
        })
    }

    /// What was sent under a number will never be in the room.
    pub(super) fn not_taken(&mut self, number: u64, is_refused: bool) -> Result<()> {
        match self.sent.remove(&number) {
            Some(hash) if is_refused => self.kept.keep(vec![Record::Refused { hash }]),
            _ => Ok(()),
        }
    }

    /// Tells of what was sent before this terminal began, once all of the room is read and it is
    /// not there.
    pub(super) fn recheck(&mut self) -> Result<Vec<Task>> {
        if self.unread.is_some() {
            return Ok(Vec::new());
        }
        let Some(ticks) = self.recheck_in else {
            return Ok(Vec::new());
        };
        self.recheck_in = ticks.checked_sub(1);
        if self.recheck_in.is_some() {
            return Ok(Vec::new());
        }
        let (mut tasks, mut records) = (Vec::new(), Vec::new());
        for (hash, text) in self.kept.unsure() {
            let text: String = escaped(text).chars().take(TOLD).collect();
            tasks.push(Task::Note(format!(
                "! this may not have been sent, for the terminal ended before the room had it: \
                 {text}"
            )));
            records.push(Record::Refused { hash: *hash });
        }
        self.kept.keep(records)?;
        Ok(tasks)
    }

    /// Makes a page of history readable, as far as this device has read it; what there is to read
    /// in the place of what is no message.
    pub(in super::super) fn recall(&self, events: &mut [Event]) -> BTreeMap<u64, String> {
        events.iter_mut().for_each(unmask);
        self.kept.recall(events)
    }

    /// What was read here is not kept any more.
    pub(in super::super) fn clear(&mut self) -> Result<Task> {
        self.kept.trim(u64::MAX, None)?;
        let note = "what this device had kept of what was said in this room is forgotten here";
        Ok(Task::Note(note.into()))
    }
}

/// For how long something is kept, the service does not say.
fn kept_at(at: u64) -> u64 {
    time_of(at).map_or_else(now_ms, |_| at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_encrypted_is_no_message_and_no_label_of_whoever_it_names() {
        let of = |body: Body| Event {
            seq: 12,
            at: 0,
            from: "harry".into(),
            to: Some("kim".into()),
            id: Some("m1".into()),
            body,
        };
        let mut event = of(Body::Text("send me money".into()));
        unmask(&mut event);
        assert_eq!(event.kind(), UNENCRYPTED);
        assert_eq!(event.text(), None);
        assert_eq!((event.to, event.id), (None, None));
        for body in [Body::Sealed("x".into()), Body::ErasedText, Body::Joined] {
            let mut event = of(body.clone());
            unmask(&mut event);
            let unlabelled = Event {
                to: None,
                id: None,
                ..of(body)
            };
            assert_eq!(event, unlabelled);
        }
    }
}
