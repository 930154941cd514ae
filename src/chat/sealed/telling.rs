//! How often it is told what a conversation shows, and what waits or is missing of what was said.

use super::{Sealed, Task, words};
use crate::chat::{
    foreign::{named, shortened},
    repeats::Repeats,
};
use safe_chat_client::Event;
use seal::{
    conversation::{Question, Show, Waits, in_vain},
    member::{self, Content, FASTER, Shown},
};
use std::mem::discriminant;

/// Places that are not in order, of which it is remembered that they were told or counted.
const MOST_FAULTY: usize = 1000;

impl Sealed {
    pub(super) fn shown(&mut self, show: &Show, event: Option<&Event>) -> Option<Task> {
        let seq = event.map(|event| event.seq);
        if self.was_counted(show, seq) {
            return None;
        }
        let repeats = self.repeats(show);
        let is_counted = repeats.is_some_and(|of| match event {
            Some(event) => !of.is_told_of(event.seq, named(&event.from)),
            None => !of.is_told(None),
        });
        if is_counted || self.was_told(show) {
            return None;
        }
        Some(match (self.message(show, event), show) {
            (Some(event), _) => Task::Event(event),
            (None, Show::NotIn) if self.with.is_some() => self.not_let_in_yet(),
            (
                None,
                Show::Refused {
                    content: Some(_), ..
                }
                | Show::Unseen { .. }
                | Show::Unread { .. },
            ) => Task::NotSent(self.said_of(show, event)),
            (None, Show::Refused { .. }) => {
                let said = self.said_of(show, event);
                // Which it was, where somebody typed it.
                Task::Note(match (self.changing.take(), said.strip_prefix("! ")) {
                    (Some(command), Some(said)) => format!("! {command}: {said}"),
                    _ => said,
                })
            }
            (None, other) => Task::Note(self.said_of(other, event)),
        })
    }

    /// Whether what is not in order at a place was told, or counted, before: it is read again.
    fn was_counted(&mut self, show: &Show, seq: Option<u64>) -> bool {
        let Some(seq) = seq.filter(|_| self.repeats(show).is_some()) else {
            return false;
        };
        if self.faulty.len() >= MOST_FAULTY {
            self.faulty.pop_first();
        }
        !self.faulty.insert(seq)
    }

    /// What a service can have this device say without end.
    fn repeats(&mut self, show: &Show) -> Option<&mut Repeats> {
        match show {
            Show::Odd(member::Error::Gap) => Some(&mut self.gaps),
            Show::Odd(_) => Some(&mut self.faults),
            Show::Room { what, .. } => match what {
                Shown::Lost(why) if *why == FASTER => Some(&mut self.overtaken),
                Shown::Unreadable(_) | Shown::Lost(_) => Some(&mut self.faults),
                _ => None,
            },
            _ => None,
        }
    }

    pub(super) fn counted(&mut self) -> [&mut Repeats; 3] {
        [&mut self.gaps, &mut self.faults, &mut self.overtaken]
    }

    /// How many of these were not told of.
    pub(in super::super) fn untold(&mut self) -> [Option<String>; 3] {
        self.counted().map(Repeats::rest)
    }

    /// What there is to read of what is no message.
    pub(super) fn said_of(&self, show: &Show, event: Option<&Event>) -> String {
        let said = words::of(show, &self.reader(), &self.why);
        words::as_from(said, show, event)
    }

    /// Why this device is not in is told once, however often the room says so.
    fn was_told(&mut self, show: &Show) -> bool {
        let why = match show {
            Show::InVain(why) => (discriminant(show), *why),
            Show::NotIn | Show::NotFounded | Show::Shut | Show::Revoked => (discriminant(show), ""),
            Show::Room {
                what:
                    Shown::Leaving {
                        who,
                        is_revoked: true,
                        ..
                    },
                ..
            } if self.reader().is(who) => (discriminant(&Show::Revoked), ""),
            Show::Room {
                what: Shown::Changed { .. },
                ..
            } => {
                let is_allowed = !self
                    .conversation
                    .member()
                    .is_revoked(self.conversation.room());
                self.told_why.retain(|_| !is_allowed);
                return false;
            }
            _ => return false,
        };
        let was_told = self.told_why.contains(&why);
        self.told_why.extend((!was_told).then_some(why));
        was_told
    }
}

