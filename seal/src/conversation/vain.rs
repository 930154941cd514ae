//! What a server could have a device do without end, and what it says is in the room and does not
//! show there: the device tries again less and less often, and says what it sees.

use super::hidden::LOOKS_EVERY;
use super::state::{CHANGE_AFTER, Entering, MOST_GAPS, Placed, Reading, Sent};
use super::{Conversation, Effect, MOST_WAITING, Show};
use crate::handshake::Handshake;
use crate::member::{Content, Frame};

/// Seconds for which something may be missing that the service says is in the room.
pub(super) const UNSEEN_AFTER: u64 = 30;

/// The service refuses a founding, for there is a group, and has none to give.
pub(super) const NO_GROUP: &str =
    "the service says that the room has a group, and does not give it";
/// A way in lost against a change that nobody shows.
pub(super) const TOO_LATE: &str =
    "the service says each time that somebody else was faster than this device";
/// A way in is said to be in the room.
const NOT_SHOWN: &str = "the service says each time that this device came into the group, and does \
                         not show that in the room";
/// The group is lost as soon as the device is in.
pub(super) const LOST_AGAIN: &str = "this device is out of the group again each time, by \
     changes of it that no device can take. A member who is named as their author sends them, or \
     the service makes them up: ask the others by another way, and somebody who is in can remove \
     that member";
/// A copy of this device does as it does.
pub(super) const COPIED: &str = "this device comes into the room elsewhere, too, each time \
     that it is in here: a copy of what it keeps is used beside it, and messages are lost by that. \
     End one of the two for good. If the other one is not yours, your key is in other hands: revoke \
     this device at another one of yours, and take a new key";

/// What a person reads of [`Show::InVain`], but that the device goes on.
pub fn in_vain(why: &str) -> String {
    match why {
        LOST_AGAIN | COPIED => why.into(),
        _ => format!(
            "{why}. It hides something, or is not in order: ask whoever runs it, and the others by \
             another way"
        ),
    }
}

impl Conversation {
    /// The way in came to nothing: another one is begun at once, unless there were many.
    pub(super) fn try_again(&mut self, effects: &mut Vec<Effect>) {
        let tries = match self.failed {
            COPIED => &mut self.copies,
            _ => &mut self.tries,
        };
        let pause = tries.pause(self.now, self.random[0]);
        if pause == 0 {
            self.entering = Entering::No;
            return;
        }
        (self.entering, self.ask_again.0) = (Entering::Waiting, self.now + pause);
        if tries.are_many(self.now) {
            effects.push(Effect::Show(Show::InVain(self.failed)));
        }
    }

    /// A message was refused, for its keys are too old: it is encrypted anew when the device has
    /// newer ones.
    pub(super) fn put_back(&mut self, inside: Vec<u8>, epoch: u64, effects: &mut Vec<Effect>) {
        let at = self.returned.min(self.waiting.len());
        self.waiting.insert(at, inside);
        self.returned = at + 1;
        if self.member.epoch(&self.room) == Some(epoch) {
            self.lacks_change(effects);
        }
    }

    /// The service says that a change is at this place; it counts when its event comes.
    pub(super) fn is_placed(&mut self, frame: Frame, seq: u64) {
        if matches!(frame, Frame::Devices { .. }) || self.is_outstanding(&frame) {
            let since = self.now;
            self.placed.push(Placed { frame, seq, since });
        }
    }

    /// A list of devices is in the room; other changes are known by what they change.
    pub(super) fn has_seen(&mut self, handshake: &Handshake) {
        let Handshake::Devices(list) = handshake else {
            return;
        };
        let is_it =
            |frame: &Frame| matches!(frame, Frame::Devices { list: own, .. } if own == list);
        self.placed.retain(|one| !is_it(&one.frame));
        for sent in self.sent.values_mut() {
            if matches!(sent, Sent::Change(frame) if is_it(frame)) {
                *sent = Sent::Seen;
            }
        }
    }

    /// Whether what the service says is at this place cannot come any more: something else was read
    /// there, or nothing came.
    fn is_unseen(&self, seq: u64, since: u64) -> bool {
        let is_past = self.seq >= seq && !self.gaps.contains(&seq);
        let is_late = self.reading == Reading::Live && self.now >= since + UNSEEN_AFTER;
        is_past || is_late
    }

