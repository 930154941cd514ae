//! A device in one sealed room, as its host runs it. What the host hears goes in, in its order;
//! what it has to do comes out: store, then send, ask, show. It finds the way in (a welcome, the
//! group's public state, or a group of its own), sends again what lost against somebody faster,
//! keeps what is said until it can be sent, and does what is due: new keys, and removing who asked
//! to leave.
//!
//! ```text
//! welcome, events, answers, what was asked for -> Conversation -> [Effect]
//! what the user says and wants, the time       ->
//! ```

mod answers;
mod back;
mod effect;
mod enter;
mod hidden;
mod intents;
mod said;
mod state;
mod vain;

use crate::content;
use crate::device::Name;
use crate::handshake::Handshake;
use crate::member::{ELSEWHERE, Error, Event, Frame, Member, Shown, Step};
use crate::rules::JoinPolicy;
pub use effect::{Effect, Outgoing, Question, Show, Waits, odd};
use hidden::Hidden;
use state::{
    Absence, Entering, OF_COPY, OF_OTHERS, Placed, Reading, Sent, TIDY_AFTER, Tries, Unplaced,
};
use std::collections::{BTreeMap, VecDeque};
pub use vain::in_vain;

/// What is said and cannot be sent yet, at most.
pub const MOST_WAITING: usize = 64;

/// See the module.
pub struct Conversation {
    member: Member,
    room: Name,
    /// How the room is founded if nobody has.
    policy: JoinPolicy,
    /// For the id of a group that it founds.
    random: [u8; 16],
    reading: Reading,
    /// The last place that the service of this session has named.
    head: u64,
    /// The last place that was heard.
    seq: u64,
    entering: Entering,
    asked: Option<Question>,
    agreed: Option<Question>,
    /// The room does not let this device in by itself.
    is_refused: bool,
    /// When it asks again whether somebody has let it in, and how long it waits then.
    ask_again: (u64, u64),
    sent: BTreeMap<u64, Sent>,
    /// Own messages by the number that the member gave them, until they are seen in the room.
    unplaced: BTreeMap<u64, Unplaced>,
    numbers: u64,
    /// The insides of messages that are to be sent.
    waiting: VecDeque<Vec<u8>>,
    /// So many of them, the first ones, were sent before, and have to be encrypted anew.
    returned: usize,
    hidden: Hidden,
    /// Changes of its own that the service says are in the room.
    placed: Vec<Placed>,
    /// Ways in that came to nothing, and why the last one did.
    tries: Tries,
    failed: &'static str,
    /// How often a copy of this device came into its place.
    copies: Tries,
    /// Since when it is in the group without a break.
    in_since: Option<u64>,
    /// The last time that it was out of the group, since it was begun.
    absence: Option<Absence>,
    /// It was in the group since it was begun.
    was_in: bool,
    /// Places of messages that came while it was out, and how many more there were.
    unread: Vec<u64>,
    unread_more: u64,
    leaving_since: Option<u64>,
    /// Whether its user has left the group since it was begun.
    leaves: bool,
    /// A way in that somebody was faster than, and when it is given up without having heard who.
    overtaken: Option<(u64, Frame)>,
    /// When it may found the group that it could not found.
    found_at: Option<u64>,
    /// When it tries again to come into an open group that takes in nobody now.
    knock_at: Option<u64>,
    /// When it changes something by itself again, after a change was refused.
    changes_at: u64,
    /// Places that could not be taken, for something before them was missing.
    gaps: Vec<u64>,
    /// Behind which place the room is read again, and when that may be done again.
    again_behind: Option<u64>,
    again_at: u64,
    now: u64,
}

impl Conversation {
    /// A device in a room, not connected. Its host stores the effects of [`Conversation::begin`]
    /// first.
    pub fn new(member: Member, room: Name, policy: JoinPolicy, random: [u8; 16]) -> Self {
        Self {
            member,
            room,
            policy,
            random,
            reading: Reading::Away,
            head: 0,
            seq: 0,
            entering: Entering::No,
            asked: None,
            agreed: None,
            is_refused: false,
            ask_again: (0, 0),
            sent: BTreeMap::new(),
            unplaced: BTreeMap::new(),
            numbers: 0,
            waiting: VecDeque::new(),
            returned: 0,
            hidden: Hidden::default(),
            placed: Vec::new(),
            tries: Tries::of(OF_OTHERS),
            copies: Tries::of(OF_COPY),
            failed: vain::LOST_AGAIN,
            in_since: None,
            absence: None,
            was_in: false,
            unread: Vec::new(),
            unread_more: 0,
            leaving_since: None,
            leaves: false,
            overtaken: None,
            found_at: None,
            knock_at: None,
            changes_at: 0,
            gaps: Vec::new(),
            again_behind: None,
            again_at: 0,
            now: 0,
        }
    }