impl Sealed {
    /// What waits for long, and was not told to: it seemed to be for a moment, was refused, or what
    /// it waits for is another thing now. Once that is over the next time is told of anew.
    pub(super) fn still_waits(&mut self) -> Option<Task> {
        let member = self.conversation.member();
        let is_lacking = member.is_lacking(self.conversation.room());
        if self.is_in() && !is_lacking && self.unread.is_none() {
            self.told_why.retain(|(_, why)| why.is_empty());
        }
        let Some(waits) = self.conversation.waits_for() else {
            self.told_waits = None;
            return None;
        };
        if !is_long(waits) || self.told_waits.replace(waits) == Some(waits) {
            return None;
        }
        let unsent = self.unsent();
        let note = self.waiting(waits, unsent.first()?, unsent.len() - 1);
        Some(Task::Waits(note, true))
    }

    /// What a message, and so many more, wait for that cannot be sent now.
    pub(super) fn waiting(&self, waits: Waits, text: &str, more: usize) -> String {
        let until = match (waits, self.no_way.why()) {
            // Its questions are not answered, whatever else is.
            (Waits::Connection, Some(why)) if self.is_connected => format!(
                "until the service says how to come into the group, which it does not now ({why})"
            ),
            _ => self::until(waits).into(),
        };
        let more = match more {
            0 => String::new(),
            more => format!(" (and {more} more)"),
        };
        format!(
            "waiting to be sent, {until}, and kept only as long as this runs: {}{more}",
            shortened(text)
        )
    }
}

/// What nobody in the room can read.
pub(super) fn unread(seq: u64, content: Option<&Content>) -> String {
    match content {
        Some(content) => format!(
            "! nobody can read this, for this device was removed before it came to the room, at \
             #{seq}: say it again when this device is in, or at another one of yours: {}",
            shortened(&String::from_utf8_lossy(&content.0))
        ),
        None => format!(
            "! nobody can read what you shared, or asked for, for this device was removed before \
             it came to the room, at #{seq}: do the same again when this device is in"
        ),
    }
}

/// What is in vain, and goes on.
pub(super) fn goes_on(why: &str) -> String {
    let why = in_vain(why);
    format!("! {why}. This device goes on trying by itself, less and less often")
}

/// What is asked before a device comes in.
pub(super) fn question(question: &Question) -> String {
    match question {
        Question::AnotherGroup => {
            "! the server has another group than the one that you were in, or an older state of it \
             than it has shown: ask the others by another way. /agree goes in all the same"
                .into()
        }
        Question::NoGroup => {
            "! the service has no group of this room, where you were in one with others: it has \
             lost the room, or is not the one that it was. Ask the others by another way. /agree \
             makes a new group, which they are to be let into, or come to as you do; what waits to \
             be sent goes there"
                .into()
        }
        Question::Newcomers(who) => format!(
            "! since you were in, {} came: ask the others. /agree comes back to them",
            words::devices(who)
        ),
        Question::Left => {
            "you have left the group of this room. /agree comes back, if it is open or somebody \
             lets you in"
                .into()
        }
        Question::Invited(by) => format!(
            "! {} invites you back into the group that you left: /agree comes in",
            by.user
        ),
    }
}

/// What the service says is in the room, and does not show there.
pub(super) fn unseen(seq: u64, content: Option<&Content>) -> String {
    match content {
        Some(content) => format!(
            "! the service says that this is in the room at #{seq}, and does not show it there: \
             others may not have it. Ask them by another way, or say it again: {}",
            shortened(&String::from_utf8_lossy(&content.0))
        ),
        None => format!(
            "! the service says that a change of yours, or what you shared, is in the room at \
             #{seq}, and does not show it there: it may not count. Look at /devices; do it again"
        ),
    }
}

/// What a message waits for.
fn until(waits: Waits) -> &'static str {
    match waits {
        Waits::Connection => "until there is a connection",
        Waits::Reading => "until the room is read",
        Waits::Way => "until this device is in the group of this room, which it tries",
        Waits::Outside => "until this device is in the group of this room: see above",
        Waits::Word => "until you say yes to what is asked above, by /agree",
        Waits::Change => "until a change of the group is in the room",
        Waits::Hidden => "until the service shows a change of the group that it has",
        Waits::Other => {
            "until the other one is in this group, for who comes later reads nothing \
                         from before"
        }
    }
}

/// Whether somebody has to do something about it, or it may be for long.
pub(super) fn is_long(waits: Waits) -> bool {
    match waits {
        Waits::Outside | Waits::Word | Waits::Hidden | Waits::Other => true,
        Waits::Connection | Waits::Reading | Waits::Way | Waits::Change => false,
    }
}
