//! How a device comes back that has missed something.

use super::answers::STALE;
use super::state::{Absence, CHANGE_AFTER, Entering, MOST_GAPS, Reading, Unplaced};
use super::{Conversation, Effect, Show, vain};
use crate::member::Frame;

/// The service says that it has them no more.
const GONE: &str = "events are gone that it has not read";

impl Conversation {
    /// Events are gone that were not read: what this device knows of the group is of no use. Nor is
    /// what is left of them, so it does not wait for that: the last one may be gone, too.
    pub fn missed(&mut self, now: u64) -> Vec<Effect> {
        self.goes_on_to(now);
        let mut effects = Vec::new();
        self.lose_group(GONE, &mut effects);
        // The service was put back to before: what comes has places again that were heard.
        self.seq = self.seq.min(self.head);
        if let (Reading::Until(head), None) = (self.reading, self.since()) {
            self.seq = self.seq.max(head);
            self.reading = Reading::Live;
        }
        self.go_on(effects)
    }

    pub(super) fn lose_group(&mut self, why: &'static str, effects: &mut Vec<Effect>) {
        // Without a group nothing is missed.
        if let Ok(step) = self.member.give_up(&self.room, why) {
            self.take(step, None, effects);
        }
    }

    /// The group is gone from this place on.
    pub(super) fn is_away(&mut self, seq: Option<u64>, is_removed: bool) {
        let is_away = |absence: &Absence| absence.up_to.is_none();
        if self.absence.as_ref().is_some_and(is_away) {
            return;
        }
        self.absence = Some(Absence {
            behind: seq.unwrap_or_default(),
            up_to: None,
            is_removed,
        });
    }

    /// It is in again from this place on.
    pub(super) fn is_back(&mut self, seq: Option<u64>) {
        if let Some(absence) = &mut self.absence {
            absence.up_to = absence.up_to.or(seq);
        }
    }

    /// Whether nobody can read what this device has at this place: it was removed before.
    pub fn is_unread(&self, seq: u64) -> bool {
        let absence = self.absence.as_ref();
        absence.is_some_and(|absence| absence.is_removed && absence.has(seq))
    }

    /// Own messages that are in the room, which this device cannot see there any more.
    pub(super) fn place_answered(&mut self, effects: &mut Vec<Effect>) {
        let (is_in, absence) = (self.member.is_in(&self.room), self.absence.as_ref());
        let is_past = |seq: u64| !is_in || absence.is_some_and(|absence| absence.has(seq));
        let placed =
            |_: &u64, message: &mut Unplaced| message.placed.is_some_and(|(seq, _)| is_past(seq));
        let placed: Vec<_> = self.unplaced.extract_if(.., placed).collect();
        for (_, message) in placed.into_iter().filter(|(_, one)| !one.is_told) {
            let Some((seq, _)) = message.placed else {
                continue;
            };
            effects.extend(match self.is_unread(seq) {
                true => Some(Effect::Show(Show::Unread {
                    seq,
                    content: self.text_of(&message.inside),
                })),
                false => self.said(seq, &message.inside),
            });
        }
    }

    /// Nothing of the group is at this place, so it counts as read: a session that goes on from
    /// here would else wait for what is before it.
    pub(super) fn passes(&mut self, seq: u64, effects: &mut Vec<Effect>) {
        let is_next = self.read_up_to().is_some_and(|read| read < seq);
        if !is_next || !self.gaps.is_empty() || self.again_behind.is_some() {
            return;
        }
        if let Ok(step) = self.member.read_from(&self.room, seq) {
            self.take(step, None, effects);
        }
    }

    /// A change before this place was not heard.
    pub(super) fn remember_gap(&mut self, seq: u64) {
        if self.gaps.len() < MOST_GAPS {
            self.gaps.push(seq);
        }
    }

    /// Whether the event at this place could not be taken before.
    pub(super) fn forget_gap(&mut self, seq: u64) -> bool {
        let before = self.gaps.len();
        self.gaps.retain(|one| *one != seq);
        self.gaps.len() < before
    }

    /// The state that a way in was made of was older than what this device had read: it asks anew.
    /// A change of a member that nobody is seen to have overtaken is given up.
    pub(super) fn give_up_overtaken(&mut self, effects: &mut Vec<Effect>) {
        let due = self.overtaken.take_if(|(at, _)| *at <= self.now);
        let Some((_, frame)) = due else { return };
        if !self.is_outstanding(&frame) {
            return;
        }
        self.give_up(&frame, effects);
        if self.entering == Entering::Sent {
            self.failed = vain::TOO_LATE;
            return;
        }
        if matches!(frame, Frame::Change { .. } | Frame::Leave { .. }) {
            self.lacks_change(effects);
        }
        self.leaves &= !matches!(frame, Frame::Leave { .. });
        self.changes_at = self.now + CHANGE_AFTER;
        effects.push(Effect::Show(Show::Refused {
            content: None,
            reason: STALE.into(),
        }));
    }
}
