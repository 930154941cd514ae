//! The state of a client in a room: what it has seen, what it said, and what follows from each
//! frame. Pure: ids come in, effects go out.
//!
//! Promises, on those of the protocol: every event is shown once and in order, also over
//! reconnects; a message that was said is sent with one id until it is journaled or finally
//! rejected; messages keep their order, unless one is rejected for now while later ones are under
//! way already.

use std::collections::VecDeque;
use std::time::Duration;

use super::frame::{ClientFrame, Event, ServerFrame, TEXT_BYTES};

/// Undecided messages at which no further line is read: enough to keep a connection busy, little to
/// hold.
const WINDOW: usize = 64;

/// Ticks (seconds) without any answer after which a message is sent again, over a connection that
/// seems to live.
const UNANSWERED_TICKS: u32 = 15;

/// How often a message is sent again that was rejected with `retry_after_ms`; with its delays this
/// outlasts a takeover.
const RETRIES: u32 = 30;

/// What the caller has to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Effect {
    Send(ClientFrame),
    Show(Line),
    /// Give this connection up and resume over another one.
    Rejoin,
    /// Call [`Session::retry`] after this time.
    RetryIn(Duration),
}

/// What the person gets to see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Line {
    Event(Event),
    /// `lost`: how many events behind these the service does not have any more.
    Earlier {
        events: Vec<Event>,
        lost: u64,
        more: bool,
    },
    Joined {
        members: Vec<String>,
        node: String,
        resumed: bool,
    },
    Members(Vec<String>),
    Rejected {
        text: String,
        reason: String,
        message: String,
    },
    Reset {
        reason: String,
    },
    Bye {
        reason: String,
    },
    Queued {
        text: String,
    },
    Note(&'static str),
}

/// Something said that is not decided yet.
#[derive(Debug)]
struct Pending {
    id: String,
    text: String,
    to: Option<String>,
    /// Sent over this connection.
    sent: bool,
    accepted: bool,
    tries: u32,
    ticks: u32,
}

impl Pending {
    fn send(&mut self) -> Effect {
        self.sent = true;
        self.ticks = 0;
        Effect::Send(ClientFrame::Send {
            id: self.id.clone(),
            to: self.to.clone(),
            text: self.text.clone(),
        })
    }
}

/// How far this connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// No `welcome` yet, or none any more.
    Away,
    /// Continuity was lost: `reset` has to come first, then all up to this seq.
    Lost(u64),
    /// What was missed is on its way, up to this seq.
    CatchingUp(u64),
    Live,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Session {
    user: String,
    history: u64,
    phase: Phase,
    was_live: bool,
    /// The stretch without gaps that we hold: lowest and highest seq.
    first: Option<u64>,
    last: Option<u64>,
    pending: VecDeque<Pending>,
    /// A rejected message waits to be sent again; the others stay behind it.
    paused: bool,
    /// Highest seq of our own messages: they are settled when they were shown.
    awaited: u64,
}

impl Session {
    /// `history`: how many events from before are asked for at the first join.
    pub(super) fn new(user: &str, history: u64) -> Session {
        Session {
            user: user.to_owned(),
            history,
            phase: Phase::Away,
            was_live: false,
            first: None,
            last: None,
            pending: VecDeque::new(),
            paused: false,
            awaited: 0,
        }
    }

    /// The `since` of the next connection.
    pub(super) fn resume_after(&self) -> Option<u64> {
        self.last
    }

    /// Whether another message may be said now.
    pub(super) fn has_room(&self) -> bool {
        self.pending.len() < WINDOW
    }

    /// Messages that are neither journaled nor rejected.
    pub(super) fn undecided(&self) -> usize {
        self.pending.len()
    }

    /// Whether everything said is decided and was shown, and the room was caught up with at least
    /// once.
    pub(super) fn is_settled(&self) -> bool {
        self.was_live
            && self.pending.is_empty()
            && self.last.is_some_and(|last| last >= self.awaited)
    }