    /// Time goes on. Who slept has waited for nothing: what is said to be in the room comes yet.
    pub(super) fn goes_on_to(&mut self, now: u64) {
        let before = std::mem::replace(&mut self.now, now);
        let slept = now.saturating_sub(before);
        if before == 0 || slept <= LOOKS_EVERY {
            return;
        }
        self.placed.iter_mut().for_each(|one| one.since += slept);
        let placed = self.unplaced.values_mut();
        for (_, since) in placed.filter_map(|message| message.placed.as_mut()) {
            *since += slept;
        }
    }

    /// Tells of what the service says is in the room, and does not show there.
    pub(super) fn tell_unseen(&mut self, effects: &mut Vec<Effect>) {
        let unseen = self.unplaced.iter().filter_map(|(number, message)| {
            let (seq, since) = message.placed?;
            (!message.is_told && self.is_unseen(seq, since)).then_some((*number, seq))
        });
        let unseen: Vec<_> = unseen.collect();
        for (number, seq) in unseen {
            let Some(message) = self.unplaced.get(&number) else {
                continue;
            };
            let content = self.text_of(&message.inside);
            effects.push(Effect::Show(Show::Unseen { seq, content }));
            if let Some(message) = self.unplaced.get_mut(&number) {
                message.is_told = true;
            }
        }
        let told = self.unplaced.iter().filter(|(_, message)| message.is_told);
        let told: Vec<_> = told.map(|(number, _)| *number).collect();
        for number in told.iter().rev().skip(MOST_WAITING) {
            self.unplaced.remove(number);
        }
        self.tell_unseen_changes(effects);
    }

    fn tell_unseen_changes(&mut self, effects: &mut Vec<Effect>) {
        let placed = std::mem::take(&mut self.placed).into_iter();
        let (awaited, rest): (Vec<_>, Vec<_>) = placed.partition(|one| {
            matches!(one.frame, Frame::Devices { .. }) || self.is_outstanding(&one.frame)
        });
        drop(rest);
        for one in awaited {
            if !self.is_unseen(one.seq, one.since) {
                self.placed.push(one);
                continue;
            }
            self.leaves &= !matches!(one.frame, Frame::Leave { .. });
            if matches!(one.frame, Frame::Change { .. }) {
                self.lacks_change(effects);
            }
            self.give_up(&one.frame, effects);
            if self.entering == Entering::Sent {
                self.failed = NOT_SHOWN;
                continue;
            }
            self.changes_at = self.now + CHANGE_AFTER;
            let (seq, content) = (one.seq, None::<Content>);
            effects.push(Effect::Show(Show::Unseen { seq, content }));
        }
    }

    /// Something was said while this device was out, which it was not before.
    pub(super) fn misses(&mut self, seq: u64) {
        let is_new = self.unread.last().is_none_or(|last| *last < seq);
        if self.was_in && is_new && self.member.is_out(&self.room) {
            match self.unread.len() < MOST_GAPS {
                true => self.unread.push(seq),
                false => self.unread_more += 1,
            }
        }
    }

    /// The device is in again from a place on: how much it cannot read.
    pub(super) fn tell_missed(&mut self, seq: Option<u64>, effects: &mut Vec<Effect>) {
        let before = |one: &&u64| seq.is_none_or(|seq| **one < seq);
        let count = self.unread.iter().filter(before).count() as u64 + self.unread_more;
        (self.unread, self.unread_more) = (Vec::new(), 0);
        if count > 0 {
            effects.push(Effect::Show(Show::Missed { count }));
        }
    }

    /// What waits to be said and can never be, for its person has revoked this device.
    pub(super) fn refuse_as_revoked(&mut self, effects: &mut Vec<Effect>) {
        if self.waiting.is_empty() || !self.member.is_revoked(&self.room) {
            return;
        }
        self.returned = 0;
        for inside in std::mem::take(&mut self.waiting) {
            effects.push(self.refused(&inside, super::answers::BAD_CREDENTIAL));
        }
    }
}
