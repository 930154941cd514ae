//! How a conversation comes into the group: by a welcome, by the group's public state, or by
//! founding it.

use super::state::{ASK_AGAIN, Entering, Reading};
use super::{Conversation, Effect, Question, Show};
use crate::member::{Agreed, Error};

impl Conversation {
    /// The answer to [`Effect::AskWelcome`]: the place of the commit that added this device, with
    /// the welcome and the tree; `None`: nobody has added it.
    pub fn welcome(&mut self, found: Option<(u64, &[u8], &[u8])>, now: u64) -> Vec<Effect> {
        self.goes_on_to(now);
        let mut effects = Vec::new();
        if self.entering != Entering::AskedWelcome {
            return effects;
        }
        if let Some((seq, welcome, tree)) = found {
            match self
                .member
                .join_at(&self.room, Some(seq), (welcome, tree), now)
            {
                Ok(step) => {
                    (self.entering, self.is_refused) = (Entering::No, false);
                    self.take(step, Some(seq), &mut effects);
                    // What came after it was not for this device until now.
                    if self.seq > seq {
                        self.reading = Reading::Until(self.seq);
                        effects.push(Effect::Resume(seq));
                    } else if self.seq < seq {
                        self.reading = Reading::Until(seq);
                    }
                    self.hidden.heard();
                    return self.go_on(effects);
                }
                Err(Error::Invited(by)) => {
                    self.ask(Question::Invited(by), &mut effects);
                    return effects;
                }
                // One for a key package that is lost, or an old one. Whoever was refused may be in
                // the group since, and comes back without it.
                Err(error) => {
                    self.is_refused = false;
                    effects.push(Effect::Show(Show::Odd(error)));
                }
            }
        }
        if self.member.has_left(&self.room) {
            // Until somebody adds it again, or its user comes back.
            if !self.leaves {
                self.ask(Question::Left, &mut effects);
            }
            self.wait();
            return effects;
        }
        if self.is_refused {
            self.wait();
            return effects;
        }
        self.entering = Entering::AskedGroup;
        effects.push(Effect::AskGroup);
        effects
    }

    /// The answer to [`Effect::AskGroup`]: group info and tree; `None`: the room has no group yet.
    pub fn group(&mut self, found: Option<(&[u8], &[u8])>, now: u64) -> Vec<Effect> {
        self.goes_on_to(now);
        let mut effects = Vec::new();
        if self.entering != Entering::AskedGroup {
            return effects;
        }
        let is_agreed = self.agreed == Some(Question::NoGroup);
        let entered = match found {
            // Those who were in it are in none that is made now.
            None if !is_agreed && self.member.knew_others(&self.room) => {
                self.ask(Question::NoGroup, &mut effects);
                return self.go_on(effects);
            }
            None => self
                .member
                .found(&self.room, self.policy, &self.random, now),
            Some(state) => {
                let agreed = match &self.agreed {
                    None => Agreed::Nothing,
                    Some(Question::Newcomers(newcomers)) => Agreed::Newcomers(newcomers),
                    Some(Question::AnotherGroup) => Agreed::AnotherGroup,
                    Some(Question::NoGroup | Question::Left | Question::Invited(_)) => {
                        Agreed::Nothing
                    }
                };
                self.member.rejoin(&self.room, state, agreed, now)
            }
        };
        match entered {
            Ok(mut step) => {
                self.entering = Entering::Sent;
                effects.push(Effect::Store(std::mem::take(&mut step.changes)));
                // After a restart it reads on from here, and finds its entry.
                match self.member.read_from(&self.room, self.seq) {
                    Ok(noted) => effects.push(Effect::Store(noted.changes)),
                    Err(error) => effects.push(Effect::Show(Show::Odd(error))),
                }
                self.take(step, None, &mut effects);
            }
            Err(Error::AnotherGroup) => self.ask(Question::AnotherGroup, &mut effects),
            Err(Error::Newcomers(newcomers)) => {
                self.ask(Question::Newcomers(newcomers), &mut effects);
            }
            Err(error) => {
                effects.push(Effect::Show(Show::Odd(error)));
                self.wait_outside(&mut effects);
            }
        }
        self.go_on(effects)
    }

    /// The user has agreed to what was asked last.
    pub fn agree(&mut self, now: u64) -> Vec<Effect> {
        self.goes_on_to(now);
        let mut effects = Vec::new();
        (self.agreed, self.is_refused) = (self.asked.take(), false);
        if matches!(self.agreed, Some(Question::Left | Question::Invited(_))) {
            self.leaves = false;
            match self.member.returns(&self.room) {
                Ok(step) => self.take(step, None, &mut effects),
                Err(error) => effects.push(Effect::Show(Show::Odd(error))),
            }
        }
        if self.entering == Entering::Waiting {
            self.entering = Entering::No;
        }
        self.go_on(effects)
    }

    fn ask(&mut self, question: Question, effects: &mut Vec<Effect>) {
        self.entering = Entering::Waiting;
        // Once, however often what it is about is seen again.
        if self.asked.as_ref() != Some(&question) {
            self.asked = Some(question.clone());
            effects.push(Effect::Show(Show::Ask(question)));
        }
    }

    /// Nothing brings the device in but somebody who adds it.
    pub(super) fn wait_outside(&mut self, effects: &mut Vec<Effect>) {
        self.is_refused = true;
        self.wait();
        effects.push(Effect::Show(match self.member.is_revoked(&self.room) {
            true => Show::Revoked,
            false if self.found_at.is_some() => Show::NotFounded,
            false if self.knock_at.is_some() => Show::Shut,
            false => Show::NotIn,
        }));
    }

    pub(super) fn wait(&mut self) {
        let pause = (self.ask_again.1 * 2).clamp(ASK_AGAIN.0, ASK_AGAIN.1);
        (self.entering, self.ask_again) = (Entering::Waiting, (self.now + pause, pause));
    }
}