    /// Behind which place the room is to be read; `None`: from now on.
    pub fn since(&self) -> Option<u64> {
        let lacking = || match self.member.is_lacking(&self.room) {
            true => self.known_up_to(),
            false => None,
        };
        let since = self.again_behind.or_else(lacking);
        since.or_else(|| self.read_up_to())
    }

    /// The last place of the room that is known to be there, heard or named by the service.
    pub fn heard_up_to(&self) -> u64 {
        self.seq
    }

    fn read_up_to(&self) -> Option<u64> {
        match self.member.is_out(&self.room) && self.member.outstanding_in(&self.room).is_none() {
            true => None,
            false => self.member.read_up_to(&self.room),
        }
    }

    /// The room.
    pub fn room(&self) -> &Name {
        &self.room
    }

    /// The device.
    pub fn member(&self) -> &Member {
        &self.member
    }

    /// The device, for what is outside of the room. The host stores what comes of it.
    pub fn member_mut(&mut self) -> &mut Member {
        &mut self.member
    }

    /// Whether all that was said is in the room, or was refused.
    pub fn is_settled(&self) -> bool {
        self.sent.is_empty() && self.undecided() == 0
    }

    /// Whether the user was asked something and has not agreed.
    pub fn is_asking(&self) -> bool {
        self.asked.is_some()
    }

    /// What was said and is not in the room yet, without what was told to be missing there.
    pub fn undecided(&self) -> usize {
        let unplaced = self.unplaced.values();
        self.waiting.len() + unplaced.filter(|message| !message.is_told).count()
    }

    /// What it is that what was said waits for; `None`: nothing waits to be sent.
    pub fn waits_for(&self) -> Option<Waits> {
        if self.waiting.is_empty() {
            return None;
        }
        let is_in = self.member.is_in(&self.room);
        Some(match (self.reading, self.entering) {
            (Reading::Away, _) => Waits::Connection,
            (Reading::Until(_), _) => Waits::Reading,
            (Reading::Live, _) if is_in && self.member.is_lacking(&self.room) => Waits::Hidden,
            (Reading::Live, _) if is_in && self.is_alone() => Waits::Other,
            (Reading::Live, _) if is_in => Waits::Change,
            (Reading::Live, _) if self.is_asking() => Waits::Word,
            (Reading::Live, Entering::Waiting) => Waits::Outside,
            (Reading::Live, _) => Waits::Way,
        })
    }

    /// A session began; events up to `head` follow, those behind [`Conversation::since`] first.
    pub fn connected(&mut self, head: u64, now: u64) -> Vec<Effect> {
        self.goes_on_to(now);
        self.head = head;
        // What was hidden may be there now.
        if self.member.is_lacking(&self.room) {
            self.again_behind = self.since();
        }
        self.reading = match head > self.since().unwrap_or(head) {
            true => Reading::Until(head),
            false => Reading::Live,
        };
        self.hidden.heard();
        self.seq = match self.reading {
            Reading::Live => self.seq.max(head),
            _ => self.seq,
        };
        if self.reading == Reading::Live {
            self.again_behind = None;
        }
        // After a restart: what was on its way.
        let mut effects = Vec::new();
        if self.sent.is_empty()
            && let Some(frame) = self.member.outstanding_in(&self.room)
        {
            self.entering = match self.member.is_in(&self.room) {
                true => Entering::No,
                false => Entering::Sent,
            };
            self.send(frame, &mut effects);
        }
        self.go_on(effects)
    }

    /// The connection is gone. What was sent and not answered, the host sends again with the next
    /// one, under the ids that it has.
    pub fn disconnected(&mut self) {
        self.reading = Reading::Away;
        // Questions may have been lost with it.
        if matches!(self.entering, Entering::AskedWelcome | Entering::AskedGroup) {
            self.entering = Entering::No;
        }
    }

    /// The next event of the room. `content`: none for those of other kinds.
    pub fn event(&mut self, seq: u64, content: Option<&Outgoing>, now: u64) -> Vec<Effect> {
        self.goes_on_to(now);
        (self.seq, self.head) = (self.seq.max(seq), self.head.max(seq));
        self.hidden.heard();
        let mut effects = Vec::new();
        let was_missed = self.forget_gap(seq);
        let is_read_again = self.again_behind.is_some();
        if matches!(self.reading, Reading::Until(head) if seq >= head) {
            (self.reading, self.again_behind) = (Reading::Live, None);
        }
        let is_new = was_missed || self.read_up_to().is_none_or(|read| seq > read);
        match content {
            Some(Outgoing::Sealed(bytes)) if is_new => {
                self.misses(seq);
                self.hear(seq, Event::Message(bytes), &mut effects)
            }
            Some(Outgoing::Handshake(bytes)) if is_new || is_read_again => {
                self.handshake(seq, bytes, is_new, &mut effects)
            }
            Some(_) => {}
            None => self.passes(seq, &mut effects),
        }
        self.tell_unseen(&mut effects);
        self.go_on(effects)
    }

