//! What the members of one room see, held against each other: at each place one event, nothing left
//! out, nothing twice. The first member that gets a place is read; the others have to get the same
//! bytes, which is one comparison each.

use super::{
    dialect::{Dialect, Incoming},
    message::{Messages, Timing},
};
use safe_chat_client::Event;
use std::{collections::VecDeque, time::Instant};

/// Events that are kept although everybody has them: who resumes may ask for them.
const KEPT: usize = 4096;

/// An event as its first reader got it.
struct Entry {
    payload: Box<[u8]>,
    /// Of the message, if it is one of ours.
    timing: Option<Timing>,
    seen: u32,
}

/// One room.
#[derive(Default)]
pub(super) struct Room {
    pub(super) name: String,
    /// By place, from `base` on; `None`: nobody got it yet.
    entries: VecDeque<Option<Entry>>,
    base: u64,
    /// Places up to here are not kept any more.
    trimmed: u64,
    /// Members that are connected and up to date, so that the last of them to see a message is known.
    pub(super) members: u32,
}

/// What a message was.
pub(super) enum Seen {
    /// The next event; when its message was due and sent, if it is one of ours.
    Event {
        timing: Option<Timing>,
        /// All members have it now.
        is_last: bool,
    },
    /// Something else.
    Other(Incoming),
    /// What must not be.
    Broken(String),
}

impl Room {
    pub(super) fn new(name: String) -> Self {
        Self {
            name,
            ..Self::default()
        }
    }

    /// The last place that anybody saw.
    pub(super) fn head(&self) -> u64 {
        (self.base + self.entries.len() as u64).saturating_sub(1)
    }

    /// A member whose last place is `last` got this. Moves `last` on.
    pub(super) fn see(
        &mut self,
        last: &mut u64,
        payload: &[u8],
        dialect: Dialect,
        messages: &mut Messages,
    ) -> Seen {
        if let Some(entry) = self.entry(*last + 1)
            && *entry.payload == *payload
        {
            *last += 1;
            let members = self.members;
            return self.entry(*last).expect("just found").seen(members);
        }
        match dialect.read(payload, *last + 1) {
            Some(Incoming::Event(event)) => self.event(last, event, payload, messages),
            Some(other) => Seen::Other(other),
            None => Seen::Broken("a frame that is none of the protocol".into()),
        }
    }

    fn entry(&mut self, seq: u64) -> Option<&mut Entry> {
        let at = seq.checked_sub(self.base)?;
        self.entries.get_mut(at as usize)?.as_mut()
    }

    fn event(
        &mut self,
        last: &mut u64,
        event: Event,
        payload: &[u8],
        messages: &mut Messages,
    ) -> Seen {
        let (seq, expected) = (event.seq, *last + 1);
        *last = seq;
        if seq != expected {
            return Seen::Broken(format!("seq {seq} instead of {expected}"));
        }
        if seq <= self.trimmed {
            // Nothing is kept that it could be held against.
            return Seen::Event {
                timing: None,
                is_last: false,
            };
        }
        if self.entry(seq).is_some() {
            return Seen::Broken(format!("seq {seq} is not the same for all"));
        }
        let known = match event.id.as_deref() {
            Some(id) => messages.placed(id, &self.name, seq, &event.body),
            None => Ok(None),
        };
        let message = match known {
            Ok(message) => message,
            Err(broken) => return Seen::Broken(broken),
        };
        let timing = message.map(|number| messages.timing(number));
        let entry = Entry {
            payload: payload.into(),
            timing,
            seen: 0,
        };
        let members = self.members;
        self.keep(seq, entry).seen(members)
    }

    /// Members that came at different times begin at different places.
    fn keep(&mut self, seq: u64, entry: Entry) -> &mut Entry {
        if self.entries.is_empty() {
            self.base = seq;
        }
        while seq < self.base {
            self.entries.push_front(None);
            self.base -= 1;
        }
        let at = (seq - self.base) as usize;
        if at >= self.entries.len() {
            self.entries.resize_with(at + 1, || None);
        }
        self.entries[at].insert(entry)
    }

    /// Forgets what everybody has. `lowest`: the last place of the member that is furthest behind.
    pub(super) fn trim(&mut self, lowest: u64) {
        while self.entries.len() > KEPT && self.base <= lowest {
            self.entries.pop_front();
            self.trimmed = self.base;
            self.base += 1;
        }
    }

