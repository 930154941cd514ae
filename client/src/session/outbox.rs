//! Messages that are not decided yet: what was sent over this connection, what waits, and when each
//! is due again.

use super::{Effect, Options};
use crate::{
    codec::{Protocol, text},
    frame::{ClientFrame, Content, Event},
    message::{Duplicate, Message, Receipt, SendError},
    notice::Notice,
};
use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// How long a message may be neither answered nor accepted before it is sent again, over a
/// connection that seems to live.
const UNANSWERED: Duration = Duration::from_secs(15);
/// How long one may be neither, also sent twice, before the connection is given up: a gateway says
/// within seconds that it has stored a message, or why not.
const MUTE: Duration = UNANSWERED.saturating_mul(2);

#[derive(Debug)]
struct Pending {
    message: Message,
    /// When it was sent over this connection.
    sent: Option<Instant>,
    /// The first time.
    first: Option<Instant>,
    accepted: bool,
    tries: u32,
    deadline: Option<Instant>,
}

#[derive(Debug)]
pub(super) struct Outbox {
    user: String,
    protocol: Protocol,
    retries: u32,
    answer_within: Option<Duration>,
    pending: VecDeque<Pending>,
    /// A rejected message waits until then to be sent again; the others stay behind it.
    paused: Option<Instant>,
    /// The room takes no text, said the last `welcome`.
    is_sealed: bool,
}

impl Outbox {
    pub(super) fn new(options: &Options) -> Self {
        Self {
            user: options.user.clone(),
            protocol: options.protocol,
            retries: options.retries,
            answer_within: options.answer_within,
            pending: VecDeque::new(),
            paused: None,
            is_sealed: false,
        }
    }

    /// What the room is, from now on. Texts do not even go to a sealed one: whoever runs the
    /// service could read them, though it would refuse them.
    pub(super) fn comes_to(&mut self, is_sealed: bool) -> Vec<Effect> {
        self.is_sealed = is_sealed;
        let is_text =
            |it: &mut Pending| is_sealed && matches!(it.message.content, Content::Text(_));
        let texts = extract(&mut self.pending, is_text);
        texts
            .into_iter()
            .map(|it| failed(it, sealed_room()))
            .collect()
    }

    pub(super) fn len(&self) -> usize {
        self.pending.len()
    }

    /// Since when the first one waits for an answer over this connection.
    pub(super) fn unanswered_since(&self) -> Option<Instant> {
        self.pending.iter().filter_map(|it| it.first).min()
    }

    pub(super) fn is_paused(&self) -> bool {
        self.paused.is_some()
    }

    pub(super) fn push(&mut self, message: Message, now: Instant) -> Result<(), SendError> {
        message.check()?;
        if self.protocol == Protocol::Text && !matches!(message.content, Content::Text(_)) {
            return Err(SendError::NotInThisProtocol);
        }
        if self.is_sealed && matches!(message.content, Content::Text(_)) {
            return Err(sealed_room());
        }
        if self.position(&message.id).is_some() {
            return Err(SendError::InUse);
        }
        self.pending.push_back(Pending {
            message,
            sent: None,
            first: None,
            accepted: false,
            tries: 0,
            deadline: self.answer_within.map(|within| now + within),
        });
        Ok(())
    }

    /// Without ids nothing may be sent twice: whether it is in the room is not known any more.
    pub(super) fn disconnected(&mut self) -> Vec<Effect> {
        let mut effects = Vec::new();
        if !self.protocol.has_ids() {
            let sent = |pending: &mut Pending| pending.sent.is_some();
            for pending in extract(&mut self.pending, sent) {
                effects.push(failed(pending, SendError::Unknown));
            }
        }
        for pending in &mut self.pending {
            (pending.sent, pending.first, pending.accepted) = (None, None, false);
        }
        effects
    }

    pub(super) fn flush(&mut self, now: Instant) -> Vec<Effect> {
        if self.paused.is_some() {
            return Vec::new();
        }
        let unsent = self.pending.iter_mut().filter(|it| it.sent.is_none());
        unsent.map(|it| it.send(now)).collect()
    }

    pub(super) fn next_wake(&self, can_send: bool) -> Option<Instant> {
        let again = |it: &Pending| {
            let waits = can_send && !it.accepted && self.protocol.has_ids();
            it.sent.filter(|_| waits).map(|sent| sent + UNANSWERED)
        };
        let due = self.pending.iter().flat_map(|it| [again(it), it.deadline]);
        due.chain([self.paused]).flatten().min()
    }