    fn handshake(&mut self, seq: u64, bytes: &[u8], is_new: bool, effects: &mut Vec<Effect>) {
        let handshake = match Handshake::decode(bytes) {
            Ok(handshake) => handshake,
            Err(refusal) => return effects.push(Effect::Show(Show::Odd(refusal.into()))),
        };
        // What is read again may have the change that was missing.
        let is_missing =
            matches!(handshake, Handshake::Bundle(_)) && seq > self.member.changed_at(&self.room);
        if !is_new && !is_missing {
            return;
        }
        self.has_seen(&handshake);
        if let Some(event) = handshake.event() {
            self.hear(seq, event, effects);
        }
        // Somebody may have added this device; after many tries it looks when it is time.
        let is_change = matches!(handshake, Handshake::Bundle(_) | Handshake::Founding(_));
        let are_many = self.tries.are_many(self.now) || self.copies.are_many(self.now);
        if is_change && self.entering == Entering::Waiting && !are_many {
            (self.entering, self.ask_again) = (Entering::No, (0, 0));
            // There is a group now.
            if self.found_at.take().is_some() {
                self.is_refused = false;
            }
        }
    }

    fn hear(&mut self, seq: u64, event: Event<'_>, effects: &mut Vec<Effect>) {
        match self.member.receive_at(&self.room, seq, event) {
            Ok(step) => self.take(step, Some(seq), effects),
            // The server has left something out, or what it has never was in the room.
            Err(error) => {
                if error == Error::Gap {
                    self.remember_gap(seq);
                    self.lacks_change(effects);
                    self.read_again(effects);
                }
                effects.push(Effect::Show(Show::Odd(error)));
            }
        }
    }

    /// Says something, as soon as that is possible.
    ///
    /// # Errors
    /// It is too long, or [`MOST_WAITING`] wait already.
    pub fn say(&mut self, content: &[u8], now: u64) -> Result<Vec<Effect>, Error> {
        self.goes_on_to(now);
        if content.len() > crate::rules::MOST_CONTENT {
            return Err(Error::TooLong);
        }
        self.say_inside(vec![content::text(content)])
    }

    /// Time goes on: call it every few seconds.
    pub fn tick(&mut self, now: u64) -> Vec<Effect> {
        self.goes_on_to(now);
        let mut effects = Vec::new();
        if let Some(Ok(step)) = self.member.expire(now) {
            self.take(step, None, &mut effects);
        }
        self.forget_tries();
        self.look_for_hidden(&mut effects);
        if self.reading != Reading::Live {
            return effects;
        }
        self.tell_unseen(&mut effects);
        self.give_up_overtaken(&mut effects);
        let is_knocking = self.knock_at.take_if(|at| *at <= now).is_some();
        if is_knocking && self.entering == Entering::Waiting {
            (self.entering, self.is_refused) = (Entering::No, false);
            return self.go_on(effects);
        }
        // The welcome may have come after the commit that it is of.
        let is_asking = !matches!(self.asked, None | Some(Question::Left));
        let waits_for_others = is_asking || self.found_at.is_some();
        if self.entering == Entering::Waiting && !waits_for_others && now >= self.ask_again.0 {
            self.entering = Entering::No;
            return self.go_on(effects);
        }
        let is_overdue = |since: u64| now.saturating_sub(since) >= TIDY_AFTER;
        // Also what was known before a restart, or could not be done the last time.
        self.leaving_since = match self.member.is_to_tidy(&self.room) {
            true => self.leaving_since.or(Some(now)),
            false => None,
        };
        let due = if now < self.changes_at || self.member.is_lacking(&self.room) {
            None
        } else if self.leaving_since.is_some_and(is_overdue) {
            self.leaving_since = None;
            Some(self.member.tidy(&self.room, now))
        } else if self.member.is_renewal_due(&self.room, now) {
            Some(self.member.renew(&self.room, now))
        } else {
            None
        };
        if self.found_at.take_if(|at| *at <= now).is_some() && self.entering == Entering::Waiting {
            (self.entering, self.is_refused) = (Entering::No, false);
        }
        // Somebody else has done it, or a change is on its way: there is a next time.
        if let Some(Ok(step)) = due {
            self.take(step, None, &mut effects);
        }
        self.go_on(effects)
    }