    /// Whether this frame was seen before, so that nothing follows from it.
    pub(super) fn is_repeat(&self, frame: &ServerFrame) -> bool {
        matches!(frame, ServerFrame::Event(event) if self.last.is_some_and(|last| event.seq <= last))
    }

    /// A new message, with an id that was never used before.
    pub(super) fn say(&mut self, id: String, text: String, to: Option<String>) -> Vec<Effect> {
        if text.len() > TEXT_BYTES {
            let message = format!("{} bytes, at most {TEXT_BYTES} are possible", text.len());
            return vec![Effect::Show(Line::Rejected {
                text,
                reason: "too_large".into(),
                message,
            })];
        }
        let held = self.phase != Phase::Live || self.paused;
        let queued = held.then(|| Effect::Show(Line::Queued { text: text.clone() }));
        self.pending.push_back(Pending {
            id,
            text,
            to,
            sent: false,
            accepted: false,
            tries: 0,
            ticks: 0,
        });
        queued.into_iter().chain(self.flush()).collect()
    }

    pub(super) fn ask_members(&self) -> Vec<Effect> {
        self.ask(ClientFrame::Members { id: "who".into() })
    }

    pub(super) fn ask_earlier(&self, limit: u16) -> Vec<Effect> {
        match self.first {
            Some(1) => vec![Effect::Show(Line::Note(
                "this is the beginning of the room",
            ))],
            before => self.ask(ClientFrame::History {
                id: "earlier".into(),
                before,
                limit,
            }),
        }
    }

    fn ask(&self, frame: ClientFrame) -> Vec<Effect> {
        match self.phase {
            Phase::Away => vec![Effect::Show(Line::Note("not connected"))],
            _ => vec![Effect::Send(frame)],
        }
    }

    /// The connection is gone. What was sent over it and not decided will be sent again.
    pub(super) fn disconnected(&mut self) {
        self.phase = Phase::Away;
        for message in &mut self.pending {
            message.sent = false;
            message.accepted = false;
        }
    }

    /// The delay of [`Effect::RetryIn`] is over.
    pub(super) fn retry(&mut self) -> Vec<Effect> {
        self.paused = false;
        self.flush()
    }

    /// Call about once per second.
    pub(super) fn tick(&mut self) -> Vec<Effect> {
        if self.phase != Phase::Live {
            return Vec::new();
        }
        let mut effects = Vec::new();
        for message in self
            .pending
            .iter_mut()
            .filter(|message| message.sent && !message.accepted)
        {
            message.ticks += 1;
            if message.ticks >= UNANSWERED_TICKS {
                effects.push(message.send());
            }
        }
        effects
    }

    /// What the server said.
    pub(super) fn take(&mut self, frame: ServerFrame) -> Vec<Effect> {
        match frame {
            ServerFrame::Welcome {
                seq,
                recovered,
                members,
                node,
            } => self.welcome(seq, recovered, members, node),
            ServerFrame::Event(event) => self.event(event),
            ServerFrame::Accepted { id } => {
                if let Some(message) = self.pending.iter_mut().find(|message| message.id == id) {
                    message.accepted = true;
                }
                Vec::new()
            }
            ServerFrame::Journaled { id, seq } => {
                if self.decided(&id).is_some() {
                    self.awaited = self.awaited.max(seq);
                }
                Vec::new()
            }
            ServerFrame::Rejected {
                id,
                reason,
                message,
                retry_after_ms,
            } => self.rejected(id, reason, message, retry_after_ms),
            ServerFrame::History { events, more, .. } => self.earlier(events, more),
            ServerFrame::Members { members } => vec![Effect::Show(Line::Members(members))],
            ServerFrame::Reset { seq, reason } => self.reset(seq, reason),
            ServerFrame::Bye { reason, .. } => vec![Effect::Show(Line::Bye { reason })],
            ServerFrame::Other => Vec::new(),
        }
    }

