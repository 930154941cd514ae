//! What became of what a conversation sent.

use super::state::{CHANGE_AFTER, Entering, FOUND_AFTER, KNOCK_AFTER, OVERTAKEN_AFTER, Sent};
use super::{Conversation, Effect, Show, vain};
use crate::member::Frame;

impl Conversation {
    /// What became of what was sent under a number: its place, or the protocol's reason.
    pub fn answered(&mut self, number: u64, answer: Result<u64, &str>, now: u64) -> Vec<Effect> {
        self.goes_on_to(now);
        let mut effects = Vec::new();
        let Some(sent) = self.sent.remove(&number) else {
            return effects;
        };
        match (sent, answer) {
            (Sent::Seen, _) => {}
            (Sent::Change(frame), Ok(seq)) => self.is_placed(frame, seq),
            (Sent::Message(own), Ok(seq)) => {
                if let Some(message) = self.unplaced.get_mut(&own) {
                    message.placed = Some((seq, now));
                }
                self.place_answered(&mut effects);
            }
            // Somebody else has founded the group: it is there to come into.
            (Sent::Change(frame @ Frame::Found { .. }), Err(reason))
                if reason == STALE || !self.is_outstanding(&frame) =>
            {
                self.failed = vain::NO_GROUP;
                self.give_up(&frame, &mut effects);
            }
            // Somebody was faster, and what lost is made again when that one's event comes.
            (Sent::Change(frame), Err(STALE)) => {
                // Of a way in that event may have been read before it was asked for.
                let patience = match self.entering {
                    Entering::Sent => OVERTAKEN_AFTER,
                    _ => vain::UNSEEN_AFTER,
                };
                self.overtaken = Some((now + patience, frame));
            }
            (Sent::Message(own), Err(reason)) => {
                let Some(message) = self.unplaced.remove(&own) else {
                    return effects;
                };
                let is_of_another_state = [STALE, NOT_A_MEMBER].contains(&reason);
                match is_of_another_state || !self.member.is_in(&self.room) {
                    // Its keys were too old, or of a group that is over, or this device was removed
                    // and has not seen that: it is encrypted anew.
                    true => self.put_back(message.inside, message.epoch, &mut effects),
                    false => effects.push(self.refused(&message.inside, reason)),
                }
            }
            (Sent::Change(frame), Err(reason)) => {
                let is_entry = self.entering == Entering::Sent;
                // Who was not let in changes the group as others do once it is in.
                if !is_entry && matches!(frame, Frame::Change { .. }) {
                    self.changes_at = now + CHANGE_AFTER;
                }
                let is_founding = matches!(frame, Frame::Found { .. });
                // Not invited yet, say: nothing is wrong, and what is to be done is said below.
                let is_expected = is_entry
                    && match reason {
                        NOT_A_MEMBER | NOT_THE_MAKER => true,
                        BAD_CREDENTIAL => self.member.is_revoked(&self.room),
                        _ => false,
                    };
                if !is_expected {
                    effects.push(Effect::Show(Show::Refused {
                        content: None,
                        reason: reason.into(),
                    }));
                }
                if is_entry && reason == NOT_A_MEMBER && self.member.enters_open(&self.room) {
                    self.knock_at = Some(self.now + KNOCK_AFTER);
                }
                self.leaves &= !matches!(frame, Frame::Leave { .. });
                self.give_up(&frame, &mut effects);
                if is_entry && is_founding && reason == NOT_THE_MAKER {
                    self.found_at = Some(now + FOUND_AFTER);
                    self.wait_outside(&mut effects);
                } else if is_entry && is_founding {
                    // Somebody else has founded it: that one's group is there to come into. If it
                    // is not, the next founding is as bad, and waits.
                    let is_again = now < self.ask_again.0;
                    self.wait();
                    if !is_again {
                        self.entering = Entering::No;
                    }
                } else if is_entry {
                    self.wait_outside(&mut effects);
                }
            }
        }
        self.tell_unseen(&mut effects);
        self.go_on(effects)
    }

    pub(super) fn is_outstanding(&self, frame: &Frame) -> bool {
        self.member.outstanding_in(&self.room).as_ref() == Some(frame)
    }

    /// It will never be taken. Why, was said, or nobody needs to know.
    pub(super) fn give_up(&mut self, frame: &Frame, effects: &mut Vec<Effect>) {
        match self.member.refused(&self.room, frame) {
            Ok(mut step) => {
                step.shown.clear();
                self.take(step, None, effects);
            }
            Err(error) => effects.push(Effect::Show(Show::Odd(error))),
        }
    }
}

/// The protocol's word for "only who made the room founds its group".
const NOT_THE_MAKER: &str = "not_the_maker";
/// The protocol's word for "nobody has let this device in".
const NOT_A_MEMBER: &str = "not_a_member";
/// The protocol's word for "your person says that this device does not count".
pub(super) const BAD_CREDENTIAL: &str = "bad_credential";
/// The protocol's word for "somebody was faster".
pub(super) const STALE: &str = "stale_epoch";