    /// Does what can be done now.
    fn go_on(&mut self, mut effects: Vec<Effect>) -> Vec<Effect> {
        self.refuse_as_revoked(&mut effects);
        if self.reading != Reading::Live {
            return effects;
        }
        self.member.caught_up(&self.room);
        if self.member.is_out(&self.room) {
            // What was on its way is over: somebody else's group was founded first.
            let is_over = self.member.outstanding_in(&self.room).is_none();
            if self.entering == Entering::Sent && is_over {
                self.try_again(&mut effects);
            }
            if self.entering == Entering::No {
                self.entering = Entering::AskedWelcome;
                effects.push(Effect::AskWelcome);
            }
            return effects;
        }
        if self.member.is_in(&self.room) {
            (self.asked, self.agreed, self.knock_at) = (None, None, None);
            self.was_in = true;
            self.in_since.get_or_insert(self.now);
        }
        self.entering = match self.entering {
            Entering::Sent if !self.member.is_in(&self.room) => Entering::Sent,
            _ => Entering::No,
        };
        // Who is being added is to read what is said after that: it waits for the new epoch.
        if self.member.outstanding_in(&self.room).is_some() || self.is_alone() {
            return effects;
        }
        while let Some(inside) = self.waiting.pop_front() {
            match self.member.send_inside(&self.room, &inside) {
                Ok((number, step)) => {
                    self.returned = self.returned.saturating_sub(1);
                    let unplaced = Unplaced {
                        inside,
                        epoch: self.member.epoch(&self.room).unwrap_or_default(),
                        placed: None,
                        is_told: false,
                    };
                    self.unplaced.insert(number, unplaced);
                    self.take(step, None, &mut effects);
                }
                // A change is on its way, or hidden; it goes when that is decided, or seen.
                Err(Error::Busy | Error::Behind | Error::Lacking | Error::NotIn) => {
                    self.waiting.push_front(inside);
                    break;
                }
                Err(error) => {
                    self.returned = self.returned.saturating_sub(1);
                    effects.push(Effect::Show(Show::Odd(error)));
                    effects.push(self.refused(&inside, "bad_field"));
                }
            }
        }
        effects
    }

    /// Stores, then sends, then shows what comes of a step.
    fn take(&mut self, step: Step, seq: Option<u64>, effects: &mut Vec<Effect>) {
        if !step.changes.is_empty() {
            effects.push(Effect::Store(step.changes));
        }
        for frame in step.frames {
            self.send(frame, effects);
        }
        for shown in step.shown {
            self.show(shown, seq, effects);
        }
    }

    fn send(&mut self, frame: Frame, effects: &mut Vec<Effect>) {
        let (sent, outgoing) = match frame {
            // Made just now: it has the highest number.
            Frame::Message { bytes, .. } => {
                let newest = self.unplaced.last_key_value();
                let number = newest.map(|(number, _)| *number).unwrap_or_default();
                (Sent::Message(number), Outgoing::Sealed(bytes))
            }
            frame => {
                let Some((_, handshake)) = Handshake::of(&frame) else {
                    return;
                };
                let bytes = handshake.encode();
                (Sent::Change(frame), Outgoing::Handshake(bytes))
            }
        };
        self.numbers += 1;
        self.sent.insert(self.numbers, sent);
        effects.push(Effect::Send(self.numbers, outgoing));
    }

    fn show(&mut self, shown: Shown, seq: Option<u64>, effects: &mut Vec<Effect>) {
        match &shown {
            Shown::Placed { number } => {
                if let (Some(message), Some(seq)) = (self.unplaced.remove(number), seq) {
                    effects.extend(self.said(seq, &message.inside));
                }
                return;
            }
            Shown::Leaving {
                is_ours_to_remove, ..
            } => {
                let since = match is_ours_to_remove {
                    true => self.now.saturating_sub(TIDY_AFTER),
                    false => self.now,
                };
                self.leaving_since.get_or_insert(since);
            }
            Shown::Lost(why) => {
                // What it asked for is lost with it.
                self.leaves = false;
                self.failed = match *why {
                    ELSEWHERE => vain::COPIED,
                    _ => vain::LOST_AGAIN,
                };
                self.is_away(seq, false);
                self.start_again(effects);
            }
            Shown::Out { by } => {
                self.failed = vain::LOST_AGAIN;
                self.is_away(seq, by.is_some());
                self.start_again(effects);
            }
            _ => {}
        }
        let is_change = matches!(shown, Shown::Changed { .. });
        effects.push(Effect::Show(Show::Room { seq, what: shown }));
        if is_change && !self.member.is_out(&self.room) {
            self.is_back(seq);
            self.tell_missed(seq, effects);
        }
    }

    /// The group is gone for this device, and the changes that it had on their way. Its messages
    /// may be in the room: their answers say it.
    fn start_again(&mut self, effects: &mut Vec<Effect>) {
        self.in_since = None;
        self.try_again(effects);
        self.sent.retain(|_, sent| matches!(sent, Sent::Message(_)));
        self.placed.clear();
        self.place_answered(effects);
    }
}