    /// Whether there is more than needs to be kept.
    pub(super) fn is_long(&self) -> bool {
        self.entries.len() >= 2 * KEPT
    }
}

impl Entry {
    fn seen(&mut self, members: u32) -> Seen {
        self.seen += 1;
        Seen::Event {
            timing: self.timing,
            is_last: self.seen == members,
        }
    }
}

impl Timing {
    /// Microseconds from when it was due, and from when it was sent.
    pub(super) fn micros(&self, now: Instant) -> (u64, u64) {
        let since = |at: Instant| now.saturating_duration_since(at).as_micros() as u64;
        (since(self.due), since(self.sent))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::message;

    fn event(seq: u64, id: &str, text: &str) -> String {
        format!(
            r#"{{"type":"event","seq":{seq},"at":1,"kind":"text","from":"a","text":"{text}","id":"{id}"}}"#
        )
    }

    struct Bench {
        room: Room,
        messages: Messages,
        ids: Vec<String>,
    }

    impl Bench {
        fn new(sent: usize) -> Self {
            let mut messages = Messages::new(8);
            let now = Instant::now();
            let ids = (0..sent)
                .map(|_| {
                    let number = messages.send(0, "r", now, now);
                    message::id(number)
                })
                .collect();
            let mut room = Room::new("r".into());
            room.members = 2;
            Self {
                room,
                messages,
                ids,
            }
        }

        fn see(&mut self, last: &mut u64, frame: &str) -> Seen {
            let bytes = frame.as_bytes();
            self.room
                .see(last, bytes, Dialect::SafeChat, &mut self.messages)
        }

        fn broken(&mut self, last: &mut u64, frame: &str) -> String {
            match self.see(last, frame) {
                Seen::Broken(what) => what,
                _ => panic!("not noticed: {frame}"),
            }
        }
    }

    #[test]
    fn the_last_member_that_sees_a_message_is_known() {
        let mut bench = Bench::new(1);
        let frame = event(5, &bench.ids[0].clone(), &bench.messages.text(0));
        let (mut one, mut other) = (4, 4);
        assert!(matches!(
            bench.see(&mut one, &frame),
            Seen::Event { is_last: false, .. }
        ));
        assert!(matches!(
            bench.see(&mut other, &frame),
            Seen::Event {
                is_last: true,
                timing: Some(_),
                ..
            }
        ));
        assert_eq!((one, other), (5, 5));
    }

    #[test]
    fn loss_repetition_disorder_and_difference_are_noticed() {
        let mut bench = Bench::new(3);
        let text: Vec<_> = (0..3).map(|n| bench.messages.text(n)).collect();
        let ids = bench.ids.clone();
        let mut one = 4;
        bench.see(&mut one, &event(5, &ids[0], &text[0]));
        // A gap, a repetition, a step back.
        assert!(
            bench
                .broken(&mut one.clone(), &event(7, &ids[1], &text[1]))
                .contains("instead of 6")
        );
        assert!(
            bench
                .broken(&mut one.clone(), &event(5, &ids[0], &text[0]))
                .contains("instead of 6")
        );
        // Another member gets something else at the same place.
        let mut other = 4;
        assert!(
            bench
                .broken(&mut other, &event(5, &ids[1], &text[1]))
                .contains("not the same for all")
        );
        // One message at two places, one with another text, one that nobody sent.
        bench.see(&mut one, &event(6, &ids[1], &text[1]));
        assert!(
            bench
                .broken(&mut one.clone(), &event(7, &ids[1], &text[1]))
                .contains("at two places")
        );
        assert!(
            bench
                .broken(&mut one.clone(), &event(7, &ids[2], "x"))
                .contains("not what was sent")
        );
        assert!(
            bench
                .broken(&mut one.clone(), &event(7, "s-99", "x"))
                .contains("nobody sent")
        );
    }

    #[test]
    fn what_everybody_has_is_forgotten() {
        let mut room = Room::new("r".into());
        let mut messages = Messages::new(8);
        let (mut last, joined) = (0, |seq| {
            format!(r#"{{"type":"event","seq":{seq},"at":1,"kind":"joined","from":"a"}}"#)
        });
        for seq in 1..=(2 * KEPT as u64) {
            let frame = joined(seq);
            room.see(
                &mut last,
                frame.as_bytes(),
                Dialect::SafeChat,
                &mut messages,
            );
        }
        assert!(room.is_long());
        room.trim(last);
        assert!(!room.is_long());
        assert_eq!(room.head(), last);
    }
}