    /// The caller flushes afterwards.
    pub(super) fn wake(&mut self, can_send: bool, now: Instant) -> Vec<Effect> {
        if self.paused.is_some_and(|until| until <= now) {
            self.paused = None;
        }
        let late = |it: &mut Pending| it.deadline.is_some_and(|deadline| deadline <= now);
        let late = extract(&mut self.pending, late);
        let mut effects: Vec<_> = late
            .into_iter()
            .map(|it| failed(it, SendError::Unanswered))
            .collect();
        if can_send && self.protocol.has_ids() {
            let is_mute =
                |it: &Pending| !it.accepted && it.first.is_some_and(|first| first + MUTE <= now);
            if self.pending.iter().any(is_mute) {
                effects.extend(self.disconnected());
                effects.push(Effect::Leave("the server does not answer what was sent"));
                return effects;
            }
            for pending in &mut self.pending {
                let due = pending.sent.is_some_and(|sent| sent + UNANSWERED <= now);
                if due && !pending.accepted {
                    effects.push(pending.send(now));
                }
            }
        }
        effects
    }

    pub(super) fn accepted(&mut self, id: String) -> Vec<Effect> {
        let Some(at) = self.position(&id) else {
            return Vec::new();
        };
        self.pending[at].accepted = true;
        vec![Effect::Accepted { id }]
    }

    pub(super) fn journaled(&mut self, id: &str, seq: u64, duplicate: bool) -> Vec<Effect> {
        let at = self.position(id);
        let pending = at.and_then(|at| self.pending.remove(at));
        let duplicate = if duplicate {
            Duplicate::Yes
        } else {
            Duplicate::No
        };
        let answer = pending.map(|it| journaled(it, seq, duplicate));
        answer.into_iter().collect()
    }

    /// An own message that comes back is journaled. One that was sent over this connection is
    /// answered, too, and only the answer says whether it was there before.
    pub(super) fn saw(&mut self, event: &Event) -> Option<Effect> {
        if event.from != self.user {
            return None;
        }
        if self.protocol.has_ids() {
            let at = self.position(event.id.as_deref()?)?;
            if self.pending[at].sent.is_some() {
                return None;
            }
            let pending = self.pending.remove(at)?;
            return Some(journaled(pending, event.seq, Duplicate::Unknown));
        }
        let same = |it: &Pending| {
            let Content::Text(said) = &it.message.content else {
                return false;
            };
            it.sent.is_some()
                && it.message.to.as_deref().filter(|to| *to != "*") == event.to.as_deref()
                && event.text() == Some(&text::shown(said))
        };
        let at = self.pending.iter().position(same)?;
        let pending = self.pending.remove(at)?;
        Some(journaled(pending, event.seq, Duplicate::No))
    }

    pub(super) fn rejected(
        &mut self,
        id: Option<String>,
        reason: String,
        message: String,
        delay: Option<Duration>,
        now: Instant,
    ) -> Vec<Effect> {
        let at = match &id {
            Some(id) => self.position(id),
            // Without ids, a refusal belongs to the only message that waits.
            None if !self.protocol.has_ids() => {
                let sent = |it: &&Pending| it.sent.is_some();
                let only = self.pending.iter().filter(sent).count() == 1;
                let first = self.pending.iter().position(|it| it.sent.is_some());
                first.filter(|_| only)
            }
            None => None,
        };
        let Some(at) = at else {
            return vec![Effect::Tell(Notice::Rejected {
                id,
                reason,
                message,
            })];
        };
        let pending = &mut self.pending[at];
        // The session ended without the connection; another one helps.
        let left = reason == "not_member" && delay.is_none();
        if pending.tries < self.retries && (left || delay.is_some()) {
            pending.tries += 1;
            (pending.sent, pending.first, pending.accepted) = (None, None, false);
            self.paused = delay.map(|delay| now + delay).or(self.paused);
            return if left {
                vec![Effect::Leave("not a member any more")]
            } else {
                Vec::new()
            };
        }
        let pending = self.pending.remove(at).expect("just found");
        vec![failed(pending, SendError::Rejected { reason, message })]
    }

    fn position(&self, id: &str) -> Option<usize> {
        self.pending.iter().position(|it| it.message.id == id)
    }
}

impl Pending {
    fn send(&mut self, now: Instant) -> Effect {
        (self.sent, self.first) = (Some(now), self.first.or(Some(now)));
        let Message { id, to, content } = self.message.clone();
        Effect::Send(ClientFrame::Send { id, to, content })
    }
}

/// As the service would say it.
fn sealed_room() -> SendError {
    SendError::Rejected {
        reason: "sealed_room".into(),
        message: "the room is sealed, and takes nothing that is not encrypted: it was not sent"
            .into(),
    }
}

fn journaled(pending: Pending, seq: u64, duplicate: Duplicate) -> Effect {
    let id = pending.message.id;
    let receipt = Receipt {
        id: id.clone(),
        seq,
        duplicate,
    };
    let answer = Ok(receipt);
    Effect::Answer { id, answer }
}

fn failed(pending: Pending, error: SendError) -> Effect {
    Effect::Answer {
        id: pending.message.id,
        answer: Err(error),
    }
}

/// Takes out what fits, in order.
fn extract(
    pending: &mut VecDeque<Pending>,
    fits: impl FnMut(&mut Pending) -> bool,
) -> Vec<Pending> {
    let mut all: Vec<_> = std::mem::take(pending).into();
    let taken = all.extract_if(.., fits).collect();
    *pending = all.into();
    taken
}
