//! The state of a client in a room: what it has seen, what it said, and what follows from each
//! frame. Pure: times and ids come in, effects go out.
//!
//! Promises, on those of the protocol: every event is told once and in order, also over reconnects;
//! a message is sent with one id until it is journaled or finally rejected; messages keep their
//! order, unless one is rejected for now while later ones are under way already.

mod outbox;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod world;

use crate::{
    codec::Protocol,
    frame::{ClientFrame, Event, Page, Policy, ServerFrame, Welcome},
    message::{Message, Receipt, SendError},
    notice::Notice,
};
use outbox::Outbox;
use std::time::{Duration, Instant};

/// When what is undecided is sent again after a connection broke.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Resend {
    /// After everything that was missed has come: a message that was journaled has been seen by
    /// then, however many others the room placed meanwhile.
    #[default]
    AfterCatchUp,
    /// As soon as there is a connection. Answers come sooner; they rest on the room's memory of its
    /// last 4096 messages.
    AtOnce,
}

/// How long a question waits that is not bounded otherwise.
pub const QUESTION: Duration = Duration::from_secs(60);

/// How a session behaves.
#[derive(Debug, Clone)]
pub struct Options {
    /// The user.
    pub user: String,
    /// Whether messages have ids and answers depends on it.
    pub protocol: Protocol,
    /// The last place that is known already.
    pub since: Option<u64>,
    /// Events from before the first join.
    pub history: u16,
    /// When to send again.
    pub resend: Resend,
    /// How often a message is sent again that is rejected with `retry_after_ms`.
    pub retries: u32,
    /// How long a message or a question may wait for its answer; `None`: a message for ever, a
    /// question [`QUESTION`].
    pub answer_within: Option<Duration>,
}

/// What the caller has to do, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Send this over the connection.
    Send(ClientFrame),
    /// Tell whoever runs the client.
    Tell(Notice),
    /// The message is stored and will be decided.
    Accepted {
        /// Of the message.
        id: String,
    },
    /// What became of a message.
    Answer {
        /// Of the message.
        id: String,
        /// The answer.
        answer: Result<Receipt, SendError>,
    },
    /// The answer to a question; `None`: there was none in time.
    Reply {
        /// Of the question.
        id: String,
        /// The answer.
        reply: Option<Reply>,
    },
    /// Give this connection up and resume over another one.
    Leave(&'static str),
}

/// The answer to a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// Earlier events.
    History(Page),
    /// Who is there.
    Members(Vec<String>, bool),
    /// The server is there.
    Pong,
}

/// How far this connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// No `welcome` yet, or none any more.
    Away,
    /// Continuity was lost: `reset` has to come first, then all up to this place.
    Lost(u64),
    /// What was missed is on its way, up to this place.
    CatchingUp(u64),
    Live,
    /// Events are left out, because nobody took those before them.
    Behind,
}

/// A question without an answer.
#[derive(Debug)]
struct Query {
    id: String,
    frame: ClientFrame,
    asked: Instant,
    deadline: Instant,
}

/// See the module.
#[derive(Debug)]
pub struct Session {
    options: Options,
    phase: Phase,
    had_welcome: bool,
    last: Option<u64>,
    /// When the event there was stored, if it was told.
    last_at: Option<u64>,
    outbox: Outbox,
    queries: Vec<Query>,
}

impl Session {
    /// A session that was never connected.
    pub fn new(options: Options) -> Self {
        Self {
            phase: Phase::Away,
            had_welcome: false,
            last: options.since,
            last_at: None,
            outbox: Outbox::new(&options),
            queries: Vec::new(),
            options,
        }
    }

    /// The `since` of the next connection.
    pub fn resume_after(&self) -> Option<u64> {
        self.last
    }

    /// The `since_at` of the next connection: by it the server finds that another event has that
    /// place now.
    pub fn resume_after_at(&self) -> Option<u64> {
        self.last_at
    }

    /// Whether everything that was missed is here, so that messages go out at once.
    pub fn is_live(&self) -> bool {
        self.phase == Phase::Live && !self.outbox.is_paused()
    }

