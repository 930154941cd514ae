//! How often it is told what a conversation shows, and what waits or is missing of what was said.

use super::{Sealed, Task, words};
use crate::chat::{foreign::shortened, repeats::Repeats};
use safe_chat_client::Event;
use seal::{
    conversation::{Show, Waits},
    member::{self, Content, FASTER, Shown},
};
use std::mem::discriminant;

impl Sealed {
    pub(super) fn shown(&mut self, show: &Show, event: Option<&Event>) -> Option<Task> {
        let seq = event.map(|event| event.seq);
        let repeats = self.repeats(show);
        if repeats.is_some_and(|of| !of.is_told(seq)) || self.was_told(show) {
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
                | Show::Unseen { .. },
            ) => Task::NotSent(self.said_of(show, event)),
            (None, other) => Task::Note(self.said_of(other, event)),
        })
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
            Show::NotIn | Show::NotFounded | Show::Shut | Show::Revoked | Show::InVain(_) => {
                discriminant(show)
            }
            Show::Room {
                what:
                    Shown::Leaving {
                        who,
                        is_revoked: true,
                        ..
                    },
                ..
            } if self.reader().is(who) => discriminant(&Show::Revoked),
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

/// What a message waits for that cannot be sent now.
pub(super) fn waits(waits: Waits, text: &str) -> String {
    let until = match waits {
        Waits::Connection => "until there is a connection",
        Waits::Reading => "until the room is read",
        Waits::Way => "until this device is in the group of this room, which it tries",
        Waits::Outside => "until this device is in the group of this room: see above",
        Waits::Word => "until you say yes to what is asked above, by /agree",
        Waits::Change => "until a change of the group is in the room",
        Waits::Hidden => "until the service shows a change of the group that it has",
    };
    format!(
        "waiting to be sent, {until}, and kept only as long as this runs: {}",
        shortened(text)
    )
}

/// Whether somebody has to do something about it, or it may be for long.
pub(super) fn is_long(waits: Waits) -> bool {
    matches!(waits, Waits::Outside | Waits::Word | Waits::Hidden)
}
