//! What a shard answers to who asks about its rooms.

use super::Shard;
use crate::{
    bus::{Question, Stays},
    room::{Known, Pin, RoomId},
    writer::room::{Slot, Waiting},
};
use tokio::time::Instant;

impl Shard {
    /// A room without any message is read again for each question: where appending is what fences,
    /// an owner that was replaced may have written its first event since it was opened.
    fn forget_if_empty(&mut self, name: &RoomId) {
        let outdated = self.parts.journal.publishes()
            && !self.asked.contains_key(name)
            && matches!(self.rooms.get(name), Some(Slot::Open(room)) if room.is_empty() && room.is_quiet());
        if outdated {
            self.rooms.remove(name);
            self.parts.journal.close(name);
        }
    }

    pub(super) fn on_question(&mut self, question: Question) {
        let name = question.ask.room.clone();
        // Between two looks at what is idle; the asker asks again.
        if !self.rooms.contains_key(&name)
            && self.rooms.len() >= 2 * self.parts.config.max_rooms_per_shard
        {
            return;
        }
        self.forget_if_empty(&name);
        self.answer(question);
    }

    /// Answers from the room as it is; waits for one that is being opened. Where the journal can go
    /// back, it is compared with that first: gateways take the answer for what is true.
    pub(super) fn answer(&mut self, question: Question) {
        let name = question.ask.room.clone();
        let goes_back = self.parts.journal.publishes();
        let waiting = match self.slot(&name) {
            Slot::Open(_) if !goes_back => return self.respond(vec![question]),
            Slot::Open(_) => match self.asked.get_mut(&name) {
                Some(waiting) => waiting,
                None => return self.verify(name, vec![question]),
            },
            Slot::Opening(waiting) => &mut waiting.questions,
        };
        if waiting.len() < Waiting::QUESTIONS {
            waiting.push(question);
        }
    }

    pub(super) fn verify(&mut self, name: RoomId, questions: Vec<Question>) {
        self.asked.insert(name.clone(), Vec::new());
        self.work
            .verify(self.parts.clone(), self.claim, name, questions);
    }

    /// Answers questions about an open room.
    pub(super) fn respond(&mut self, questions: Vec<Question>) {
        for question in questions {
            let Some(Slot::Open(room)) = self.rooms.get(&question.ask.room) else {
                continue;
            };
            let who = question.ask.admission.as_ref();
            match who.and_then(|who| room.lacks_of(who)) {
                None => self.tell(question, None),
                Some(name) if self.asking < Waiting::QUESTIONS => {
                    self.asking += 1;
                    self.work.look_up_for(self.parts.clone(), question, name);
                }
                // The asker asks again.
                Some(_) => {}
            }
        }
    }

    /// Answers a question, knowing what the record of its name says.
    pub(super) fn tell(&mut self, question: Question, recorded: Option<&Pin>) {
        let (now, epoch) = (Instant::now(), self.claim.epoch());
        let known = Known {
            recorded,
            most_names: self.parts.names().most,
        };
        if let Some(Slot::Open(room)) = self.rooms.get_mut(&question.ask.room) {
            let mut view = room.view(&question.ask, known, epoch, now, self.fits);
            view.stays = Some(Stays {
                holds: room.holds(),
                gone_after_s: self.parts.config.gone_after_s,
            });
            (question.respond)(view)
        }
    }
}