    /// Messages that are neither journaled nor finally rejected.
    pub fn undecided(&self) -> usize {
        self.outbox.len()
    }

    /// Since when the server owes an answer over this connection.
    pub fn unanswered_since(&self) -> Option<Instant> {
        let asked = self.queries.iter().map(|query| query.asked);
        asked.chain(self.outbox.unanswered_since()).min()
    }

    /// A new message.
    ///
    /// # Errors
    /// It can never be sent.
    pub fn say(&mut self, message: Message, now: Instant) -> Result<Vec<Effect>, SendError> {
        self.outbox.push(message, now)?;
        Ok(self.flush(now))
    }

    /// A question: history, members or a ping.
    pub fn ask(&mut self, frame: ClientFrame, now: Instant) -> Vec<Effect> {
        let (ClientFrame::History { id, .. }
        | ClientFrame::Members { id, .. }
        | ClientFrame::Ping { id }
        | ClientFrame::Token { id, .. }
        | ClientFrame::Send { id, .. }) = &frame
        else {
            unreachable!("a proof is no question")
        };
        let id = id.clone();
        let within = self.options.answer_within.unwrap_or(QUESTION);
        let (asked, deadline) = (now, now + within);
        let send = (self.phase != Phase::Away).then(|| Effect::Send(frame.clone()));
        self.queries.push(Query {
            id,
            frame,
            asked,
            deadline,
        });
        send.into_iter().collect()
    }

    /// The connection is gone. What was sent over it and not decided will be sent again, where the
    /// protocol has ids.
    pub fn disconnected(&mut self) -> Vec<Effect> {
        self.phase = Phase::Away;
        self.outbox.disconnected()
    }

    /// Events that are told are taken again: what was left out is fetched by resuming.
    pub fn has_space(&mut self) -> Vec<Effect> {
        if self.phase != Phase::Behind {
            return Vec::new();
        }
        self.phase = Phase::Away;
        vec![Effect::Leave(
            "events were left out because nobody took them",
        )]
    }

    /// When [`Self::wake`] has something to do.
    pub fn next_wake(&self) -> Option<Instant> {
        let queries = self.queries.iter().map(|query| query.deadline).min();
        [self.outbox.next_wake(self.can_send()), queries]
            .into_iter()
            .flatten()
            .min()
    }

    /// Does what is due: retries, second sendings, deadlines.
    pub fn wake(&mut self, now: Instant) -> Vec<Effect> {
        let mut effects = self.outbox.wake(self.can_send(), now);
        if effects.iter().any(|it| matches!(it, Effect::Leave(_))) {
            self.phase = Phase::Away;
        }
        let late = |query: &mut Query| query.deadline <= now;
        effects.extend(
            self.queries
                .extract_if(.., late)
                .map(|Query { id, .. }| Effect::Reply { id, reply: None }),
        );
        effects.extend(self.flush(now));
        effects
    }

    /// What the server said. `is_full`: another event could not be told now.
    pub fn take(&mut self, frame: ServerFrame, is_full: bool, now: Instant) -> Vec<Effect> {
        match frame {
            // The driver answers it.
            ServerFrame::Challenge { .. } => Vec::new(),
            ServerFrame::Welcome(welcome) => self.welcome(welcome, now),
            ServerFrame::Event(event) => self.event(event, is_full, now),
            ServerFrame::Accepted { id } => self.outbox.accepted(id),
            ServerFrame::Journaled {
                id, seq, duplicate, ..
            } => self.outbox.journaled(&id, seq, duplicate),
            ServerFrame::Rejected {
                id,
                reason,
                message,
                retry_after_ms,
                ..
            } => {
                let delay = retry_after_ms.map(Duration::from_millis);
                let mut effects = self.outbox.rejected(id, reason, message, delay, now);
                if effects
                    .iter()
                    .any(|effect| matches!(effect, Effect::Leave(_)))
                {
                    effects.splice(0..0, self.disconnected());
                }
                effects
            }
            ServerFrame::History(page) => {
                let id = page.id.clone();
                self.replied(id, Reply::History(page))
            }
            ServerFrame::Members { id, members, more } => {
                self.replied(id, Reply::Members(members, more))
            }
            ServerFrame::Pong { id } => self.replied(id, Reply::Pong),
            ServerFrame::Reset { seq, reason } => self.reset(seq, reason, now),
            ServerFrame::Bye { reason, .. } => vec![Effect::Tell(Notice::Bye { reason })],
            // Tokens are the driver's.
            ServerFrame::Expiring { .. } | ServerFrame::Refreshed { .. } | ServerFrame::Other => {
                Vec::new()
            }
        }
    }