    fn welcome(
        &mut self,
        head: u64,
        recovered: bool,
        members: Vec<String>,
        node: String,
    ) -> Vec<Effect> {
        let resumed = self.last.is_some() && recovered;
        if self.last.is_none() && self.history == 0 {
            self.first = Some(head + 1);
            self.last = Some(head);
        }
        self.phase = if recovered {
            Phase::CatchingUp(head)
        } else {
            Phase::Lost(head)
        };
        let mut effects = vec![Effect::Show(Line::Joined {
            members,
            node,
            resumed,
        })];
        effects.extend(self.catch_up());
        effects
    }

    /// What is undecided is sent again only after all that was missed is here: a message that was
    /// journaled has come back by then, even if it is older than the window in which the service
    /// knows its id.
    fn catch_up(&mut self) -> Vec<Effect> {
        match self.phase {
            Phase::CatchingUp(head) if self.last.is_some_and(|last| last >= head) => {
                self.phase = Phase::Live;
                self.was_live = true;
                self.flush()
            }
            _ => Vec::new(),
        }
    }

    fn event(&mut self, event: Event) -> Vec<Effect> {
        if matches!(self.phase, Phase::Away | Phase::Lost(_))
            || self.last.is_some_and(|last| event.seq <= last)
        {
            return Vec::new();
        }
        if self.last.is_some_and(|last| event.seq != last + 1) {
            self.disconnected();
            return vec![Effect::Rejoin];
        }
        self.last = Some(event.seq);
        self.first.get_or_insert(event.seq);
        if event.from == self.user
            && let Some(id) = &event.id
        {
            self.decided(id);
        }
        let mut effects = vec![Effect::Show(Line::Event(event))];
        effects.extend(self.catch_up());
        effects
    }

    fn decided(&mut self, id: &str) -> Option<Pending> {
        let at = self.pending.iter().position(|message| message.id == id)?;
        self.pending.remove(at)
    }

    fn rejected(
        &mut self,
        id: Option<String>,
        reason: String,
        message: String,
        retry_after_ms: Option<u64>,
    ) -> Vec<Effect> {
        let own = id
            .as_deref()
            .and_then(|id| self.pending.iter_mut().find(|message| message.id == id));
        match (own, retry_after_ms) {
            (Some(own), Some(delay)) if own.tries < RETRIES => {
                own.tries += 1;
                own.sent = false;
                own.accepted = false;
                self.paused = true;
                vec![Effect::RetryIn(Duration::from_millis(delay))]
            }
            _ => {
                let text = id
                    .and_then(|id| self.decided(&id))
                    .map(|message| message.text)
                    .unwrap_or_default();
                vec![Effect::Show(Line::Rejected {
                    text,
                    reason,
                    message,
                })]
            }
        }
    }

    fn earlier(&mut self, mut events: Vec<Event>, more: bool) -> Vec<Effect> {
        events.retain(|event| self.first.is_none_or(|first| event.seq < first));
        let joint = self.first.zip(events.last().map(|event| event.seq));
        let lost = joint.map_or(0, |(first, last)| first - 1 - last);
        if let Some(event) = events.first() {
            self.first = Some(event.seq);
        }
        vec![Effect::Show(Line::Earlier { events, lost, more })]
    }

    fn reset(&mut self, seq: u64, reason: String) -> Vec<Effect> {
        self.first = Some(seq);
        self.last = Some(seq.saturating_sub(1));
        self.awaited = 0;
        if let Phase::Lost(head) = self.phase {
            self.phase = Phase::CatchingUp(head);
        }
        let mut effects = vec![Effect::Show(Line::Reset { reason })];
        effects.extend(self.catch_up());
        effects
    }

    fn flush(&mut self) -> Vec<Effect> {
        if self.phase != Phase::Live || self.paused {
            return Vec::new();
        }
        self.pending
            .iter_mut()
            .filter(|message| !message.sent)
            .map(Pending::send)
            .collect()
    }
}
