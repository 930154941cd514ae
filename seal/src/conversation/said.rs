//! What is said: texts, and messages of before that are shared or asked for.

use super::state::Sent;
use super::{Conversation, Effect, MOST_WAITING, Show};
use crate::content::{self, Earlier};
use crate::direct;
use crate::identity::Public;
use crate::member::{Content, Error, Shown};

impl Conversation {
    /// Shares messages of before with a person, as far as the bounds allow: the newest of these,
    /// which are in the order of the room. Everybody sees that, and the person's devices show them.
    ///
    /// # Errors
    /// This device or that person is not in the group, there is nothing to share, or too much waits
    /// already.
    pub fn share(
        &mut self,
        with: &Public,
        messages: &[Earlier],
        now: u64,
    ) -> Result<Vec<Effect>, Error> {
        self.goes_on_to(now);
        let parts = self.member.share(&self.room, with, messages)?;
        self.say_inside(parts)
    }

    /// Asks everybody for so many messages of before. Whether somebody shares them is up to them.
    ///
    /// # Errors
    /// Too much waits already.
    pub fn ask_for_earlier(&mut self, count: u8, now: u64) -> Result<Vec<Effect>, Error> {
        self.goes_on_to(now);
        self.say_inside(vec![content::asked(count)])
    }

    /// The text of what was sent under a number; `None`: it was no text.
    pub fn said_under(&self, number: u64) -> Option<&[u8]> {
        match self.sent.get(&number)? {
            Sent::Message(own) => content::text_in(&self.unplaced.get(own)?.inside),
            Sent::Change(_) | Sent::Seen => None,
        }
    }

    /// The other one is not in the group of a room of two: who comes later reads nothing from
    /// before, so what is said waits.
    pub(super) fn is_alone(&self) -> bool {
        let own = self.member.certificate().identity();
        let members = self.member.members(&self.room);
        direct::is_direct(&self.room) && members.iter().all(|one| one.identity == *own)
    }

    /// The texts that were said and not sent yet, in their order.
    pub fn unsent(&self) -> impl Iterator<Item = &[u8]> {
        let insides = self.waiting.iter();
        insides.filter_map(|inside| content::text_in(inside))
    }

    /// What was shared or asked for and is not known to be in the room, as it would be shown there.
    /// What fills several messages is one.
    pub fn undecided_others(&self) -> Vec<Shown> {
        let sent = self.unplaced.values();
        let unanswered = sent
            .filter(|one| one.placed.is_none())
            .map(|one| &one.inside);
        let mut others: Vec<Shown> = Vec::new();
        for inside in unanswered.chain(&self.waiting) {
            let Some(Err(next)) = self.member.own_inside(&self.room, inside) else {
                continue;
            };
            match (others.last_mut(), &next) {
                (
                    Some(Shown::Shared { with, count, .. }),
                    Shown::Shared {
                        with: same,
                        count: more,
                        ..
                    },
                ) if with == same => *count += more,
                _ => others.push(next),
            }
        }
        others
    }

    pub(super) fn say_inside(&mut self, insides: Vec<Vec<u8>>) -> Result<Vec<Effect>, Error> {
        if self.waiting.len() + insides.len() > MOST_WAITING {
            return Err(Error::Full);
        }
        self.waiting.extend(insides);
        Ok(self.go_on(Vec::new()))
    }

    /// What an own message says; `None`: it is no text.
    pub(super) fn text_of(&self, inside: &[u8]) -> Option<Content> {
        self.member.own_inside(&self.room, inside)?.ok()
    }

    /// An own message is in the room.
    pub(super) fn said(&self, seq: u64, inside: &[u8]) -> Option<Effect> {
        let show = match self.member.own_inside(&self.room, inside)? {
            Ok(content) => Show::Said { seq, content },
            Err(what) => Show::Room {
                seq: Some(seq),
                what,
            },
        };
        Some(Effect::Show(show))
    }

    pub(super) fn refused(&self, inside: &[u8], reason: &str) -> Effect {
        let reason = reason.into();
        Effect::Show(match self.member.own_inside(&self.room, inside) {
            Some(Ok(content)) => Show::Refused {
                content: Some(content),
                reason,
            },
            _ => Show::NotShared { reason },
        })
    }
}