    fn welcome(&mut self, welcome: Welcome, now: Instant) -> Vec<Effect> {
        if self.last.is_none() && self.options.history == 0 {
            self.last = welcome.seq;
        }
        let resumed = self.had_welcome && welcome.recovered;
        self.had_welcome = true;
        self.phase = match welcome.seq {
            // The text protocol does not say how much follows.
            None => Phase::Live,
            Some(head) if welcome.recovered => Phase::CatchingUp(head),
            Some(head) => Phase::Lost(head),
        };
        let refused = self
            .outbox
            .comes_to(welcome.policy == Policy::Sealed.as_str());
        let mut effects = vec![Effect::Tell(Notice::Connected { welcome, resumed })];
        effects.extend(refused);
        self.queries.iter_mut().for_each(|query| query.asked = now);
        effects.extend(
            self.queries
                .iter()
                .map(|query| Effect::Send(query.frame.clone())),
        );
        effects.extend(self.catch_up(now));
        effects
    }

    fn catch_up(&mut self, now: Instant) -> Vec<Effect> {
        if let Phase::CatchingUp(head) = self.phase
            && self.last.is_some_and(|last| last >= head)
        {
            self.phase = Phase::Live;
        }
        self.flush(now)
    }

    fn event(&mut self, event: Event, is_full: bool, now: Instant) -> Vec<Effect> {
        if matches!(self.phase, Phase::Away | Phase::Lost(_))
            || self.last.is_some_and(|last| event.seq <= last)
        {
            return Vec::new();
        }
        if self.phase == Phase::Behind || is_full {
            self.phase = Phase::Behind;
            return self.outbox.saw(&event).into_iter().collect();
        }
        if self.last.is_some_and(|last| event.seq != last + 1) {
            let mut effects = self.disconnected();
            effects.push(Effect::Leave("an event was missing"));
            return effects;
        }
        self.last = Some(event.seq);
        // The text protocol tells no time.
        self.last_at = Some(event.at).filter(|at| *at > 0);
        let answer = self.outbox.saw(&event);
        let mut effects = vec![Effect::Tell(Notice::Event(event))];
        effects.extend(answer);
        effects.extend(self.catch_up(now));
        effects
    }

    fn reset(&mut self, seq: u64, reason: String, now: Instant) -> Vec<Effect> {
        if self.phase == Phase::Behind {
            return Vec::new();
        }
        self.last = Some(seq.saturating_sub(1));
        self.last_at = None;
        if let Phase::Lost(head) = self.phase {
            self.phase = Phase::CatchingUp(head);
        }
        let mut effects = vec![Effect::Tell(Notice::Reset { seq, reason })];
        effects.extend(self.catch_up(now));
        effects
    }

    fn replied(&mut self, id: String, reply: Reply) -> Vec<Effect> {
        let Some(at) = self.queries.iter().position(|query| query.id == id) else {
            return Vec::new();
        };
        self.queries.remove(at);
        let reply = Some(reply);
        vec![Effect::Reply { id, reply }]
    }

    /// Whether what waits may go out over this connection.
    fn can_send(&self) -> bool {
        match self.options.resend {
            Resend::AfterCatchUp => matches!(self.phase, Phase::Live | Phase::Behind),
            Resend::AtOnce => self.phase != Phase::Away,
        }
    }

    fn flush(&mut self, now: Instant) -> Vec<Effect> {
        if self.can_send() {
            self.outbox.flush(now)
        } else {
            Vec::new()
        }
    }
}
